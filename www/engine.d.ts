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
  crossEntropy: number | null;
}
export interface FileInfo {
  file: string;
  bytes: number;
  sha256: string;
  role: "tokenizer" | "embedding" | "head" | "layer";
  layer: number | null;
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
  plans: PlanInfo[];
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
  messages: Message[];
  sampling: Sampling;
  maxTokens: number;
  stop: string[];
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
}
export interface Memory {
  weightBytes: number /* shared by every lane */;
  laneBytes: number[]; /* cache + workspace of each lane */
  wasmBytes: number /* the engine's own memory, which never shrinks */;
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
  /** Throws "InvalidRequest" until the files that the lane's plan runs on are in. */
  startTurn(lane: number, request: TurnRequest): Promise<TurnStarted>;
  step(lane: number): Promise<Step>;
  memory(): Memory;
  free(): void;
}
/** Fetches and compiles the wasm; once, before anything else. Without an argument it finds the file beside the script. */
export default function init(): Promise<unknown>;
