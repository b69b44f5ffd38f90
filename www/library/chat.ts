// `chat.completions.create` as OpenAI's clients have it, over the plans of a pack. Thin: what is not listed here is refused, not ignored.
import type { Finish, LaneStats } from "../engine";
import { HalfdepthError } from "../protocol";
import { strings } from "../strings";
import { answer, failure, type Answer } from "./answer";
import type { Borrowed } from "./engine";
import { readMessages, readSampling, type Asked, type MessageInput } from "./request";

export interface ChatCompletionRequest {
  /** The name of a plan: "full", say. */
  model: string;
  messages: readonly MessageInput[];
  stream?: boolean | null | undefined;
  stream_options?: { include_usage?: boolean } | null | undefined;
  /** Greedy where nothing is said. */
  temperature?: number | null | undefined;
  top_p?: number | null | undefined;
  max_tokens?: number | null | undefined;
  max_completion_tokens?: number | null | undefined;
  seed?: number | null | undefined;
  stop?: string | readonly string[] | null | undefined;
  n?: 1 | null | undefined;
}

export interface RequestOptions {
  signal?: AbortSignal | undefined;
}

export type FinishReason = "stop" | "length";

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
}

export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number; // seconds since 1970
  model: string;
  choices: [
    {
      index: 0;
      message: { role: "assistant"; content: string; refusal: null };
      finish_reason: FinishReason;
      logprobs: null;
    },
  ];
  usage: Usage;
}

export interface ChatCompletionChunk {
  id: string;
  object: "chat.completion.chunk";
  created: number; // seconds since 1970
  model: string;
  choices: {
    index: 0;
    delta: { role?: "assistant"; content?: string };
    finish_reason: FinishReason | null;
    logprobs: null;
  }[];
  usage?: Usage | null;
}

/** Chunks as they come. To leave the loop, or to abort the controller, is to stop the answer. */
export interface ChatStream extends AsyncIterable<ChatCompletionChunk> {
  readonly controller: AbortController;
  toReadableStream(): ReadableStream<ChatCompletionChunk>;
}

export interface Completions {
  create(
    request: ChatCompletionRequest & { stream: true },
    options?: RequestOptions,
  ): Promise<ChatStream>;
  create(
    request: ChatCompletionRequest & { stream?: false | null | undefined },
    options?: RequestOptions,
  ): Promise<ChatCompletion>;
  create(
    request: ChatCompletionRequest,
    options?: RequestOptions,
  ): Promise<ChatCompletion | ChatStream>;
}

const KNOWN: ReadonlySet<string> = new Set<keyof ChatCompletionRequest>([
  "model",
  "messages",
  "stream",
  "stream_options",
  "temperature",
  "top_p",
  "max_tokens",
  "max_completion_tokens",
  "seed",
  "stop",
  "n",
]);

/** What completions stand on. */
export interface CompletionsParts {
  /** Throws once the model was given back. */
  borrowed: () => Borrowed;
  plans: readonly string[];
  contextWindow: number;
}

export function completions({ borrowed, plans, contextWindow }: CompletionsParts): Completions {
  const create = async (request: ChatCompletionRequest, { signal }: RequestOptions = {}) => {
    signal?.throwIfAborted();
    const asked = readRequest(request, plans, contextWindow);
    const head = { id: `chatcmpl-${id()}`, created: Math.floor(Date.now() / 1000) };
    const controller = new AbortController();
    const either = AbortSignal.any([controller.signal, ...(signal === undefined ? [] : [signal])]);
    const model = request.model;
    const ask = (said: (text: string) => void) =>
      answer(
        borrowed(),
        model,
        { messages: readMessages(request.messages), ...asked },
        either,
        said,
      );
    if (request.stream !== true) {
      try {
        return whole(await ask(() => undefined), { ...head, model });
      } catch (thrown) {
        throw failure(thrown, either);
      }
    }
    const wantsUsage = request.stream_options?.include_usage === true;
    return stream(ask, { ...head, model }, controller, either, wantsUsage);
  };
  return { create } as Completions;
}

type Head = Pick<ChatCompletion, "id" | "created" | "model">;

function whole({ text, finish, stats }: Answer, head: Head): ChatCompletion {
  return {
    ...head,
    object: "chat.completion",
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: text, refusal: null },
        finish_reason: reason(finish),
        logprobs: null,
      },
    ],
    usage: usage(stats),
  };
}

function stream(
  ask: (said: (text: string) => void) => Promise<Answer>,
  head: Head,
  controller: AbortController,
  signal: AbortSignal,
  wantsUsage: boolean,
): ChatStream {
  const chunk = (
    delta: { role?: "assistant"; content?: string },
    finish: FinishReason | null = null,
  ): ChatCompletionChunk => ({
    ...head,
    object: "chat.completion.chunk",
    choices: [{ index: 0, delta, finish_reason: finish, logprobs: null }],
    ...(wantsUsage ? { usage: null } : {}),
  });
  const readable = new ReadableStream<ChatCompletionChunk>({
    start: (to) => {
      to.enqueue(chunk({ role: "assistant", content: "" }));
      ask((content) => {
        // After a cancel nobody takes what is still on its way.
        if (!controller.signal.aborted) to.enqueue(chunk({ content }));
      }).then(
        ({ finish, stats }) => {
          if (controller.signal.aborted) return;
          to.enqueue(chunk({}, reason(finish)));
          if (wantsUsage) to.enqueue({ ...chunk({}), choices: [], usage: usage(stats) });
          to.close();
        },
        (thrown: unknown) => {
          to.error(failure(thrown, signal));
        },
      );
    },
    cancel: () => {
      controller.abort();
    },
  });
  return {
    controller,
    toReadableStream: () => readable,
    [Symbol.asyncIterator]: () => readable[Symbol.asyncIterator](),
  };
}

function readRequest(
  request: ChatCompletionRequest,
  plans: readonly string[],
  longest: number,
): Asked {
  const words = strings.library;
  const refuse = (message: string) => new HalfdepthError("InvalidRequest", message);
  const given = Object.entries(request).filter(
    ([, value]) => value !== undefined && value !== null,
  );
  const unknown = given.map(([name]) => name).filter((name) => !KNOWN.has(name));
  if (unknown.length > 0) throw refuse(words.unsupported(unknown));
  // Types vanish at run time.
  if (![undefined, null, 1].includes(request.n)) throw refuse(words.field("n", words.one));
  if (!plans.includes(request.model)) throw refuse(words.noPlan(request.model, plans));
  return readSampling(
    {
      temperature: request.temperature ?? undefined,
      topP: request.top_p ?? undefined,
      seed: request.seed ?? undefined,
      maxTokens: request.max_completion_tokens ?? request.max_tokens ?? undefined,
      stop: request.stop ?? undefined,
    },
    longest,
  );
}

function reason(finish: Finish): FinishReason {
  return finish === "max-tokens" || finish === "context-full" ? "length" : "stop";
}

function usage(stats: LaneStats): Usage {
  return {
    prompt_tokens: stats.promptTokens,
    completion_tokens: stats.generatedTokens,
    total_tokens: stats.promptTokens + stats.generatedTokens,
    prompt_tokens_details: { cached_tokens: stats.reusedTokens },
  };
}

function id(): string {
  // Not randomUUID, which only secure pages have.
  return [...crypto.getRandomValues(new Uint8Array(12))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}
