import { expect, test } from "vitest";
import { parting, tellParting } from "../../www/parting";
import type { Answer } from "../../www/turns";
import { answerOf, exchangeOf, FULL, HALF } from "./exchanges";

function told(first: Answer, second: Answer): string | null {
  const exchange = exchangeOf("a", { answers: [first, second] });
  const said = [first.text, second.text] as const;
  return tellParting(parting(exchange, said), exchange, said, 4);
}

const full = (text: string, part: Partial<Answer> = {}) => answerOf(FULL, text, part);
const half = (text: string, part: Partial<Answer> = {}) => answerOf(HALF, text, part);

test.each<[string, Answer, Answer, string | null]>([
  [
    "another word",
    full("One day she ran.", { tokens: [1, 2, 3, 4, 5] }),
    half("One day he ran.", { tokens: [1, 2, 9, 4, 5] }),
    "Departs at word 3 (token 3): “he”, where the full model says “she”. 1 of 5 words differ; they are underlined.",
  ],
  [
    "an earlier end",
    full("One day she", { tokens: [1, 2, 3] }),
    half("One day", { tokens: [1, 2] }),
    "Ends before word 3 (token 3), where the full model goes on with “she”.",
  ],
  [
    "a later end",
    full("One day", { tokens: [1, 2] }),
    half("One day she", { tokens: [1, 2, 3] }),
    "Goes on at word 3 (token 3) with “she”, where the full model ends. 1 of 3 words differ; they are underlined.",
  ],
  ["nothing", full("One day"), half("One day"), "Word for word the same so far as both go."],
  ["nothing yet", full("One day"), half("One ", { state: "running", finish: null }), null],
  ["nothing said", full("One day"), half("", { state: "waiting", finish: null }), null],
  ["the same layers", full("One day"), full("One night"), null],
  [
    "two halves",
    half("a b", { plan: { ...HALF, name: "other" } }),
    half("a c"),
    "Departs at word 2 (token 3): “c”, where the first lane says “b”. 1 of 2 words differ; they are underlined.",
  ],
  [
    "what a cut answer never reached",
    full("a b ", { finish: "max-tokens" }),
    half("a b c"),
    "Word for word the same so far as both go.",
  ],
])("%s", (_, first, second, expected) => {
  expect(told(first, second)).toBe(expected);
});
