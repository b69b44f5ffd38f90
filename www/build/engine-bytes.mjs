// What comes with a model before it answers: the engine's module as it lies on the disk, and the scripts around it. Hosts that
// compress send less, so this is the most that the widget's button has to name.
import { existsSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const MODULE = fileURLToPath(new URL("../wasm/halfdepth_wasm_bg.wasm", import.meta.url));

/** Worker, lanes and markdown; the build fails where they outgrow it. */
export const SCRIPT_BYTES = 300_000;

/** 0 before the engine is built: then nothing can be downloaded either. */
export function engineBytes() {
  return existsSync(MODULE) ? statSync(MODULE).size + SCRIPT_BYTES : 0;
}
