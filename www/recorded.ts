// A comparison that was recorded with the built-in model, for the time before one is computed here; `npm run record` makes it.
import { readKept } from "./history";
import recording from "./recorded.json";
import type { Exchange } from "./turns";

export interface Recorded {
  exchange: Exchange;
  /** Layers of the whole model. */
  layers: number;
  /** The machine, in words. */
  on: string;
}

export function recorded(): Recorded | null {
  const kept = readKept(recording);
  const [exchange] = kept?.exchanges ?? [];
  return kept && exchange ? { exchange, layers: kept.layers, on: recording.on } : null;
}
