// The embedded pack as the engine describes it, for tests; its numbers are those of models/halfdepth-stories-12L.
import type { FileInfo, PackInfo, PlanInfo } from "../../www/engine";
import { planOf } from "./exchanges";

export const LAYER_BYTES = 111_616;
export const HEAD_BYTES = 278_528 + 512;

export const ALL = Array.from({ length: 12 }, (_, layer) => layer);

export const HALF_LAYERS = [0, 1, 2, 3, 4, 11];

export function storyPlan(name: string, layers: number[], crossEntropy: number | null): PlanInfo {
  return {
    ...planOf(name, layers, crossEntropy),
    weightBytesPerToken: HEAD_BYTES + LAYER_BYTES * layers.length,
  };
}

const file = (role: FileInfo["role"], bytes: number, layer: number | null = null): FileInfo => ({
  ...{ file: `${role}-${layer ?? ""}.bin`, sha256: "", role, bytes, layer },
});

export const PACK: PackInfo = {
  ...{ name: "halfdepth-stories-12L", source: "", licence: null, chat: true },
  ...{ layers: 12, hiddenSize: 128, vocabSize: 2048, context: 512, parameters: 2_624_640 },
  ...{ tiedHead: true, cacheBytesPerPosition: 512, evaluation: [] },
  files: [
    file("embedding", 278_528),
    file("head", 512),
    ...ALL.map((layer) => file("layer", LAYER_BYTES, layer)),
    file("replacement", LAYER_BYTES + 1000, 11),
  ],
  plans: [storyPlan("full", ALL, 1.5), storyPlan("half", HALF_LAYERS, 2.5)],
};
