import { describe, expect, test } from "vitest";
import type { PlanInfo, LaneStats, TurnRequest } from "../../www/engine";
import { measure, spread, type Measurable, type MeasureOptions } from "../../www/measure";
import { HalfdepthError, type TurnEvent } from "../../www/protocol";
import { DEFAULT_SETTINGS } from "../../www/settings";
import { FULL, HALF, STATS } from "./exchanges";

const REQUEST: TurnRequest = {
  messages: [{ role: "user", content: "Why?" }],
  sampling: DEFAULT_SETTINGS.sampling,
  maxTokens: 200,
  stop: ["x"],
};

/** The nth answer of a lane decodes at `speeds[plan][n]`. */
class Stopwatch implements Measurable {
  readonly asked: { plan: string; request: TurnRequest }[] = [];
  readonly read: number[] = [];
  failWith: Error | null = null;

  constructor(private readonly speeds: Record<string, number[]>) {}

  async *turn({ name: plan }: PlanInfo, request: TurnRequest): AsyncGenerator<TurnEvent> {
    this.asked.push({ plan, request });
    await Promise.resolve();
    if (this.failWith) throw this.failWith;
    const real = this.asked.filter((one) => one.plan === plan && one.request.messages).length;
    const stats: LaneStats = {
      ...STATS,
      generatedTokens: request.maxTokens,
      decodeTokensPerSecond: this.speeds[plan]?.[real - 1] ?? NaN,
    };
    const step = {
      tokens: [1],
      text: "a",
      finish: "max-tokens" as const,
      stats,
      drafted: [],
      tokenTimesMs: [1],
      cpuMs: 0,
    };
    yield { kind: "step", step };
  }

  readBandwidth(bytes: number) {
    this.read.push(bytes);
    return Promise.resolve({ bytesPerSecond: 1e9, bufferBytes: bytes });
  }
}

// The first of each is the warm-up.
const SPEEDS = { full: [1, 100, 90, 110, 100, 95], half: [1, 150, 180, 165, 200, 190] };

function run(talker: Measurable, part: Partial<MeasureOptions> = {}) {
  return measure(talker, [FULL, HALF], {
    requests: [REQUEST, REQUEST],
    vocabSize: 16,
    weightBytes: 77,
    signal: new AbortController().signal,
    wasHidden: () => false,
    onRound: () => undefined,
    ...part,
  });
}

test("medians and spreads over five rounds, without the warm-up", async () => {
  const watch = new Stopwatch(SPEEDS);
  expect(await run(watch)).toMatchObject({
    kind: "measured",
    rounds: 5,
    tokens: 64,
    promptTokens: [5, 5],
    lanes: [
      { plan: FULL, decodeTokensPerSecond: { median: 100, least: 90, most: 110 }, context: 37 },
      { plan: HALF, decodeTokensPerSecond: { median: 180, least: 150, most: 200 } },
    ],
    ratio: { median: 2, least: 1.5, most: 2 },
    bandwidth: { bytesPerSecond: 1e9 },
  });
  expect(watch.read).toEqual([77]);
});

test("lanes take turns, nothing is kept from before, and end tokens do not shorten it", async () => {
  const watch = new Stopwatch(SPEEDS);
  const rounds: number[] = [];
  await run(watch, { onRound: (done) => rounds.push(done) });
  expect(rounds).toEqual([0, 0, 1, 2, 3, 4]);
  const real = watch.asked.filter(({ request }) => request.messages);
  expect(real.map(({ plan }) => plan)).toEqual(
    [1, 0, 1, 0, 1, 0].flatMap((first) => (first === 1 ? ["half", "full"] : ["full", "half"])),
  );
  for (const { request } of real) {
    expect(request).toEqual({ ...REQUEST, maxTokens: 64, stop: [], ignoreEnd: true });
  }
  // Before each of them, one token that no prompt begins with.
  const others = watch.asked.filter((_, at) => at % 2 === 0);
  expect(others.every(({ request }) => request.ids?.[0] === 15 && request.maxTokens === 1)).toBe(
    true,
  );
});

describe("what spoils it", () => {
  test("a tab that was hidden makes it void", async () => {
    expect(await run(new Stopwatch(SPEEDS), { wasHidden: () => true })).toEqual({ kind: "hidden" });
  });

  test("a stop ends it without figures", async () => {
    const stop = new AbortController();
    const onRound = (done: number) => {
      if (done === 1) stop.abort();
    };
    expect(await run(new Stopwatch(SPEEDS), { signal: stop.signal, onRound })).toEqual({
      kind: "stopped",
    });
  });

  test("a failure is told", async () => {
    const watch = new Stopwatch(SPEEDS);
    watch.failWith = new HalfdepthError("DeviceLost", "Gone.");
    await expect(run(watch)).rejects.toMatchObject({ name: "DeviceLost" });
  });
});

test.each([
  [[3, 1, 2], { median: 2, least: 1, most: 3 }],
  [[4, 1, 2, 3], { median: 2.5, least: 1, most: 4 }],
  [[7], { median: 7, least: 7, most: 7 }],
])("the spread of %j", (values, expected) => {
  expect(spread(values)).toEqual(expected);
});
