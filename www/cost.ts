// What decoding one token costs, reckoned from the pack: as src/budget does it.
import type { PackInfo, PlanInfo } from "./engine";

export interface Cost {
  /** Every weight that takes part, and the cache at this context. */
  bytes: number;
  /** Two for every weight that a matrix product takes, and attention over the context. */
  flops: number;
}

/** Of one token at the end of `context` positions. */
export function cost(pack: PackInfo, plan: PlanInfo, context: number): Cost {
  const { hiddenSize, vocabSize, tiedHead, layers } = pack;
  const runs = plan.layers.length;
  const embedding = pack.files.find(({ role }) => role === "embedding");
  // One row of the embedding is looked up.
  const row = Math.ceil((embedding?.bytes ?? 0) / vocabSize);
  const bytes = plan.weightBytesPerToken + row + pack.cacheBytesPerPosition * runs * context;
  const table = hiddenSize * vocabSize;
  const norms = hiddenSize * (2 * layers + 1);
  const perLayer = (pack.parameters - table * (tiedHead ? 1 : 2) - norms) / layers;
  // The heads together are as wide as the residual stream, as in every Llama.
  const attended = runs * hiddenSize * context;
  return { bytes, flops: 2 * (runs * perLayer + table) + 4 * attended };
}

/** The share of what the device reads at the best that decoding at this speed reads. */
export function shareOfLimit(cost: Cost, tokensPerSecond: number, bytesPerSecond: number): number {
  return (cost.bytes * tokensPerSecond) / bytesPerSecond;
}
