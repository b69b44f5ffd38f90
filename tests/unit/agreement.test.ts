import { describe, expect, test } from "vitest";
import { agreement, decidedAfter, depthsOf, loudness } from "../../www/agreement";
import type { Compared } from "../../www/engine";

const TEXTS = ["Lily", " was", " a", " girl", ".", "<|end|>", " big"];

/** Token, what the reference and what the other lane hold likeliest, by number. */
function row(token: number, expected: number, found: number, kl = 0): Compared {
  const said = (id: number) => ({ id, text: TEXTS[id] ?? "" });
  return { token, expected: said(expected), found: said(found), agrees: expected === found, kl };
}

describe("an agreement", () => {
  test("counts, averages, and names the first token at which the lanes part", () => {
    const rows = [row(0, 0, 0, 0.1), row(1, 1, 1, 0.2), row(2, 2, 6, 0.9), row(3, 3, 4, 0)];
    const found = agreement(rows, "Lily was a girl");
    expect(found).toMatchObject({ agreed: 2, first: 2 });
    expect(found.meanKl).toBeCloseTo(0.3);
    expect(found.tokens.map(({ text }) => text)).toEqual(["Lily", " was", " a", " girl"]);
  });

  test("is nothing of no answer", () => {
    expect(agreement([], "")).toEqual({ tokens: [], agreed: 0, meanKl: 0, first: null });
  });

  test.each<[string, Compared[], string, string[]]>([
    ["an end token", [row(0, 0, 0), row(5, 5, 4)], "Lily", ["Lily", "<|end|>"]],
    [
      "a token that neither lane held likeliest",
      [row(0, 0, 0), row(6, 2, 2), row(3, 3, 3)],
      "Lily big girl",
      ["Lily", " big", " girl"],
    ],
    [
      "two such tokens",
      [row(0, 0, 0), row(6, 2, 2), row(1, 2, 2), row(3, 3, 3)],
      "Lily big was girl",
      ["Lily", " big was", "", " girl"],
    ],
    ["such a token at the end", [row(0, 0, 0), row(6, 2, 2)], "Lily big", ["Lily", " big"]],
    [
      "such a token, known from elsewhere",
      [row(6, 2, 2), row(0, 0, 6)],
      " bigLily",
      [" big", "Lily"],
    ],
  ])("finds the text of %s", (_, rows, answer, texts) => {
    expect(agreement(rows, answer).tokens.map(({ text }) => text)).toEqual(texts);
  });
});

test("a word is decided where the likeliest is the final one and stays so", () => {
  const depths = [
    // always, from the second on, late, only in the end, and one that was left again
    [row(0, 0, 0), row(1, 1, 0), row(2, 2, 0), row(3, 3, 0), row(4, 4, 4)],
    [row(0, 0, 0), row(1, 1, 1), row(2, 2, 0), row(3, 3, 0), row(4, 4, 0)],
    [row(0, 0, 0), row(1, 1, 1), row(2, 2, 2), row(3, 3, 0), row(4, 4, 4)],
  ];
  expect(decidedAfter(depths)).toEqual([1, 2, 3, 4, 3]);
  expect(depthsOf(depths, "Lily was a girl.").said).toEqual(TEXTS.slice(0, 5));
});

test.each([
  [0, 0],
  [0.02, 1],
  [0.3, 2],
  [1, 3],
  [9, 4],
])("%f nats are marked at %i", (kl, level) => {
  expect(loudness(kl)).toBe(level);
});
