// What crates/wasm exports after wasm-bindgen (`--target web`): default init(module_or_path) + these. Lead's side.
// Errors are thrown as Error with .name one of "WebGpuUnavailable" | "PackError" | "DeviceLost" | "SelfTestFailed" | "ContextFull" | "InvalidRequest" | "EngineError",
// .message: what, where and what to do.
export interface Adapter {
  vendor: string;
  architecture: string;
  device: string;
  description: string;
  fallback: boolean;
}
export interface PlanInfo {
  name: string;
  title: string;
  layers: number[];
  replaced: number[] /* of these, layers that run in weights of their own: a healed plan's */;
  crossEntropy: number | null /* nats a token on the first text of PackInfo.evaluation */;
  figures: (PlanFigures | null)[] /* on each text of PackInfo.evaluation */;
  weightBytesPerToken: number /* weights that a lane reads for a token */;
}
export interface PlanFigures {
  crossEntropy: number /* nats a token */;
  agreement: number | null /* share of predictions whose likeliest token is full depth's */;
  kl: number | null /* nats a token, from full depth */;
}
export interface EvaluationText {
  text: string;
  tokens: number;
  protocol: string;
}
export type FileRole =
  "tokenizer" | "embedding" | "head" | "layer" | "replacement" | "replaced-head";
export interface FileInfo {
  file: string;
  bytes: number;
  sha256: string;
  role: FileRole;
  layer: number | null /* that it is, or stands in for */;
}
export interface PackInfo {
  name: string;
  source: string;
  licence: string | null;
  layers: number;
  hiddenSize: number;
  vocabSize: number;
  context: number;
  parameters: number;
  tiedHead: boolean /* the head is the embedding */;
  cacheBytesPerPosition: number /* keys and values of one position in one layer */;
  plans: PlanInfo[];
  evaluation: EvaluationText[];
  files: FileInfo[];
  chat: boolean; /* has a chat template */
}
export interface Message {
  role: "system" | "user" | "assistant";
  content: string;
}
export interface Sampling {
  temperature: number /* 0 = greedy */;
  topK: number /* 0 = off */;
  topP: number /* 1 = off */;
  minP: number /* 0 = off */;
  repetitionPenalty: number /* 1 = off */;
  seed: number;
}
export interface TurnRequest {
  /** The conversation. Or, instead of it, `ids`: the prompt as the model is to read it. */
  messages?: Message[];
  ids?: number[];
  sampling: Sampling;
  maxTokens: number;
  stop: string[];
  /** Goes on past end tokens. For measuring. */
  ignoreEnd?: boolean;
  /** The lane that drafts the answer, as long as that is quicker, or always. The text stays the same. */
  draft?: { lane: number; always?: boolean };
}
export interface TurnStarted {
  promptTokens: number;
  reusedTokens: number;
  contextLeft: number;
}
export type Finish = "end-token" | "stop-string" | "max-tokens" | "context-full";
export interface LaneStats {
  promptTokens: number;
  reusedTokens: number;
  generatedTokens: number;
  prefillMs: number;
  timeToFirstTokenMs: number;
  decodeMs: number;
  prefillTokensPerSecond: number;
  decodeTokensPerSecond: number;
  speculation?: SpeculationStats | null /* where another lane drafts */;
}
export interface SpeculationStats {
  drafted: number /* tokens that the quick lane drafted */;
  accepted: number /* of these, tokens that the answering lane would have picked */;
  rounds: number /* passes that verified */;
  msPerToken: number /* while drafting; 0 before the first round */;
  plainMsPerToken: number /* without; 0 where it was not measured */;
  on: boolean /* false once drafting was given up because it did not pay */;
}
export interface Step {
  tokens: number[];
  drafted: boolean[] /* by token, whether another lane drafted it; empty where none does */;
  text: string;
  finish: Finish | null;
  stats: LaneStats;
  /* ms since the turn began, per token of this step */ tokenTimesMs: number[];
  /* ms that the worker itself spent inside step, waiting for the device left out */ cpuMs: number;
}
/** The layers that a lane runs, and which of their halves add nothing. */
export interface PlanChange {
  layers: number[];
  muteAttention: number[];
  muteMlp: number[];
}
/** A conversation, or token ids as the model is to read them. */
export type PromptRequest = { messages: Message[] } | { ids: number[] };
export interface Said {
  id: number;
  text: string;
}
/** What two lanes predict at a token of an answer. */
export interface Compared {
  token: number /* the answer's */;
  expected: Said /* what the reference holds likeliest */;
  found: Said /* what the other lane does */;
  agrees: boolean;
  kl: number /* nats, of the other lane from the reference */;
}
export interface SamplesRequest {
  samples: number;
  tokens: number /* of each sample */;
  seed: number;
}
/** What a lane would say, were it to end at one depth. */
export interface DepthReading {
  top: { id: number; text: string; probability: number }[];
  probability: number /* of the token that the whole plan chooses */;
  rank: number /* of that token: 1 where this depth chooses it too */;
  kl: number /* nats, from the whole plan */;
}
export interface Memory {
  weightBytes: number /* shared by every lane */;
  laneBytes: number[]; /* cache + workspace of each lane */
  wasmBytes: number /* the engine's own memory, which never shrinks */;
}
export interface ReadBandwidth {
  bytesPerSecond: number;
  bufferBytes: number;
}
export interface TrialReport {
  over: boolean;
  variant: string;
  spentMs: number;
  measured: { variant: string; ms: number; prefill: boolean }[];
}
export class Engine {
  /** Parses and checks a manifest; asks for a WebGPU device. */
  static open(manifest: Uint8Array): Promise<Engine>;
  adapter(): Adapter;
  pack(): PackInfo;
  /** Takes a file's bytes from byte `at` on, in chunks of any size: verifies them (length, SHA-256, finite values) as they pass
   * and puts them on the device. Files in any order; byte 0 begins one anew. True once the file is in. What throws is not in:
   * the file is to come again from byte 0. */
  loadChunk(file: string, at: number, bytes: Uint8Array): boolean;
  /** A lane over the shared weights, which may still be on their way. Compiles and captures its graphs. */
  addLane(plan: string): Promise<number>;
  /** The kernels of the lanes to come. */
  variant(): string;
  /** Chooses them by a name that `variant` gave on an earlier visit; throws "InvalidRequest" for what is none, or is not for this
   * device. */
  useVariant(name: string): void;
  /** Times one more choice of kernels, in some tens of milliseconds, and uses the quickest so far. */
  tryVariant(): Promise<TrialReport>;
  /** Throws "InvalidRequest" until the files that the lane's plan runs on are in. */
  startTurn(lane: number, request: TurnRequest): Promise<TurnStarted>;
  step(lane: number): Promise<Step>;
  /** Other layers on a lane from now on. Nothing is loaded; what the lane has read is forgotten. */
  setPlan(lane: number, change: PlanChange): Promise<void>;
  /** The ids of a text, without special tokens. */
  tokenize(text: string): Uint32Array;
  /** What two lanes predict at every token of an answer to a prompt. */
  compare(
    reference: number,
    lane: number,
    prompt: PromptRequest,
    answer: Uint32Array,
  ): Promise<Compared[]>;
  /** Nats a token of one window of a text, after the begin token alone. */
  loss(lane: number, ids: Uint32Array): Promise<number>;
  /** The runs of a text that `halfdepth scan` reads. */
  samples(ids: Uint32Array, request: SamplesRequest): number[][];
  /** Angular distances, in units of pi, over every block of n layers: row n - 1 over the block's first layer. */
  angles(lane: number, ids: Uint32Array): Promise<number[][]>;
  /** What the lane would say after a prompt and the beginning of an answer: before its first layer, and after each. */
  lens(
    lane: number,
    prompt: PromptRequest,
    answer: Uint32Array,
    top: number,
  ): Promise<DepthReading[]>;
  memory(): Memory;
  /** How fast the device reads this many bytes, or as many as it can bind at once. Takes about two seconds. */
  readBandwidth(bytes: number): Promise<ReadBandwidth>;
  free(): void;
}
/** Fetches and compiles the wasm; once, before anything else. Without an argument it finds the file beside the script. */
export default function init(): Promise<unknown>;
