// What decoding one token costs, reckoned from the pack: as src/budget does it.
import type { RunPlan } from "./change";
import type { PackInfo, PlanInfo } from "./engine";

export interface Cost {
  /** Every weight that takes part, and the cache at this context. */
  bytes: number;
  /** Two for every weight that a matrix product takes, and attention over the context. */
  flops: number;
}

/** Of one token at the end of `context` positions. */
export function cost(pack: PackInfo, plan: RunPlan, context: number): Cost {
  const { hiddenSize, vocabSize } = pack;
  const embedding = pack.files.find(({ role }) => role === "embedding");
  // One row of the embedding is looked up.
  const row = Math.ceil((embedding?.bytes ?? 0) / vocabSize);
  const muted = plan.change;
  const attentions = plan.layers.length - (muted?.muteAttention.length ?? 0);
  const mlps = plan.layers.length - (muted?.muteMlp.length ?? 0);
  const bytes = plan.weightBytesPerToken + row + pack.cacheBytesPerPosition * attentions * context;
  const weights = layerWeights(pack);
  const products = attentions * weights.attention + mlps * weights.mlp + hiddenSize * vocabSize;
  // The heads together are as wide as the residual stream, as in every Llama.
  const attended = attentions * hiddenSize * context;
  return { bytes, flops: 2 * products + 4 * attended };
}

/** Weights of a layer's matrices, its two halves apart. */
function layerWeights(pack: PackInfo): { attention: number; mlp: number } {
  const { hiddenSize, vocabSize, layers, parameters, tiedHead } = pack;
  const table = hiddenSize * vocabSize;
  const norms = hiddenSize * (2 * layers + 1);
  const layer = (parameters - table * (tiedHead ? 1 : 2) - norms) / layers;
  // Queries and output are as wide as the stream; keys and values, which the cache holds in four bytes each, may be narrower.
  const attention = 2 * hiddenSize ** 2 + (hiddenSize * pack.cacheBytesPerPosition) / 4;
  return { attention, mlp: layer - attention };
}

/** Weights that a changed plan reads for a token, where the plan it was made of reads `plan.weightBytesPerToken`. */
export function weightBytes(pack: PackInfo, plan: PlanInfo, run: RunPlan): number {
  const bytesOf = (layer: number, isReplaced: boolean) => {
    const role = isReplaced ? "replacement" : "layer";
    const file = pack.files.find((each) => each.role === role && each.layer === layer);
    // Equal layers share a file, and then it is listed once.
    return (file ?? pack.files.find((each) => each.role === role))?.bytes ?? 0;
  };
  const bytes = (of: PlanInfo, layers: readonly number[]) =>
    layers.reduce((sum, layer) => sum + bytesOf(layer, of.replaced.includes(layer)), 0);
  const { attention, mlp } = layerWeights(pack);
  // Both halves are stored alike; norms, which go with them, are below a thousandth.
  const share = attention / (attention + mlp);
  const muted =
    share * bytes(run, run.change?.muteAttention ?? []) +
    (1 - share) * bytes(run, run.change?.muteMlp ?? []);
  const changed = bytes(run, run.layers) - bytes(plan, plan.layers);
  return plan.weightBytesPerToken + changed - Math.round(muted);
}

/** The share of what the device reads at the best that decoding at this speed reads. */
export function shareOfLimit(cost: Cost, tokensPerSecond: number, bytesPerSecond: number): number {
  return (cost.bytes * tokensPerSecond) / bytesPerSecond;
}
