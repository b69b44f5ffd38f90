// A stand-in for a loaded pack: counts words as tokens, writes down what it was asked, answers what it was told to.
import type { LaneStats, TurnRequest } from "../../www/engine";
import { aborted, HalfdepthError, type Opened, type TurnEvent } from "../../www/protocol";
import type { Borrowed } from "../../www/library/engine";
import { FULL, HALF, STATS } from "./exchanges";

export const OPENED: Opened = {
  adapter: { vendor: "v", architecture: "a", device: "d", description: "", fallback: false },
  pack: {
    ...{ name: "scripted", source: "a test", licence: null, layers: 4, hiddenSize: 8 },
    ...{ vocabSize: 16, context: 32, parameters: 99, tiedHead: true, cacheBytesPerPosition: 64 },
    ...{ plans: [FULL, HALF], evaluation: [], files: [], chat: true },
  },
  bytes: 100,
  storedBytes: 0,
};

export class ScriptedPack implements Borrowed {
  readonly opened = OPENED;
  readonly asked: { plan: string; request: TurnRequest }[] = [];
  /** Longer prompts, in words, are refused. */
  context = Infinity;
  /** Answers only once this has happened, or when it is stopped. */
  may: Promise<unknown> = Promise.resolve();
  isReleased = false;

  async *turn(plan: string, request: TurnRequest, signal: AbortSignal): AsyncGenerator<TurnEvent> {
    this.asked.push({ plan, request: structuredClone(request) });
    const messages = request.messages ?? [];
    const promptTokens = words(messages.map(({ content }) => content).join(" "));
    if (promptTokens > this.context) throw new HalfdepthError("ContextFull", "Too long.");
    yield { kind: "started", started: { promptTokens, reusedTokens: 1, contextLeft: 5 } };
    const stats: LaneStats = { ...STATS, promptTokens, reusedTokens: 1, generatedTokens: 2 };
    const step = { tokens: [1], drafted: [], stats, tokenTimesMs: [1], cpuMs: 1 };
    yield { kind: "step", step: { ...step, text: `${plan} `, finish: null } };
    if (!signal.aborted) {
      await Promise.race([this.may, new Promise((resolve) => (signal.onabort = resolve))]);
    }
    if (signal.aborted) throw aborted();
    const text = `answer ${this.asked.length}`;
    yield { kind: "step", step: { ...step, text, finish: "end-token" } };
  }

  tokenize(text: string): Promise<number[]> {
    return Promise.resolve(Array.from({ length: words(text) }, (_, nth) => nth));
  }

  release(): void {
    this.isReleased = true;
  }
}

function words(text: string): number {
  return text.split(" ").filter((word) => word !== "").length;
}
