import { describe, expect, it } from "vitest";
import { cut, gain, same, takeDraft, type Drafted } from "../../www/draft";
import { answerOf, FULL, STATS } from "./exchanges";

function blank(): Drafted {
  return { kind: "running", pieces: [], tokens: [], speculation: null };
}

const SPECULATION = {
  drafted: 8,
  accepted: 5,
  rounds: 2,
  msPerToken: 5,
  plainMsPerToken: 10,
  on: true,
};

describe("a drafted answer", () => {
  it("grows by pieces that know how much of them was drafted", () => {
    const drafted = blank();
    takeDraft(drafted, {
      kind: "step",
      step: {
        tokens: [7, 8, 9],
        text: " a b c",
        finish: null,
        stats: { ...STATS, speculation: SPECULATION },
        drafted: [true, true, false],
        tokenTimesMs: [1, 2, 3],
        cpuMs: 1,
      },
    });
    expect(drafted.pieces).toEqual([{ text: " a b c", tokens: 3, drafted: 2 }]);
    expect(drafted.tokens).toEqual([7, 8, 9]);
    expect(drafted.speculation).toEqual(SPECULATION);
  });

  it.each([
    [" a b c", 3, 2, " a b", " c"],
    [" a b c", 3, 3, " a b c", ""],
    [" a b c", 3, 0, "", " a b c"],
    ["", 2, 1, "", ""],
    ["abcd", 2, 1, "ab", "cd"], // no space: in proportion
    [" ab cd ef gh", 4, 2, " ab cd", " ef gh"],
  ])("%j: %i tokens, %i drafted", (text, tokens, drafted, marked, own) => {
    expect(cut({ text, tokens, drafted })).toEqual([marked, own]);
  });

  it("pays or not", () => {
    expect(gain(SPECULATION)).toEqual({ speedUp: 2, acceptance: 5 / 8 });
    const unmeasured = { ...SPECULATION, drafted: 0, accepted: 0, plainMsPerToken: 0 };
    expect(gain(unmeasured)).toEqual({ speedUp: null, acceptance: null });
  });

  it("is compared with the plain one token by token", () => {
    const answer = answerOf(FULL, "x", { tokens: [1, 2, 3, 4] });
    expect(same({ ...blank(), tokens: [1, 2, 3] }, answer)).toEqual({ alike: 3, of: 3 });
    expect(same({ ...blank(), tokens: [1, 9, 3, 4] }, answer)).toEqual({ alike: 1, of: 4 });
  });
});
