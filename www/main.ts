import "./components/app";
