import { describe, expect, test } from "vitest";
import {
  ARTICLE_CHOICE,
  contextStops,
  DEFAULT_CHOICE,
  readBandwidth,
  readChoice,
  withModel,
  writeChoice,
  type Choice,
} from "../../../www/budget/choice";
import { power, size } from "../../../www/budget/format";
import { LLAMA_2_70B, modelNamed } from "../../../www/budget/shapes";

describe("an address", () => {
  test.each<[string, Choice]>([
    ["the usual", DEFAULT_CHOICE],
    ["the article's", ARTICLE_CHOICE],
    [
      "all of another model",
      {
        ...{ model: "smollm2-135m", dropped: 0, storage: "pack-q4", context: 8192 },
        gigabytesPerSecond: 50.5,
      },
    ],
  ])("brings back %s", (_, choice) => {
    expect(readChoice(writeChoice(choice))).toEqual({ choice, ignored: [] });
  });

  test("may leave everything out", () => {
    expect(readChoice("")).toEqual({ choice: DEFAULT_CHOICE, ignored: [] });
    expect(readChoice("?utm_source=x")).toEqual({ choice: DEFAULT_CHOICE, ignored: [] });
  });

  test("may give a share of the layers, rounded down as on the command line", () => {
    expect(readChoice("?model=llama-3.1-405b&drop=25%25").choice.dropped).toBe(31);
  });

  test("falls back, value by value, where it makes no sense", () => {
    const address = "?model=%3Cscript%3E&drop=80&bits=q9&context=0&bandwidth=fast&model=llama-2-7b";
    const { choice, ignored } = readChoice(address);
    expect(choice).toEqual(DEFAULT_CHOICE);
    expect(ignored).toEqual(["model", "drop", "bits", "context", "bandwidth"]);
    for (const drop of ["-1", "1.5", "", "100%25", "1e1", "x"])
      expect(readChoice(`?drop=${drop}`).ignored, drop).toEqual(["drop"]);
  });

  test("does not carry a pasted model", () => {
    expect(writeChoice({ ...DEFAULT_CHOICE, model: "" })).toBe("");
  });
});

test("another model keeps the share of layers, and a context that it has", () => {
  const [from, to] = [LLAMA_2_70B, modelNamed("halfdepth-stories-12L")];
  if (to === null) throw new Error("no such model");
  const choice = withModel(DEFAULT_CHOICE, from.shape, to.name, to.shape);
  expect(choice).toMatchObject({ model: to.name, dropped: 6, context: 512, storage: "q4_0" });
  const almostAll = withModel({ ...choice, dropped: 11 }, to.shape, from.name, from.shape);
  expect(almostAll.dropped).toBe(73);
});

test("the context goes by powers of two to what the model was trained for", () => {
  const { shape } = LLAMA_2_70B;
  expect(contextStops({ ...shape, context: 4096 }).slice(-2)).toEqual([2048, 4096]);
  expect(contextStops({ ...shape, context: 100 })).toEqual([1, 2, 4, 8, 16, 32, 64, 100]);
  expect(contextStops({ ...shape, context: 1 })).toEqual([1]);
});

test.each([
  ["936", 936],
  ["50.5", 50.5],
  ["0", null],
  ["", null],
  ["1e9", null],
  ["NaN", null],
  ["fast", null],
])("a bandwidth of “%s” is %s", (text, value) => {
  expect(readBandwidth(text)).toBe(value);
});

test.each([
  [512, "512 B"],
  [1500, "1.50 kB"],
  [999_999, "1.00 MB"],
  [19_547_140_608, "19.55 GB"],
  [137_953_296_384, "137.95 GB"],
  [1_620_000_000_000, "1,620.00 GB"],
])("%i bytes are %s", (bytes, shown) => {
  expect(size(bytes)).toBe(shown);
});

test("powers of ten", () => {
  expect(power(1.3741e11, 3)).toBe("1.374 × 10¹¹");
  expect(power(3e10, 0)).toBe("3 × 10¹⁰");
});
