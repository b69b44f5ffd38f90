import { expect, test } from "vitest";
import { recorded } from "../../www/recorded";
import { compare, textAt } from "../../www/turns";

test("the recording can be read, and its replay ends with what was said", () => {
  const kept = recorded();
  if (kept === null) throw new Error("www/recorded.json is none");
  const { exchange, layers, on } = kept;
  expect(on).not.toBe("");
  expect(exchange.answers[0].plan.layers).toHaveLength(layers);
  expect(exchange.answers[1].plan.layers).toHaveLength(layers / 2);
  for (const answer of exchange.answers) {
    expect(answer.tokens.length).toBe(answer.stats?.generatedTokens);
    expect(textAt(answer, Infinity)).toBe(answer.text);
    expect(textAt(answer, 0)).toBe("");
  }
  // Half the layers cannot be more than twice as fast: a recording that says so was disturbed.
  const comparison = compare(exchange);
  expect(comparison).toMatchObject({ kind: "ratio" });
  if (comparison?.kind !== "ratio") return;
  expect(comparison.ratio).toBeGreaterThan(1.3);
  expect(comparison.ratio).toBeLessThan(2.1);
});
