import { describe, expect, test } from "vitest";
import { fingerprint, link, read, type Shared } from "../../www/link";
import { DEFAULT_SETTINGS, type Settings } from "../../www/settings";
import { answerOf, exchangeOf, FULL, HALF } from "./exchanges";

const PAGE = "https://example.org/demo/?model=../m/&x=1#old";

function shared(address: string): Shared {
  const result = read(address);
  if (result.kind !== "shared") throw new Error(`${address} is ${JSON.stringify(result)}`);
  return result.shared;
}

function settings(part: Partial<Settings> = {}): Settings {
  return { ...DEFAULT_SETTINGS, ...part };
}

describe("a link", () => {
  test.each<[string, Partial<Settings>]>([
    ["defaults", {}],
    [
      "a system prompt in two lines",
      { system: "Be kind.\nBe short & sweet; 50 % of it + more #1" },
    ],
    ["stop strings", { stop: ["\n\n", "a,b", "&q=x", "ü"] }],
    ["both switches", { sharedHistory: true, together: true }],
    ["a length", { maxTokens: 33 }],
    [
      "every number",
      {
        sampling: {
          temperature: 0.7,
          topK: 40,
          topP: 0.9,
          minP: 0.05,
          repetitionPenalty: 1.1,
          seed: Number.MAX_SAFE_INTEGER,
        },
      },
    ],
  ])("carries %s there and back", (_, part) => {
    const asked = settings(part);
    const exchange = exchangeOf("Why + how?\n<b>&q=2</b> 👩‍🚀 50 %", { settings: asked });
    const made = link(PAGE, [exchange]);
    expect(made?.whole).toBe(true);
    expect(shared(made?.address ?? "")).toEqual({
      plans: ["full", "half"],
      changes: [null, null],
      questions: [{ text: exchange.question, seed: asked.sampling.seed }],
      settings: asked,
      fingerprints: [fingerprint("All of it."), fingerprint("Half of it.")],
    });
  });

  test("is short, keeps the model, and keeps the question from servers", () => {
    const address = link(PAGE, [exchangeOf("Why is the sky blue?")])?.address;
    expect(address).toBe(
      "https://example.org/demo/?model=..%2Fm%2F&plans=full,half" +
        "#ask=1&q=Why+is+the+sky+blue%3F&same=a163c16c.2515abcc",
    );
  });

  test("carries changed layers and mutes, beside a name with colons", () => {
    const change = { layers: [0, 2, 3], muteAttention: [2], muteMlp: [0, 3] };
    const other = { layers: [0], muteAttention: [], muteMlp: [] };
    const odd = { ...HALF, name: "a:b", layers: [0], change: other };
    const exchange = exchangeOf("a", {
      answers: [answerOf({ ...FULL, layers: change.layers, change }, ""), answerOf(odd, "")],
    });
    const address = link(PAGE, [exchange])?.address ?? "";
    expect(address).toContain("plans=full:0.2-3:a2:m0.3,a%3Ab:0#");
    expect(shared(address)).toMatchObject({ plans: ["full", "a:b"], changes: [change, other] });
  });

  test("carries a third lane", () => {
    const third = answerOf({ ...HALF, name: "healed" }, "The rest.");
    const answers = [answerOf(FULL, "All of it."), answerOf(HALF, "Half of it."), third] as const;
    const { plans, fingerprints } = shared(
      link(PAGE, [exchangeOf("a", { answers })])?.address ?? "",
    );
    expect(plans).toEqual(["full", "half", "healed"]);
    expect(fingerprints).toHaveLength(3);
  });

  test("carries names of plans with commas and spaces", () => {
    const odd = { ...HALF, name: "a, b+c&d=é" };
    const exchange = exchangeOf("a", { answers: [answerOf(FULL, ""), answerOf(odd, "")] });
    expect(shared(link(PAGE, [exchange])?.address ?? "").plans).toEqual(["full", odd.name]);
  });

  test("carries the whole conversation, each question with its seed", () => {
    const made = link(PAGE, [exchangeOf("a"), exchangeOf("b", { seed: 5 }), exchangeOf("c")]);
    expect(made?.whole).toBe(true);
    const { questions, settings } = shared(made?.address ?? "");
    expect(questions).toEqual([
      { text: "a", seed: 1 },
      { text: "b", seed: 5 },
      { text: "c", seed: 1 },
    ]);
    expect(settings.sampling.seed).toBe(1);
  });

  const last = exchangeOf("last");
  const CHANGED = { ...HALF, change: { layers: [0, 1, 3], muteAttention: [], muteMlp: [] } };
  const stopped = answerOf(HALF, "Ha", { finish: "stopped" });
  test.each([
    ["was too long", [exchangeOf("a".repeat(2000)), last]],
    ["had too many questions", [...Array.from({ length: 16 }, () => exchangeOf("a")), last]],
    [
      "was asked with other settings",
      [exchangeOf("a", { settings: settings({ maxTokens: 9 }) }), last],
    ],
    [
      "ran other layers of a plan",
      [exchangeOf("a", { answers: [answerOf(FULL, ""), answerOf(CHANGED, "")] }), last],
    ],
    [
      "ran other plans",
      [exchangeOf("a", { answers: [answerOf(HALF, ""), answerOf(FULL, "")] }), last],
    ],
    ["was stopped", [exchangeOf("a", { answers: [answerOf(FULL, ""), stopped] }), last]],
  ])("carries the last question alone when what came before %s", (_, exchanges) => {
    const made = link(PAGE, exchanges);
    expect(made?.whole).toBe(false);
    expect(shared(made?.address ?? "").questions).toEqual([{ text: "last", seed: 1 }]);
  });

  test("promises no text of an answer that was stopped", () => {
    const exchange = exchangeOf("a", { answers: [answerOf(FULL, "All"), stopped] });
    expect(shared(link(PAGE, [exchange])?.address ?? "").fingerprints).toEqual([]);
  });

  test.each([
    ["no question", []],
    ["a question too long to be read", [exchangeOf("ü".repeat(3000))]],
    [
      "more stop strings than are read",
      [exchangeOf("a", { settings: settings({ stop: Array<string>(9).fill("x") }) })],
    ],
  ])("is none for %s", (_, exchanges) => {
    expect(link(PAGE, exchanges)).toBeNull();
  });
});

describe("what is no link of ours is left alone", () => {
  test.each(["", "#", "#top", "#q=hello", "?model=x#settings=1", "?q=1", "?plans="])(
    "%s",
    (end) => {
      expect(read(`https://example.org/${end}`)).toEqual({ kind: "none" });
    },
  );

  test("plans alone choose the lanes", () => {
    expect(read("https://example.org/?plans=half,full#top")).toEqual({
      kind: "plans",
      plans: ["half", "full"],
      changes: [null, null],
    });
  });

  test("keys of later pages are passed over", () => {
    expect(shared("https://example.org/#ask=1&q=a&colour=red").questions).toHaveLength(1);
  });
});

describe("a damaged or hostile link is refused, with a reason", () => {
  test.each([
    ["#ask=2&q=a", "newer"],
    ["#ask=&q=a", "newer"],
    ["#ask=%3Cscript%3E&q=a", "<script>"],
    [`#ask=${"9".repeat(5000)}&q=a`, "9999999999999999”"],
    ["#ask=1", "question"],
    ["#ask=1&q=", "question"],
    ["#ask=1&q=a&q=+%0A", "question"],
    [`#ask=1${"&q=a".repeat(17)}`, "16"],
    [`#ask=1&q=${"a".repeat(8000)}`, "longer"],
    ["#ask=1&q=a&t=hot", "“t”"],
    ["#ask=1&q=a&t=", "“t”"],
    ["#ask=1&q=a&t=-1", "“t”"],
    ["#ask=1&q=a&t=NaN", "“t”"],
    ["#ask=1&q=a&t=Infinity", "“t”"],
    ["#ask=1&q=a&t=1e999", "“t”"],
    ["#ask=1&q=a&t=0.5&t=0.6", "more than once"],
    ["#ask=1&q=a&k=1.5", "“k”"],
    ["#ask=1&q=a&k=-3", "“k”"],
    ["#ask=1&q=a&p=0", "“p”"],
    ["#ask=1&q=a&rep=0", "“rep”"],
    ["#ask=1&q=a&max=0", "“max”"],
    ["#ask=1&q=a&max=1e9", "“max”"],
    ["#ask=1&q=a&seed=-1", "“seed”"],
    ["#ask=1&q=a&seed=1.2", "seed"],
    ["#ask=1&q=a&q=b&seed=1.2.3", "seed"],
    ["#ask=1&q=a&seed=9007199254740993", "“seed”"],
    ["#ask=1&q=a&shared=yes", "“shared”"],
    ["#ask=1&q=a&together=1&together=1", "more than once"],
    [`#ask=1&q=a${"&stop=x".repeat(9)}`, "stop"],
    ["#ask=1&q=a&stop=", "stop"],
    ["#ask=1&q=a&same=1", "fingerprint"],
    ["#ask=1&q=a&same=javascript:alert(1)", "fingerprint"],
    ["?plans=a,b,c,d#ask=1&q=a", "plans"],
    ["?plans=a,b,a", "plans"],
    ["?plans=a,b,b:0", "plans"],
    ["?plans=a,,b", "plans"],
    ["?plans=,", "plans"],
    ["?plans=a&plans=b", "plans"],
    ["?plans=%E0%A4%A", "plans"],
    [`?plans=${"a".repeat(65)}`, "plans"],
    ["?plans=full,half:#ask=1&q=a", "plans"],
    ["?plans=full,half:all", "plans"],
    ["?plans=full,half:3-0", "plans"],
    ["?plans=full,half:0-1-2", "plans"],
    ["?plans=full,half:0.0", "plans"],
    ["?plans=full,half:2.1", "plans"],
    ["?plans=full,half:0-9999", "plans"],
    ["?plans=full,half:1024", "plans"],
    ["?plans=full,half:-1", "plans"],
    ["?plans=full,half:0..1", "plans"],
    ["?plans=full,half:0:a1", "plans"],
    ["?plans=full,half:0:a0:m0", "plans"],
    ["?plans=full,half:0-3:m1:a1", "plans"],
    ["?plans=full,half:0-3:a1:m1:x1", "plans"],
    [`?plans=full,half:${"0-1023.".repeat(500)}0`, "plans"],
    ["?plans=full,:0", "plans"],
    ["?plans=full,half:<script>", "plans"],
  ])("%s", (end, why) => {
    const result = read(`https://example.org/${end}`);
    expect(result).toEqual({ kind: "invalid", why: expect.stringContaining(why) as string });
  });

  test.each([
    ["#ask=1&q=a&__proto__=1&constructor=2"],
    ["#ask=1&q=%00%ff%ed%a0%80"],
    ["#ask=1&q=%E2%80%AEgnihtemos"],
    ["#ask=1&q=%"],
  ])("%s does no harm", (end) => {
    const { questions, settings } = shared(`https://example.org/${end}`);
    expect(questions).toHaveLength(1);
    expect(settings).toEqual(DEFAULT_SETTINGS);
  });
});

test.each([
  ["", "811c9dc5"],
  ["a", "e40c292c"],
  ["foobar", "bf9cf968"],
])("the fingerprint of %j is FNV-1a's", (text, expected) => {
  // From the algorithm's published test vectors.
  expect(fingerprint(text)).toBe(expected);
});
