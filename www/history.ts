// The conversation with a pack, kept in this browser from one visit to the next: one per pack, under its manifest's address.
// What was kept is read as hostile input: another version of the page may have written it.
import { createStore, del, get, set, type UseStore } from "idb-keyval";
import * as v from "valibot";
import { errorNames } from "./protocol";
import type { Exchange } from "./turns";

const VERSION = 1;

export interface Kept {
  exchanges: Exchange[];
  /** Layers of the whole model: lanes are named before it is open again. */
  layers: number;
}

/** Somewhere to keep values; IndexedDB here. Every method may fail: private windows, full disks, denied storage. */
export interface Keeper {
  get(key: string): Promise<unknown>;
  set(key: string, value: unknown): Promise<void>;
  del(key: string): Promise<void>;
}

export function indexedDbKeeper(): Keeper {
  // Opened at the first use: where storage is denied this throws, and the use fails.
  let opened: UseStore | undefined;
  const store = () => (opened ??= createStore("halfdepth", "conversations"));
  return {
    get: async (key) => get<unknown>(key, store()),
    set: async (key, value) => set(key, value, store()),
    del: async (key) => del(key, store()),
  };
}

/** A conversation that has been kept; null for anything else. */
export function readKept(value: unknown): Kept | null {
  const kept = v.safeParse(KEPT, value);
  return kept.success && kept.output.exchanges.length > 0 ? kept.output : null;
}

export class History {
  private last: Promise<boolean> = Promise.resolve(true);

  constructor(
    private readonly keeper: Keeper,
    private readonly key: string,
  ) {}

  /** What an earlier visit left; null where that is nothing, or nothing that can be read. */
  async recall(): Promise<Kept | null> {
    try {
      return readKept(await this.keeper.get(this.key));
    } catch {
      return null;
    }
  }

  /** Keeps the conversation as it stands; an empty one is forgotten. False where the browser keeps nothing (more). */
  keep({
    exchanges,
    layers,
  }: Readonly<{ exchanges: readonly Exchange[]; layers: number }>): Promise<boolean> {
    // As it is now: it grows in place, and an earlier write may still be under way.
    const value =
      exchanges.length === 0 ? null : structuredClone({ version: VERSION, exchanges, layers });
    const write = () =>
      value === null ? this.keeper.del(this.key) : this.keeper.set(this.key, value);
    this.last = this.last.then(write).then(
      () => true,
      () => false,
    );
    return this.last;
  }
}

const amount = v.pipe(v.number(), v.finite());
const index = v.pipe(v.number(), v.integer(), v.minValue(0));

// What an earlier page did not know of a plan is left open, so that its conversations are still read.
const PLAN = v.object({
  name: v.string(),
  title: v.string(),
  layers: v.array(index),
  replaced: v.optional(v.array(index), []),
  crossEntropy: v.optional(v.nullable(amount), null),
  figures: v.optional(
    v.array(
      v.nullable(
        v.object({
          crossEntropy: amount,
          agreement: v.nullable(amount),
          kl: v.nullable(amount),
        }),
      ),
    ),
    [],
  ),
  // 0: nobody knows, and nothing is reckoned from it.
  weightBytesPerToken: v.optional(amount, 0),
  change: v.exactOptional(
    v.object({ layers: v.array(index), muteAttention: v.array(index), muteMlp: v.array(index) }),
  ),
});

const ANSWER = v.pipe(
  v.object({
    plan: PLAN,
    state: v.picklist(["waiting", "running", "done"]),
    finish: v.nullable(
      v.picklist(["end-token", "stop-string", "max-tokens", "context-full", "stopped", "failed"]),
    ),
    text: v.string(),
    tokens: v.array(index),
    pieces: v.array(v.object({ text: v.string(), timesMs: v.array(amount) })),
    started: v.nullable(
      v.object({ promptTokens: index, reusedTokens: index, contextLeft: amount }),
    ),
    stats: v.nullable(
      v.object({
        promptTokens: index,
        reusedTokens: index,
        generatedTokens: index,
        prefillMs: amount,
        timeToFirstTokenMs: amount,
        decodeMs: amount,
        prefillTokensPerSecond: amount,
        decodeTokensPerSecond: amount,
      }),
    ),
    error: v.nullable(v.object({ name: v.picklist(errorNames), message: v.string() })),
  }),
  // The page was left while the lane wrote: nobody goes on with it.
  v.transform((answer) =>
    answer.state === "done"
      ? answer
      : { ...answer, state: "done" as const, finish: answer.finish ?? ("stopped" as const) },
  ),
);

const SETTINGS = v.object({
  system: v.string(),
  sampling: v.object({
    temperature: amount,
    topK: index,
    topP: amount,
    minP: amount,
    repetitionPenalty: amount,
    seed: index,
  }),
  maxTokens: index,
  stop: v.array(v.string()),
  sharedHistory: v.boolean(),
  together: v.boolean(),
});

const lane = v.picklist([0, 1, 2]);

const KEPT = v.object({
  version: v.literal(VERSION),
  layers: v.pipe(index, v.minValue(1)),
  exchanges: v.array(
    v.pipe(
      v.object({
        question: v.string(),
        order: v.array(lane),
        together: v.boolean(),
        hidden: v.optional(v.boolean(), false),
        seed: index,
        settings: SETTINGS,
        answers: v.union([
          v.strictTuple([ANSWER, ANSWER]),
          v.strictTuple([ANSWER, ANSWER, ANSWER]),
        ]),
      }),
      v.check(({ order, answers }) => [...order].sort().join() === [...answers.keys()].join()),
    ),
  ),
});
