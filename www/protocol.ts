// What the page and its worker say to each other; the only file both sides share.
// The page calls a method under a number of its own; the worker answers with any number of events and then with one
// result or one error under the same number. `abort` names the call to end; the worker still answers it, with "Aborted".
import type {
  Adapter,
  Compared,
  DepthReading,
  FileRole,
  Memory,
  PackInfo,
  PlanChange,
  PromptRequest,
  ReadBandwidth,
  SamplesRequest,
  Step,
  TurnRequest,
  TurnStarted,
} from "./engine";

/** Each method: what it takes, what it emits while it works, what it gives in the end. */
export interface Methods {
  /** Starts the engine, reads the manifest and asks for a device. Nothing heavy is downloaded yet. */
  open: { takes: { manifestUrl: string }; emits: LoadStage; gives: Opened };
  /** Downloads, verifies and uploads every file of the opened pack. */
  load: { takes: null; emits: LoadStage; gives: Memory };
  /** Prepares a lane that runs the layers of a plan, also while files arrive. Lanes live until the worker ends. */
  addLane: { takes: { plan: string }; emits: never; gives: LaneAdded };
  /** Answers one question on a lane. */
  turn: { takes: { lane: number; request: TurnRequest }; emits: TurnEvent; gives: null };
  /** Measures how fast the device reads; no turn runs meanwhile. */
  readBandwidth: { takes: { bytes: number }; emits: never; gives: ReadBandwidth };
  /** Other layers on a lane from its next turn on. */
  setPlan: { takes: { lane: number; change: PlanChange }; emits: never; gives: Memory };
  /** The ids of a text, without special tokens. */
  tokenize: { takes: { text: string }; emits: never; gives: number[] };
  /** What two lanes predict at every token of an answer. */
  compare: { takes: CompareRequest; emits: never; gives: Compared[] };
  /** Nats a token of one window of a text. */
  loss: { takes: LaneIds; emits: never; gives: number };
  /** The runs of a text that a scan reads. */
  samples: { takes: SamplesRequest & { ids: number[] }; emits: never; gives: number[][] };
  /** How far each block of a lane's layers turns the residual stream of the last of these tokens. */
  angles: { takes: LaneIds; emits: never; gives: number[][] };
  /** What a lane would say after a prompt and the beginning of an answer, at every depth. */
  lens: { takes: LensRequest; emits: never; gives: DepthReading[] };
}

export interface LaneIds {
  lane: number;
  ids: number[];
}

export interface CompareRequest {
  reference: number;
  lane: number;
  prompt: PromptRequest;
  answer: number[];
}

export interface LensRequest {
  lane: number;
  prompt: PromptRequest;
  answer: number[];
  /** How many of the likeliest tokens of each depth. */
  top: number;
}

export type Method = keyof Methods;

export interface Opened {
  adapter: Adapter;
  pack: PackInfo;
  /** Bytes of the pack's files, and how many of them are stored here already. */
  bytes: number;
  storedBytes: number;
}

export interface LaneAdded {
  lane: number;
  memory: Memory;
}

export type LoadStage =
  | { stage: "engine" }
  | { stage: "manifest" }
  | { stage: "device" }
  | { stage: "files"; progress: FilesProgress };

export interface FilesProgress {
  /** What the file at hand holds, as the pack says it. */
  role: FileRole;
  layer: number | null;
  /** Files that are in, of all. */
  filesDone: number;
  files: number;
  /** Bytes that are in, of all; files stored here earlier count. */
  bytesDone: number;
  bytes: number;
  /** True while a dropped connection is being picked up again. */
  retrying: boolean;
}

export type TurnEvent = { kind: "started"; started: TurnStarted } | { kind: "step"; step: Step };

export type Call = {
  [M in Method]: { kind: "call"; id: number; method: M; params: Methods[M]["takes"] };
}[Method];

export type ToWorker = Call | { kind: "abort"; id: number };

export type FromWorker =
  | { kind: "event"; id: number; event: LoadStage | TurnEvent }
  | { kind: "result"; id: number; value: Methods[Method]["gives"] }
  | { kind: "error"; id: number; error: ErrorShape };

/** The names the engine throws, then the ones the page adds. */
export const errorNames = [
  "WebGpuUnavailable",
  "PackError",
  "DeviceLost",
  "SelfTestFailed",
  "ContextFull",
  "InvalidRequest",
  "EngineError",
  "DownloadError",
  "InvalidAddress",
  "Aborted",
] as const;

export type ErrorName = (typeof errorNames)[number];

/** An error as it crosses the boundary: structured clone keeps no subclass and, in some browsers, no name. */
export interface ErrorShape {
  name: ErrorName;
  message: string;
}

export class HalfdepthError extends Error {
  override readonly name: ErrorName;

  constructor(name: ErrorName, message: string) {
    super(message);
    this.name = name;
  }
}

export function aborted(): HalfdepthError {
  return new HalfdepthError("Aborted", "Stopped.");
}

/** Whatever was thrown, as an error with one of our names; a name nobody knows (a wasm trap, say) is the engine's. */
export function toErrorShape(thrown: unknown): ErrorShape {
  if (!(thrown instanceof Error)) return { name: "EngineError", message: String(thrown) };
  if (thrown.name === "AbortError") return { name: "Aborted", message: "Stopped." };
  const name = errorNames.find((known) => known === thrown.name);
  if (name !== undefined) return { name, message: thrown.message };
  return { name: "EngineError", message: `${thrown.name}: ${thrown.message}` };
}

/** Whether the lanes are gone and only loading the model again helps. */
export function needsReload(name: ErrorName): boolean {
  return name === "DeviceLost" || name === "EngineError" || name === "SelfTestFailed";
}
