// The dedicated worker: the engine runs here, so that the page never waits for it.
import { host } from "./host";
import { askForSubgroups } from "./subgroups";

askForSubgroups();

host(globalThis, () => import("halfdepth-engine"), globalThis.caches);
