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
}
export interface Step {
  tokens: number[];
  text: string;
  finish: Finish | null;
  stats: LaneStats;
  /* ms since the turn began, per token of this step */ tokenTimesMs: number[];
  /* ms that the worker itself spent inside step, waiting for the device left out */ cpuMs: number;
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
  memory(): Memory;
  /** How fast the device reads this many bytes, or as many as it can bind at once. Takes about two seconds. */
  readBandwidth(bytes: number): Promise<ReadBandwidth>;
  free(): void;
}
/** Fetches and compiles the wasm; once, before anything else. Without an argument it finds the file beside the script. */
export default function init(): Promise<unknown>;
