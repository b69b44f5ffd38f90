import type { BrowserContext, Page } from "@playwright/test";

/** Calls that reached WebGPU. */
export interface Counts {
  launches: number;
  submits: number;
  /** Buffers mapped for reading. */
  readbacks: number;
  queueWrites: number;
  buffers: number;
  bufferBytes: number;
  bindGroups: number;
  pipelines: number;
}

/** One turn of one lane; the counts are running totals of its worker. */
export interface CountedTurn {
  plan: string;
  asked: Counts;
  started: Counts | null;
  steps: { tokens: number; finish: string | null; counts: Counts }[];
  ended: Counts | null;
}

/** One lane, and the running totals before and after it was made. */
export interface CountedLane {
  plan: string;
  memory: { weightBytes: number; laneBytes: number[] };
  asked: Counts;
  added: Counts;
}

export declare const chromiumFlags: string[];
export declare function countWebGpu(context: BrowserContext): Promise<void>;
export declare function readLog(
  page: Page,
): Promise<{ lanes: CountedLane[]; turns: CountedTurn[] }>;
export declare function whileDecoding(turn: CountedTurn): (Counts & { tokens: number }) | null;
