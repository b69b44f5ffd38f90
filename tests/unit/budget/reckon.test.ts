// The page's reckoning against the command line's, and both against figures that were worked out by hand.
import { describe, expect, test } from "vitest";
import { articleClaims } from "../../../www/budget/article";
import { CARDS, fits } from "../../../www/budget/cards";
import { budget, parametersOf, tokensPerSecond } from "../../../www/budget/reckon";
import { LLAMA_2_70B, MODELS } from "../../../www/budget/shapes";
import { STORAGES, storageNamed, type Storage } from "../../../www/budget/storage";
import { words } from "../../../www/budget/words";
import { CASES, printedShape, RECORDED, shapeOf, type Recorded } from "./recorded";

/** A pack is reckoned as it is: the built-in one is a pack-q4. */
function storageOf(name: string): Storage {
  const storage = storageNamed(name === "pack" ? "pack-q4" : name);
  if (storage === null) throw new Error(`no storage ${name}`);
  return storage;
}

/** Floats are recorded to twelve digits. */
function rounded<T>(value: T): T {
  if (Array.isArray(value)) return value.map(rounded) as T;
  if (typeof value !== "number" || Number.isInteger(value)) return value;
  return Number(value.toPrecision(12)) as T;
}

const full = ({ budget: { full } }: Recorded) => full.depth.mlps;
const half = ({ budget: { half } }: Recorded) => half.depth.mlps;

test("every case was recorded", () => {
  expect(RECORDED.map(({ arguments: words }) => words)).toEqual(CASES);
});

test("every model that the page names was recorded, and has the same sizes", () => {
  const recorded = new Map(RECORDED.map((line) => [line.name, printedShape(line)]));
  for (const { name, shape } of MODELS) expect(shape, name).toEqual(recorded.get(name));
});

describe.each(RECORDED.map((line) => [line.arguments, line] as const))("%s", (_, line) => {
  const shape = shapeOf(line);
  const { context } = line;

  test("has the same sizes and parameters", () => {
    expect(shape).toEqual(printedShape(line));
    const { embedding, attention, mlp, finalNorm, head } = parametersOf(shape);
    expect({ embedding, attention, mlp, final_norm: finalNorm, head }).toEqual(line.parameters);
  });

  test.each(["full", "half"] as const)("takes the same at %s depth", (depth) => {
    const printed = line.budget[depth];
    const storage = storageOf(line.storage);
    const found = budget({ shape, layers: printed.depth.mlps, storage, context });
    expect({
      ...{ depth: { attentions: found.layers, mlps: found.layers } },
      ...{ parameters: found.parameters, weight_bytes: found.weightBytes },
      ...{ bits_per_weight: rounded(found.bitsPerWeight), flops_per_token: found.flopsPerToken },
      ...{ cache_bytes_per_position: found.cacheBytesPerPosition, cache_bytes: found.cacheBytes },
      ...{ read_bytes_per_token: found.readBytesPerToken, memory_bytes: found.memoryBytes },
      ...{
        bound_tokens_per_second: rounded(tokensPerSecond(found, line.bytes_per_second)),
        context,
      },
    }).toEqual(printed);
  });

  test("takes the same in every storage", () => {
    const found = STORAGES.map((storage) => {
      const [all, kept] = [full(line), half(line)].map((layers) =>
        budget({ shape, layers, storage, context }),
      );
      return [
        ...[storage.name, all?.weightBytes, kept?.weightBytes],
        ...[all?.readBytesPerToken, kept?.readBytesPerToken],
      ];
    });
    expect(found).toEqual(line.storages);
  });

  test("fits the same cards, and is bounded alike there", () => {
    const storage = storageOf(line.storage);
    const pair = [full(line), half(line)].map((layers) =>
      budget({ shape, layers, storage, context }),
    );
    const found = CARDS.map((card) => [
      ...[card.name, card.memoryGib, card.bytesPerSecond],
      ...pair.map(({ memoryBytes }) => fits(card, memoryBytes)),
      ...pair.map((of) => tokensPerSecond(of, card.bytesPerSecond)),
    ]);
    expect(rounded(found)).toEqual(line.cards);
  });
});

test("the article's claims are set beside the same figures", () => {
  const { bytes, flops } = articleClaims();
  const rows = [bytes, flops].map(({ claimed, reckoned }) => ({
    ...{ claimed_full: claimed[0], claimed_half: claimed[1] },
    ...{ full: reckoned[0], half: reckoned[1] },
  }));
  const printed = RECORDED.find(({ article }) => article !== null)?.article;
  expect(printed).toEqual(rows.map((row) => expect.objectContaining(row) as unknown));
});

describe("Llama 2 70B takes what was worked out by hand", () => {
  // method.md 1.8: layers, storage, GB
  test.each([
    [80, "f16", 137.95],
    [40, "4.0", 17.38],
    [40, "int4-g128", 17.92],
    [40, "q4_0", 19.55],
    [80, "q4_0", 38.8],
  ])("%i layers in %s: %d GB", (layers, name, gigabytes) => {
    const { shape } = LLAMA_2_70B;
    const { weightBytes } = budget({ shape, layers, storage: storageOf(name), context: 0 });
    expect(weightBytes / 1e9).toBeCloseTo(gigabytes, 2);
  });

  test("operations and cache", () => {
    const { shape } = LLAMA_2_70B;
    const storage = storageOf("f16");
    const short = budget({ shape, layers: 80, storage, context: 0 });
    expect(short.flopsPerToken / 1e11).toBeCloseTo(1.374, 3);
    const long = budget({ shape, layers: 80, storage, context: 2048 });
    expect((long.flopsPerToken - short.flopsPerToken) / 1e9).toBeCloseTo(5.4, 1);
    expect(long.cacheBytesPerPosition).toBe(327_680);
    const wide = budget({ shape, layers: 80, storage, context: 2048, cacheNumberBytes: 4 });
    expect(wide.cacheBytes).toBe(2 * long.cacheBytes);
  });
});

test("every storage is explained", () => {
  for (const { name } of STORAGES) expect(words.notes[name], name).toBeTruthy();
});
