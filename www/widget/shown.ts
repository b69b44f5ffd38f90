// What the widget shows of a comparison, recorded or live, and how its two halves (the facade and what it loads) speak.
import type { Piece } from "../turns";

export interface ShownLane {
  /** The layers that run, counted from 0. */
  kept: readonly number[];
  isHealed: boolean;
  text: string;
  /** The text as markup, where it is markdown: made by www/markdown.ts. */
  nodes?: DocumentFragment | undefined;
  pieces: readonly Piece[];
  tokensPerSecond: number | null;
  state: "waiting" | "reading" | "writing" | "done";
  /** Why it ended, where that needs a word. */
  note: string | null;
}

export interface Shown {
  question: string;
  /** Of the whole model. */
  layers: number;
  lanes: readonly [ShownLane, ShownLane];
  /** How the lanes compare, in a sentence or two. */
  verdict: string | null;
}

export interface Question {
  prompt: string;
  maxTokens: number;
  temperature: number;
  seed: number;
}

/** What is to be loaded, and who listens. */
export interface LanesRequest {
  manifestUrl: string;
  plans: readonly string[];
  signal: AbortSignal;
  onProgress: (progress: ProgressDetail, words: string) => void;
  onShown: (shown: Shown) => void;
  /** Whole sentences, for the screen reader. */
  onSpoken: (sentences: readonly string[]) => void;
  onToken: (token: TokenDetail) => void;
}

export interface Lanes {
  readonly loaded: LoadDetail;
  readonly running: boolean;
  /** The engine is gone: only loading again helps. */
  readonly lost: boolean;
  /** Ends when both have answered or were stopped. */
  ask(question: Question): Promise<DoneDetail>;
  stop(): void;
  /** Gives the engine back: the last widget on the page frees the GPU. */
  close(): void;
}

export interface LoadDetail {
  /** The pack's name, as it says itself: hostile text. */
  model: string;
  plans: readonly [string, string];
  /** Of the model; how many of them were stored in this browser already. */
  bytes: number;
  storedBytes: number;
}

export interface ProgressDetail {
  loaded: number;
  total: number;
}

export interface TokenDetail {
  lane: 0 | 1;
  plan: string;
  /** New text; a batch of tokens comes at once. */
  text: string;
  tokens: readonly number[];
}

export interface DoneDetail {
  prompt: string;
  answers: readonly [AnswerDetail, AnswerDetail];
}

export interface AnswerDetail {
  plan: string;
  text: string;
  tokens: readonly number[];
  finish: string;
  tokensPerSecond: number | null;
}

export interface ErrorDetail {
  name: string;
  message: string;
}
