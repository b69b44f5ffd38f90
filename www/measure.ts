// Measures two lanes as fairly as a page can: a warm-up that does not count, then rounds in which each lane answers once, taking
// turns in going first. Nothing kept from an earlier answer is used, and what happened behind a hidden tab is void.
import type { RunPlan } from "./change";
import type { LaneStats, ReadBandwidth, TurnRequest } from "./engine";
import type { Plans, Talker } from "./turns";

export const ROUNDS = 5;
/** Long enough for a steady speed, short enough to wait for. */
export const TOKENS = 64;

export interface Spread {
  median: number;
  least: number;
  most: number;
}

export interface LaneMeasured {
  plan: RunPlan;
  timeToFirstTokenMs: Spread;
  prefillTokensPerSecond: Spread;
  decodeTokensPerSecond: Spread;
  /** Positions in the cache half-way through the answer. */
  context: number;
}

export interface Measured {
  kind: "measured";
  rounds: number;
  tokens: number;
  promptTokens: readonly number[];
  lanes: readonly LaneMeasured[];
  /** Decode speed of the second lane over that of the first, round by round. */
  ratio: Spread;
  bandwidth: ReadBandwidth;
}

export type Measurement =
  | { kind: "running"; done: number; of: number }
  | { kind: "hidden" }
  | { kind: "stopped" }
  | { kind: "failed"; why: string }
  | Measured;

/** Whoever answers and can say how fast the device reads. */
export interface Measurable extends Talker {
  readBandwidth(bytes: number): Promise<ReadBandwidth>;
}

export interface MeasureOptions {
  /** The prompts of the lanes, as they were asked. */
  requests: readonly [TurnRequest, TurnRequest];
  vocabSize: number;
  /** What the device is to read when its limit is measured: as much as the first lane's weights. */
  weightBytes: number;
  signal: AbortSignal;
  /** Whether the tab was hidden at any time since the measurement began. */
  wasHidden: () => boolean;
  onRound: (done: number, of: number) => void;
}

/** Rejects with what the lane failed with; a stop gives "stopped". */
export async function measure(
  talker: Measurable,
  plans: Plans,
  options: MeasureOptions,
): Promise<Measured | { kind: "hidden" } | { kind: "stopped" }> {
  const { requests, signal, wasHidden, onRound } = options;
  const taken: [LaneStats[], LaneStats[]] = [[], []];
  const tokens = Math.min(TOKENS, ...requests.map(({ maxTokens }) => maxTokens));
  for (let round = -1; round < ROUNDS; round += 1) {
    onRound(Math.max(0, round), ROUNDS);
    for (const lane of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
      const plan = plans[lane];
      await answer(talker, plan, forget(options), signal);
      const request = { ...requests[lane], maxTokens: tokens, stop: [], ignoreEnd: true };
      const stats = await answer(talker, plan, request, signal);
      if (wasHidden()) return { kind: "hidden" };
      if (stats === null) return { kind: "stopped" };
      if (round >= 0) taken[lane].push(stats);
    }
  }
  const bandwidth = await talker.readBandwidth(options.weightBytes);
  if (wasHidden()) return { kind: "hidden" };
  return {
    kind: "measured",
    rounds: ROUNDS,
    tokens,
    promptTokens: taken.map(([stats]) => stats?.promptTokens ?? 0),
    lanes: taken.map((stats, lane) => summary(plans[lane === 0 ? 0 : 1], stats)),
    ratio: spread(
      taken[1].map((stats, round) => {
        const other = taken[0][round]?.decodeTokensPerSecond ?? NaN;
        return stats.decodeTokensPerSecond / other;
      }),
    ),
    bandwidth,
  };
}

/** A prompt of one odd token, after which the cache holds nothing that the real prompt begins with. */
function forget({ vocabSize, requests }: MeasureOptions): TurnRequest {
  const { sampling } = requests[0];
  return { ids: [vocabSize - 1], sampling, maxTokens: 1, stop: [], ignoreEnd: true };
}

async function answer(
  talker: Talker,
  plan: RunPlan,
  request: TurnRequest,
  signal: AbortSignal,
): Promise<LaneStats | null> {
  let stats: LaneStats | null = null;
  try {
    for await (const event of talker.turn(plan, request, signal)) {
      if (event.kind === "step") stats = event.step.stats;
    }
  } catch (thrown) {
    if (signal.aborted) return null;
    throw thrown;
  }
  return signal.aborted ? null : stats;
}

function summary(plan: RunPlan, all: readonly LaneStats[]): LaneMeasured {
  const of = (figure: (stats: LaneStats) => number) => spread(all.map(figure));
  const context = of(({ promptTokens, generatedTokens }) => promptTokens + generatedTokens / 2);
  return {
    plan,
    timeToFirstTokenMs: of((stats) => stats.timeToFirstTokenMs),
    prefillTokensPerSecond: of((stats) => stats.prefillTokensPerSecond),
    decodeTokensPerSecond: of((stats) => stats.decodeTokensPerSecond),
    context: Math.round(context.median),
  };
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (index: number) => sorted[index] ?? NaN;
  const middle = (sorted.length - 1) / 2;
  return {
    median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
    least: at(0),
    most: at(sorted.length - 1),
  };
}
