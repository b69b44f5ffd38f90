// Exchanges as the page has them, for tests.
import type { RunPlan } from "../../www/change";
import type { LaneStats, PlanInfo } from "../../www/engine";
import { DEFAULT_SETTINGS, type Settings } from "../../www/settings";
import { LANES, type Answer, type Exchange, type PerLane } from "../../www/turns";

/** A plan in the model's own weights, measured on one text. */
export function planOf(name: string, layers: number[], crossEntropy: number | null): PlanInfo {
  return {
    name,
    title: name,
    layers,
    replaced: [],
    crossEntropy,
    figures: crossEntropy === null ? [null] : [{ crossEntropy, agreement: null, kl: null }],
    weightBytesPerToken: 1000 * layers.length,
  };
}

export const FULL: PlanInfo = { ...planOf("full", [0, 1, 2, 3], 2), title: "Full" };
export const HALF: PlanInfo = { ...planOf("half", [0, 3], 3), title: "Half" };

export const STATS: LaneStats = {
  promptTokens: 5,
  reusedTokens: 0,
  generatedTokens: 20,
  prefillMs: 10,
  timeToFirstTokenMs: 12,
  decodeMs: 100,
  prefillTokensPerSecond: 500,
  decodeTokensPerSecond: 100,
};

export function answerOf(plan: RunPlan, text: string, part: Partial<Answer> = {}): Answer {
  return {
    plan,
    state: "done",
    finish: "end-token",
    text,
    tokens: [1, 2],
    pieces: [{ text, timesMs: [10, 20] }],
    started: { promptTokens: 5, reusedTokens: 0, contextLeft: 100 },
    stats: { ...STATS, decodeTokensPerSecond: plan === FULL ? 100 : 170 },
    error: null,
    ...part,
  };
}

interface Asked {
  settings?: Settings;
  seed?: number;
  answers?: PerLane<Answer>;
}

export function exchangeOf(question: string, asked: Asked = {}): Exchange {
  const settings = asked.settings ?? DEFAULT_SETTINGS;
  const answers = asked.answers ?? [answerOf(FULL, "All of it."), answerOf(HALF, "Half of it.")];
  return {
    question,
    order: LANES.slice(0, answers.length),
    together: settings.together,
    hidden: false,
    seed: asked.seed ?? settings.sampling.seed,
    settings,
    answers,
  };
}
