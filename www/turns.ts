// The conversation of two or three lanes: who answers when, with which history, and what came of it. No DOM, no clock.
import { isMuted, type RunPlan } from "./change";
import type { Finish, LaneStats, Message, PlanInfo, TurnRequest, TurnStarted } from "./engine";
import { toErrorShape, needsReload, type ErrorShape, type TurnEvent } from "./protocol";
import type { Settings } from "./settings";

/** Lane 0 runs the full model, lane 1 the other plan, and lane 2 a third one where somebody wants it. */
export type LaneIndex = 0 | 1 | 2;
export const LANES: readonly LaneIndex[] = [0, 1, 2];
/** One thing for each lane there is: two, or three. */
export type PerLane<T> = readonly [T, T] | readonly [T, T, T];
export type Plans = PerLane<RunPlan>;

/** Whoever can answer: the session, or a stand-in in tests. */
export interface Talker {
  turn(plan: RunPlan, request: TurnRequest, signal: AbortSignal): AsyncIterable<TurnEvent>;
}

export interface Exchange {
  question: string;
  /** The order in which the lanes answered. */
  order: readonly LaneIndex[];
  together: boolean;
  /** The tab was hidden while it was answered. */
  hidden: boolean;
  seed: number;
  /** What it was asked with; its seed is the one above. */
  settings: Settings;
  answers: PerLane<Answer>;
}

export interface Answer {
  plan: RunPlan;
  state: "waiting" | "running" | "done";
  finish: Finish | "stopped" | "failed" | null;
  text: string;
  tokens: number[];
  pieces: Piece[];
  started: TurnStarted | null;
  stats: LaneStats | null;
  error: ErrorShape | null;
}

/** Text that arrived at once, and when each of its tokens was made: ms since the turn began. */
export interface Piece {
  text: string;
  timesMs: readonly number[];
}

export type Change =
  | { kind: "asked"; exchange: Exchange }
  | { kind: "began"; exchange: Exchange; lane: LaneIndex; answer: Answer }
  | { kind: "text"; exchange: Exchange; lane: LaneIndex; answer: Answer; text: string }
  | { kind: "ended"; exchange: Exchange; lane: LaneIndex; answer: Answer }
  | { kind: "settled"; exchange: Exchange }
  | { kind: "cleared" };

export class Conversation {
  private readonly done: Exchange[] = [];
  private stopper: AbortController | null = null;
  private asked = 0;

  /** `isHidden`: whether the tab is just now. */
  constructor(
    private readonly changed: (change: Change) => void,
    private readonly isHidden: () => boolean = () => false,
  ) {}

  get exchanges(): readonly Exchange[] {
    return this.done;
  }

  get running(): boolean {
    return this.stopper !== null;
  }

  /** Resolves when all lanes have answered or were stopped; a failure stands in its answer. */
  async ask(question: string, plans: Plans, settings: Settings, talker: Talker): Promise<void> {
    await this.run(question, plans, settings, talker, settings.sampling.seed);
  }

  /** Asks the last question again in place of its answers. Where chance plays a part, it gets the next seed. */
  async regenerate(plans: Plans, settings: Settings, talker: Talker): Promise<void> {
    const last = this.done.at(-1);
    if (last === undefined || this.running) return;
    this.done.pop();
    const { temperature, seed } = settings.sampling;
    const next = temperature > 0 ? Math.max(seed, last.seed + 1) : seed;
    await this.run(last.question, plans, settings, talker, next);
  }

  stop(): void {
    this.stopper?.abort();
  }

  /** The tab is hidden: what is being answered is measured by a clock that browsers slow down. */
  wasHidden(): void {
    const last = this.done.at(-1);
    if (this.running && last !== undefined) last.hidden = true;
  }

  /** Takes up what was said on an earlier visit. */
  restore(exchanges: readonly Exchange[]): void {
    if (this.running) return;
    this.done.splice(0, this.done.length, ...exchanges);
    this.asked = exchanges.length;
  }

  clear(): void {
    this.stop();
    this.done.length = 0;
    this.changed({ kind: "cleared" });
  }

  private async run(
    question: string,
    plans: Plans,
    settings: Settings,
    talker: Talker,
    seed: number,
  ): Promise<void> {
    if (this.running) return;
    const stopper = (this.stopper = new AbortController());
    // Whoever goes first meets the cooler chip, or the colder caches: they take turns. A third is compared with neither.
    const pair: LaneIndex[] = this.asked % 2 === 0 ? [0, 1] : [1, 0];
    const order: LaneIndex[] = plans.length === 3 ? [...pair, 2] : pair;
    this.asked += 1;
    // A pack with one plan has one lane, which cannot do two things at once.
    const together = settings.together && plans[0].name !== plans[1].name;
    const before = [...this.done];
    const exchange: Exchange = {
      question,
      order,
      together,
      hidden: this.isHidden(),
      seed,
      settings,
      answers: eachLane(plans, blank),
    };
    this.done.push(exchange);
    this.changed({ kind: "asked", exchange });

    const answer = (lane: LaneIndex) =>
      this.answer(exchange, lane, requestOf(before, exchange, lane), talker, stopper);
    if (together) {
      await Promise.all(order.map(answer));
    } else {
      for (const lane of order) await answer(lane);
    }
    this.stopper = null;
    this.changed({ kind: "settled", exchange });
  }

  private async answer(
    exchange: Exchange,
    lane: LaneIndex,
    request: TurnRequest,
    talker: Talker,
    stopper: AbortController,
  ): Promise<void> {
    const answer = exchange.answers.at(lane);
    if (answer === undefined) return;
    if (!stopper.signal.aborted) {
      answer.state = "running";
      this.changed({ kind: "began", exchange, lane, answer });
      try {
        for await (const event of talker.turn(answer.plan, request, stopper.signal)) {
          const text = take(answer, event);
          this.changed({ kind: "text", exchange, lane, answer, text });
        }
      } catch (thrown) {
        const error = toErrorShape(thrown);
        if (error.name !== "Aborted") {
          answer.finish = "failed";
          answer.error = error;
        }
        // The other lane lives on the same device.
        if (needsReload(error.name)) stopper.abort();
      }
    }
    answer.state = "done";
    answer.finish ??= "stopped";
    this.changed({ kind: "ended", exchange, lane, answer });
  }
}

/** Something made of what each lane has. */
export function eachLane<T, U>(all: PerLane<T>, make: (of: T, lane: LaneIndex) => U): PerLane<U> {
  const [first, second, third] = all;
  const pair = [make(first, 0), make(second, 1)] as const;
  return third === undefined ? pair : [...pair, make(third, 2)];
}

/** What a lane was asked: the question after its own answers so far, or after the first lane's. One that joined late has heard what
 * the first said until then. */
export function requestOf(
  before: readonly Exchange[],
  { question, settings, seed }: Exchange,
  lane: LaneIndex,
): TurnRequest {
  const system: Message[] =
    settings.system.trim() === "" ? [] : [{ role: "system", content: settings.system }];
  const source: LaneIndex = settings.sharedHistory ? 0 : lane;
  const said = before.flatMap((exchange): Message[] => {
    const { text } = exchange.answers.at(source) ?? exchange.answers[0];
    // A turn that never got a word in would teach the model to be silent.
    if (text === "") return [];
    return [
      { role: "user", content: exchange.question },
      { role: "assistant", content: text },
    ];
  });
  return {
    messages: [...system, ...said, { role: "user", content: question }],
    sampling: { ...settings.sampling, seed },
    maxTokens: settings.maxTokens,
    stop: settings.stop,
  };
}

export type Comparison =
  /** `muted`: some of the layers run in part. */
  | { kind: "ratio"; ratio: number; layersKept: number; layers: number; muted: boolean }
  | { kind: "together" }
  | { kind: "hidden" }
  | { kind: "too-short" };

// Below this a decode speed is mostly its first batch.
const TOKENS_TO_COMPARE = 8;

/** How fast the second lane decoded beside the first; null while an answer is missing. */
export function compare(exchange: Exchange): Comparison | null {
  const [full, half] = exchange.answers;
  if (full.stats === null || half.stats === null) return null;
  if (full.state !== "done" || half.state !== "done") return null;
  if (full.finish === "failed" || half.finish === "failed") return null;
  if (exchange.together) return { kind: "together" };
  if (exchange.hidden) return { kind: "hidden" };
  const measured = ({ generatedTokens, decodeTokensPerSecond }: LaneStats) =>
    generatedTokens >= TOKENS_TO_COMPARE && decodeTokensPerSecond > 0;
  if (!measured(full.stats) || !measured(half.stats)) return { kind: "too-short" };
  return {
    kind: "ratio",
    ratio: half.stats.decodeTokensPerSecond / full.stats.decodeTokensPerSecond,
    layersKept: half.plan.layers.length,
    layers: full.plan.layers.length,
    muted: isMuted(half.plan),
  };
}

// Made when it is first needed: the widget's page may never replay anything.
let letters: Intl.Segmenter | undefined;

/** Replay: the text of an answer as it stood `ms` after its turn began, at the measured pace. */
export function textAt(answer: { pieces: readonly Piece[] }, ms: number): string {
  let text = "";
  for (const piece of answer.pieces) {
    const made = piece.timesMs.filter((timeMs) => timeMs <= ms).length;
    if (made === piece.timesMs.length) {
      text += piece.text;
      continue;
    }
    // The engine hands over several tokens as one text; their characters are spread over them.
    letters ??= new Intl.Segmenter();
    const characters = [...letters.segment(piece.text)].map(({ segment }) => segment);
    text += characters
      .slice(0, Math.floor((characters.length * made) / piece.timesMs.length))
      .join("");
    break;
  }
  return text;
}

/** How long the replay of an exchange takes: until its slower lane is done. */
export function replayMs(exchange: { answers: readonly { pieces: readonly Piece[] }[] }): number {
  const ends = exchange.answers.map((answer) => answer.pieces.at(-1)?.timesMs.at(-1) ?? 0);
  return Math.max(...ends);
}

export interface ChosenPlans {
  first: PlanInfo;
  second: PlanInfo;
  /** Null where no third lane was asked for. */
  third: PlanInfo | null;
  /** What any lane may run. */
  choices: readonly PlanInfo[];
  /** Names that were asked for and that the pack lacks. */
  unknown: readonly string[];
}

/** The first lane runs the plan that was asked for first, else all layers; the second the one that was asked for second, else,
 * healed ones before the others, the one with the least measured loss, else the first of the others. */
export function choosePlans(
  plans: readonly PlanInfo[],
  asked: readonly string[] = [],
): ChosenPlans | null {
  const named = (name: string | undefined) => plans.find((plan) => plan.name === name);
  const [full] = [...plans].sort((a, b) => b.layers.length - a.layers.length);
  const first = named(asked[0]) ?? full;
  if (first === undefined) return null;
  const others = plans.filter((plan) => plan !== first);
  const unhealed = (plan: PlanInfo) => (plan.replaced.length === 0 ? 1 : 0);
  const loss = (plan: PlanInfo) => plan.crossEntropy ?? Infinity;
  const ranked = others
    .filter((plan) => plan !== full)
    .sort((a, b) => unhealed(a) - unhealed(b) || (loss(a) === loss(b) ? 0 : loss(a) - loss(b)));
  const unknown = asked.filter((name) => named(name) === undefined);
  const third = named(asked[2]);
  // What was asked for as the third is left to it.
  const free = ranked.filter((plan) => plan !== third);
  const second =
    others.find((plan) => plan.name === asked[1]) ?? free[0] ?? ranked[0] ?? others[0] ?? first;
  const isNew = third !== undefined && third !== first && third !== second;
  // A pack with one plan compares it with itself: dull, but true.
  return { first, second, third: isNew ? third : null, choices: plans, unknown };
}

/** The plans that a third lane may run beside two others: healed ones first, they are what it is for. */
export function thirdPlans(all: readonly PlanInfo[], taken: readonly RunPlan[]): PlanInfo[] {
  return all
    .filter(({ name }) => !taken.slice(0, 2).some((plan) => plan.name === name))
    .sort((a, b) => b.replaced.length - a.replaced.length);
}

/** Before its lane has begun. */
export function blank(plan: RunPlan): Answer {
  return {
    plan,
    state: "waiting",
    finish: null,
    text: "",
    tokens: [],
    pieces: [],
    started: null,
    stats: null,
    error: null,
  };
}

/** Adds what arrived to an answer; gives the new text. */
export function take(answer: Answer, event: TurnEvent): string {
  if (event.kind === "started") {
    answer.started = event.started;
    return "";
  }
  const { text, tokens, tokenTimesMs, finish, stats } = event.step;
  answer.text += text;
  answer.tokens.push(...tokens);
  answer.pieces.push({ text, timesMs: tokenTimesMs });
  answer.stats = stats;
  answer.finish = finish;
  return text;
}
