import { describe, expect, test } from "vitest";
import { departures, tokensAlike, type MayGoOn } from "../../www/departures";

const BOTH_ENDED: MayGoOn = { first: false, second: false };
const FIRST_GOES_ON: MayGoOn = { first: true, second: false };
const SECOND_GOES_ON: MayGoOn = { first: false, second: true };

/** The second text with what departs in brackets. */
function marked(first: string, second: string, mayGoOn = BOTH_ENDED): string {
  let shown = "";
  let at = 0;
  for (const { start, end } of departures(first, second, mayGoOn).marked) {
    shown += `${second.slice(at, start)}[${second.slice(start, end)}]`;
    at = end;
  }
  return shown + second.slice(at);
}

describe("words that depart are marked", () => {
  test.each<[string, string, string, MayGoOn?]>([
    ["One day she ran.", "One day she ran.", "One day she ran."],
    ["One day she ran.", "One day he ran.", "One day [he] ran."],
    ["One day she ran.", "One day she ran off.", "One day she ran [off]."],
    ["One day she ran home.", "One day she ran.", "One day she ran."],
    ["a b c d e", "a x y d e", "a [x y] d e"],
    ["a b c d e", "a x c y e", "a [x] c [y] e"],
    ["Lily", "lily", "[lily]"],
    ["A dog's day", "A dogs day", "A [dogs] day"],
    ["“Hi,” she said.", "“Hi!” she said.", "“Hi[!]” she said."],
    ["一天，她跑了。", "一天，他跑了。", "一天，[他]跑了。"],
    ["a\n\nb", "a b", "a b"],
    ["", "a b", "[a b]"],
    // Cut at a limit: what lies beyond the end of the other is not held against it.
    ["One day she", "One day she ran home.", "One day she ran home.", FIRST_GOES_ON],
    ["One day sh", "One day she ran home.", "One day she ran home.", FIRST_GOES_ON],
    ["a b c d x", "a p q d e f g", "a [p q] d e f g", FIRST_GOES_ON],
    ["a b c ", "a x y z w", "a [x y] z w", FIRST_GOES_ON],
    ["a b c", "a b x", "a b x", SECOND_GOES_ON],
    ["a b c", "a b x ", "a b [x] ", SECOND_GOES_ON],
  ])("%j, %j", (first, second, expected, mayGoOn) => {
    expect(marked(first, second, mayGoOn)).toBe(expected);
  });

  test("texts that have nothing in common take no time to speak of", () => {
    const text = (word: string) =>
      Array.from({ length: 5000 }, (_, at) => `${word}${at}`).join(" ");
    const start = performance.now();
    const { departed, words } = departures(`same ${text("a")}`, `same ${text("b")}`, BOTH_ENDED);
    expect(departed).toBe(words - 1);
    // A frame or two on a slow machine; aligned in full it would be minutes.
    expect(performance.now() - start).toBeLessThan(2000);
  });
});

describe("the first departure is named", () => {
  const named = (first: string, second: string, mayGoOn: MayGoOn) => {
    const departure = departures(first, second, mayGoOn).first;
    const cut = (text: string, range: { start: number; end: number } | null) =>
      range && text.slice(range.start, range.end);
    return (
      departure && [departure.alike, cut(first, departure.first), cut(second, departure.second)]
    );
  };
  test.each<[string, string, MayGoOn, [number, string | null, string | null] | null]>([
    ["a b c", "a b c", BOTH_ENDED, null],
    ["a b c", "a x c", BOTH_ENDED, [1, "b", "x"]],
    ["a b", "a b c", BOTH_ENDED, [2, null, "c"]],
    ["a b c", "a b", BOTH_ENDED, [2, "c", null]],
    ["a b c", "a b", SECOND_GOES_ON, null],
    ["a b ", "a b c", FIRST_GOES_ON, null],
    ["a b c", "", BOTH_ENDED, [0, "a", null]],
    ["", "", BOTH_ENDED, null],
  ])("%j, %j, %o", (first, second, mayGoOn, expected) => {
    expect(named(first, second, mayGoOn)).toEqual(expected);
  });

  test.each<[number[], number[], number]>([
    [[1, 2, 3], [1, 2, 4], 2],
    [[1, 2], [1, 2, 3], 2],
    [[1, 2, 3], [1], 1],
    [[], [1], 0],
  ])("tokens %j and %j are alike for %d", (a, b, expected) => {
    expect(tokensAlike(a, b)).toBe(expected);
  });
});

test("what departs is counted over what could be compared", () => {
  expect(departures("a b c d", "a x c y z", BOTH_ENDED)).toMatchObject({ words: 5, departed: 3 });
  expect(departures("a b c ", "a x c y z", FIRST_GOES_ON)).toMatchObject({ words: 3, departed: 1 });
});
