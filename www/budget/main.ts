import "../components/budget/page";
