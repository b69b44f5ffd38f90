import { expect, test } from "vitest";
import { cost, shareOfLimit } from "../../www/cost";
import type { FileInfo, PackInfo, PlanInfo } from "../../www/engine";

const plan = (layers: number[]): PlanInfo => ({ name: "p", title: "", layers, crossEntropy: null });
const file = (role: FileInfo["role"], bytes: number, layer: number | null = null): FileInfo => ({
  ...{ file: `${role}${layer ?? ""}.bin`, sha256: "" },
  ...{ role, bytes, layer },
});

// The embedded pack, with a cache of two-byte numbers.
const PACK: PackInfo = {
  ...{ name: "halfdepth-stories-12L", source: "", licence: null, chat: true, plans: [] },
  ...{ layers: 12, hiddenSize: 128, vocabSize: 2048, context: 512, parameters: 2_624_640 },
  ...{ tiedHead: true, cacheBytesPerPosition: 256 },
  files: [
    file("tokenizer", 57_315),
    file("embedding", 278_528),
    file("head", 512),
    ...Array.from({ length: 12 }, (_, layer) => file("layer", 111_616, layer)),
  ],
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

test("an untied head is read, the embedding beside it is not", () => {
  const table = 128 * 2048;
  const files = PACK.files.map((one) => (one.role === "head" ? file("head", 1000) : one));
  const untied = { ...PACK, files, tiedHead: false, parameters: PACK.parameters + table };
  expect(cost(untied, plan(ALL), 0)).toEqual({
    bytes: 12 * 111_616 + 1000 + 136,
    flops: 5_242_880,
  });
});

test("the share of the limit", () => {
  expect(shareOfLimit({ bytes: 1e6, flops: 0 }, 200, 1e9)).toBeCloseTo(0.2);
});
