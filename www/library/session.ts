// A conversation with one plan of a pack, in the shape of the Prompt API's LanguageModel.
import type { LaneStats, Message } from "../engine";
import { strings } from "../strings";
import type { Borrowed } from "./engine";
import { answer, failure, type Answer } from "./answer";
import { readMessages, type Asked, type MessageInput } from "./request";

export type PromptInput = string | readonly MessageInput[];

export interface PromptOptions {
  signal?: AbortSignal | undefined;
}

export interface CloneOptions {
  signal?: AbortSignal | undefined;
}

/** What a session stands on. */
export interface SessionParts {
  borrowed: Borrowed;
  plan: string;
  contextWindow: number;
  asked: Asked;
}

export interface SessionEventMap {
  /** The oldest question and its answer were forgotten, so that the new one can be read. */
  contextoverflow: Event;
}

export class LanguageModelSession extends EventTarget {
  /** The plan whose layers answer. */
  readonly plan: string;
  /** Positions that a conversation may take. */
  readonly contextWindow: number;
  oncontextoverflow: ((event: Event) => unknown) | null = null;
  private readonly parts: SessionParts;
  private said: readonly Message[] = [];
  private usage = 0;
  private stats: LaneStats | null = null;
  /** Questions to one session are answered in their order. */
  private last: Promise<unknown> = Promise.resolve();
  private readonly life = new AbortController();

  /** Made by `Halfdepth.create`. */
  constructor(parts: SessionParts) {
    super();
    this.parts = parts;
    this.plan = parts.plan;
    this.contextWindow = parts.contextWindow;
  }

  /** Tokens of the conversation: exact after an answer, and an estimate after `append`, where the chat template's marks are left out. */
  get contextUsage(): number {
    return this.usage;
  }

  /** Counts and times of the last answer. */
  get lastStats(): LaneStats | null {
    return this.stats;
  }

  /** The conversation so far. */
  get history(): readonly Message[] {
    return this.said;
  }

  async prompt(input: PromptInput, options: PromptOptions = {}): Promise<string> {
    let text = "";
    for await (const chunk of this.promptStreaming(input, options)) text += chunk;
    return text;
  }

  /** Each chunk is new text. To cancel the stream is to stop the answer. */
  promptStreaming(input: PromptInput, options: PromptOptions = {}): ReadableStream<string> {
    const cancelled = new AbortController();
    const signal = this.signal(options.signal, cancelled.signal);
    return new ReadableStream<string>({
      start: (controller) => {
        const said = (text: string) => {
          // After a cancel nobody takes what is still on its way.
          if (!cancelled.signal.aborted) controller.enqueue(text);
        };
        const asked = this.inOrder(() => this.answer(input, signal, said), signal);
        asked.then(
          () => {
            if (!cancelled.signal.aborted) controller.close();
          },
          (thrown: unknown) => {
            controller.error(failure(thrown, signal));
          },
        );
      },
      cancel: () => {
        cancelled.abort();
      },
    });
  }

  /** Adds to the conversation without an answer. */
  async append(input: PromptInput, options: PromptOptions = {}): Promise<void> {
    const signal = this.signal(options.signal);
    await this.inOrder(async () => {
      const messages = this.read(input);
      const tokens = await this.count(messages);
      signal.throwIfAborted();
      if (this.usage + tokens >= this.contextWindow) throw quotaExceeded();
      this.said = [...this.said, ...messages];
      this.usage += tokens;
    }, signal);
  }

  /** Tokens that this would add, the chat template's marks left out. */
  measureContextUsage(input: PromptInput, options: PromptOptions = {}): Promise<number> {
    const signal = this.signal(options.signal);
    return this.inOrder(() => this.count(readMessages(input)), signal);
  }

  /** Another session that goes on from here, independently. */
  clone(options: CloneOptions = {}): Promise<LanguageModelSession> {
    const signal = this.signal(options.signal);
    return this.inOrder(() => {
      const twin = new LanguageModelSession(this.parts);
      twin.said = this.said;
      twin.usage = this.usage;
      return Promise.resolve(twin);
    }, signal);
  }

  /** Stops what runs and refuses what comes; the engine stays with the `Halfdepth` that made this. */
  destroy(): void {
    this.life.abort(new DOMException(strings.library.destroyed, "AbortError"));
  }

  [Symbol.dispose](): void {
    this.destroy();
  }

  override addEventListener<K extends keyof SessionEventMap>(
    type: K,
    listener: (event: SessionEventMap[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void {
    super.addEventListener(type, listener, options);
  }

  private signal(...signals: (AbortSignal | undefined)[]): AbortSignal {
    const given = signals.filter((signal) => signal !== undefined);
    return AbortSignal.any([this.life.signal, ...given]);
  }

  private inOrder<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const result = this.last.then(() => {
      signal.throwIfAborted();
      return work();
    });
    this.last = result.catch(() => undefined);
    return result;
  }

  private async answer(
    input: PromptInput,
    signal: AbortSignal,
    said: (text: string) => void,
  ): Promise<void> {
    const question = this.read(input);
    let before = this.said;
    for (;;) {
      const messages = [...before, ...question];
      const given = await this.ask(messages, signal, said);
      if (given === "too-long") {
        const shorter = withoutOldest(before);
        if (shorter === null) throw quotaExceeded();
        before = shorter;
        this.overflow();
        continue;
      }
      // Only a whole answer is remembered: one that was stopped leaves the session as it was.
      this.said = [...messages, { role: "assistant", content: given.text }];
      this.usage = given.stats.promptTokens + given.stats.generatedTokens;
      this.stats = given.stats;
      if (given.finish === "context-full") this.overflow();
      return;
    }
  }

  private async ask(
    messages: readonly Message[],
    signal: AbortSignal,
    said: (text: string) => void,
  ): Promise<Answer | "too-long"> {
    const { borrowed, plan, asked } = this.parts;
    try {
      return await answer(borrowed, plan, { messages: [...messages], ...asked }, signal, said);
    } catch (thrown) {
      if (thrown instanceof Error && thrown.name === "ContextFull") return "too-long";
      throw thrown;
    }
  }

  private read(input: PromptInput): Message[] {
    const messages = readMessages(input);
    const first = this.said.length === 0 ? 0 : -1;
    if (messages.some(({ role }, nth) => role === "system" && nth !== first)) {
      throw new TypeError(strings.library.systemFirst);
    }
    return messages;
  }

  private async count(messages: readonly Message[]): Promise<number> {
    const { borrowed } = this.parts;
    const counts = messages.map(async ({ content }) => (await borrowed.tokenize(content)).length);
    return (await Promise.all(counts)).reduce((sum, tokens) => sum + tokens, 0);
  }

  private overflow(): void {
    const event = new Event("contextoverflow");
    this.dispatchEvent(event);
    this.oncontextoverflow?.(event);
  }
}

/** The conversation without what was said first, up to the next question; the system prompt stays. Null where nothing can go. */
export function withoutOldest(said: readonly Message[]): Message[] | null {
  const system = said.filter(({ role }) => role === "system");
  const rest = said.slice(system.length);
  if (rest.length === 0) return null;
  const next = rest.findIndex(({ role }, nth) => nth > 0 && role === "user");
  return [...system, ...(next < 0 ? [] : rest.slice(next))];
}

function quotaExceeded(): DOMException {
  return new DOMException(strings.library.tooLong, "QuotaExceededError");
}
