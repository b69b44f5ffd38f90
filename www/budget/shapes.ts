// The shapes of published Llamas, by name, as in src/shapes.rs; and the built-in model.

/** What a budget is reckoned from. */
export interface Shape {
  layers: number;
  hiddenSize: number;
  intermediateSize: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  vocabSize: number;
  /** Positions the model was trained for. */
  context: number;
  /** The head is the embedding. */
  tiedHead: boolean;
}

export interface Model {
  /** As `halfdepth budget` and the address know it. */
  name: string;
  title: string;
  shape: Shape;
}

type Sizes = [layers: number, hidden: number, intermediate: number];
type Heads = [heads: number, kvHeads: number, headDim: number];
type Family = Pick<Shape, "vocabSize" | "context" | "tiedHead">;

const LLAMA_2: Family = { vocabSize: 32_000, context: 4096, tiedHead: false };
const LLAMA_3_1: Family = { vocabSize: 128_256, context: 131_072, tiedHead: false };
const LLAMA_3_2: Family = { ...LLAMA_3_1, tiedHead: true };
const TINY_LLAMA: Family = { vocabSize: 32_000, context: 2048, tiedHead: false };
const SMOL_LM_2: Family = { vocabSize: 49_152, context: 8192, tiedHead: true };
const STORIES: Family = { vocabSize: 2048, context: 512, tiedHead: true };

/** The article's. */
export const LLAMA_2_70B = model(
  "llama-2-70b",
  "Llama 2 70B",
  [80, 8192, 28_672],
  [64, 8, 128],
  LLAMA_2,
);

export const MODELS: readonly Model[] = [
  LLAMA_2_70B,
  model("llama-2-13b", "Llama 2 13B", [40, 5120, 13_824], [40, 40, 128], LLAMA_2),
  model("llama-2-7b", "Llama 2 7B", [32, 4096, 11_008], [32, 32, 128], LLAMA_2),
  model("llama-3.1-405b", "Llama 3.1 405B", [126, 16_384, 53_248], [128, 8, 128], LLAMA_3_1),
  model("llama-3.1-70b", "Llama 3.1 and 3.3 70B", [80, 8192, 28_672], [64, 8, 128], LLAMA_3_1),
  model("llama-3.1-8b", "Llama 3.1 8B", [32, 4096, 14_336], [32, 8, 128], LLAMA_3_1),
  model("llama-3.2-3b", "Llama 3.2 3B", [28, 3072, 8192], [24, 8, 128], LLAMA_3_2),
  model("llama-3.2-1b", "Llama 3.2 1B", [16, 2048, 8192], [32, 8, 64], LLAMA_3_2),
  model("tinyllama-1.1b", "TinyLlama 1.1B", [22, 2048, 5632], [32, 4, 64], TINY_LLAMA),
  model("smollm2-1.7b", "SmolLM2 1.7B", [24, 2048, 8192], [32, 32, 64], SMOL_LM_2),
  model("smollm2-360m", "SmolLM2 360M", [32, 960, 2560], [15, 5, 64], SMOL_LM_2),
  model("smollm2-135m", "SmolLM2 135M", [30, 576, 1536], [9, 3, 64], SMOL_LM_2),
  model("halfdepth-stories-12L", "The built-in model", [12, 128, 384], [4, 2, 32], STORIES),
];

export function modelNamed(name: string): Model | null {
  return MODELS.find((model) => model.name === name) ?? null;
}

function model(name: string, title: string, sizes: Sizes, heads: Heads, family: Family): Model {
  const [layers, hiddenSize, intermediateSize] = sizes;
  const [queries, kvHeads, headDim] = heads;
  const shape = { layers, hiddenSize, intermediateSize, heads: queries, kvHeads, headDim };
  return { name, title, shape: { ...shape, ...family } };
}
