import { expect, test } from "vitest";
import { cost, shareOfLimit } from "../../www/cost";
import type { FileInfo, PackInfo, PlanInfo } from "../../www/engine";
import { planOf } from "./exchanges";

const plan = (layers: number[]): PlanInfo => ({
  ...planOf("p", layers, null),
  weightBytesPerToken: 278_528 + 512 + 111_616 * layers.length,
});
const embedding: FileInfo = {
  ...{ file: "embedding.bin", sha256: "", role: "embedding", bytes: 278_528, layer: null },
};

// The embedded pack, with a cache of two-byte numbers.
const PACK: PackInfo = {
  ...{ name: "halfdepth-stories-12L", source: "", licence: null, chat: true, plans: [] },
  ...{ layers: 12, hiddenSize: 128, vocabSize: 2048, context: 512, parameters: 2_624_640 },
  ...{ tiedHead: true, cacheBytesPerPosition: 256, evaluation: [] },
  files: [embedding],
};

const ALL = Array.from({ length: 12 }, (_, layer) => layer);

test.each([
  // `halfdepth budget models/halfdepth-stories-12L --json`
  ["full", plan(ALL), 512, { bytes: 3_191_432, flops: 8_388_608 }],
  ["half", plan([0, 1, 2, 3, 4, 11]), 512, { bytes: 1_735_304, flops: 4_456_448 }],
  ["full, at the first token", plan(ALL), 0, { bytes: 1_618_568, flops: 5_242_880 }],
])("%s is what `halfdepth budget` says", (_, plan, context, expected) => {
  expect(cost(PACK, plan, context)).toEqual(expected);
});

test("a head of its own is a table more among the parameters, and no more work", () => {
  const untied = { ...PACK, tiedHead: false, parameters: PACK.parameters + 128 * 2048 };
  expect(cost(untied, plan(ALL), 512)).toEqual(cost(PACK, plan(ALL), 512));
});

test("the share of the limit", () => {
  expect(shareOfLimit({ bytes: 1e6, flops: 0 }, 200, 1e9)).toBeCloseTo(0.2);
});
