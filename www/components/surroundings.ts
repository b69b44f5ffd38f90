// What the page finds around it: the browser's GPU, the address it was opened at, and how far the model has come.
import { HalfdepthError, type Opened } from "../protocol";
import { strings } from "../strings";
import type { LoadState } from "./status";

/** Told before anything is downloaded. */
export function refuseWithoutWebGpu(): void {
  const { gpu } = navigator as { gpu?: unknown };
  if (gpu !== undefined) return;
  const { webgpuMissing, webgpuInsecure } = strings.errors;
  throw new HalfdepthError("WebGpuUnavailable", isSecureContext ? webgpuMissing : webgpuInsecure);
}

/** The layers that have come in so far; null when all have. */
export function arrivedLayers(load: LoadState, opened: Opened | null): ReadonlySet<number> | null {
  if (load.kind === "ready") return null;
  // Where nothing will come, the recording is what there is to see.
  if (opened === null) return load.kind === "loading" ? new Set() : null;
  const stage = load.kind === "loading" ? load.stage : null;
  if (stage?.stage === "lanes") return null;
  const filesDone = stage?.stage === "files" ? stage.progress.filesDone : 0;
  const layers = opened.pack.files.slice(0, filesDone).map(({ layer }) => layer);
  return new Set(layers.filter((layer) => layer !== null));
}

/** The page with the same model, and without anything asked. */
export function home(): string {
  const model = new URLSearchParams(location.search).get("model");
  return model === null ? location.pathname : `?${new URLSearchParams({ model }).toString()}`;
}

/** Another pack than the built-in one was asked for. */
export function foreign(): boolean {
  return new URLSearchParams(location.search).has("model");
}
