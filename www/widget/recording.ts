// Reads a recording, as `npm run record` writes it, as hostile input: it lies at an address that the page's author gave.
import type { Piece } from "../turns";
import type { Shown, ShownLane } from "./shown";
import { words } from "./words";

export interface Recording {
  shown: Shown;
  /** The machine, in words. */
  on: string;
}

// Far more than any answer in a blog post, and little enough to draw.
const MOST_LAYERS = 1000;
const MOST_TEXT = 100_000;
const MOST_PIECES = 20_000;

/** Null for what is none. */
export function readRecording(value: unknown): Recording | null {
  const { on, layers, exchanges } = record(value);
  const { question, answers } = record(list(exchanges)?.[0]);
  const [first, second] = list(answers) ?? [];
  if (!isWhole(layers) || layers < 1 || layers > MOST_LAYERS) return null;
  if (!isText(question) || !isText(on)) return null;
  const lanes = [readLane(first, layers), readLane(second, layers)] as const;
  const [full, half] = lanes;
  if (full === null || half === null) return null;
  const shown: Shown = { question, layers, lanes: [full, half], verdict: null };
  if (full.tokensPerSecond !== null && half.tokensPerSecond !== null) {
    const ratio = half.tokensPerSecond / full.tokensPerSecond;
    shown.verdict = words.ratio(half.kept.length, layers, ratio);
  }
  return { shown, on };
}

function readLane(value: unknown, layers: number): ShownLane | null {
  const { plan, text, pieces: written, stats } = record(value);
  const { layers: kept, replaced } = record(plan);
  const { decodeTokensPerSecond: speed } = record(stats);
  const fits = (layer: unknown) => isWhole(layer) && layer < layers;
  const keptLayers = list(kept);
  if (keptLayers === null || keptLayers.length > layers) return null;
  if (!keptLayers.every(fits)) return null;
  const pieces = list(written)?.map(readPiece) ?? [null];
  if (!isText(text) || pieces.length > MOST_PIECES || !pieces.every((piece) => piece !== null)) {
    return null;
  }
  return {
    kept: keptLayers as number[],
    isHealed: (list(replaced)?.length ?? 0) > 0,
    text,
    pieces,
    tokensPerSecond: isAmount(speed) && speed > 0 ? speed : null,
    state: "done",
    note: null,
  };
}

function readPiece(value: unknown): Piece | null {
  const { text, timesMs } = record(value);
  const times = list(timesMs);
  if (!isText(text) || !times?.every(isAmount)) return null;
  return { text, timesMs: times };
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function list(value: unknown): unknown[] | null {
  return Array.isArray(value) ? (value as unknown[]) : null;
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.length <= MOST_TEXT;
}

function isAmount(value: unknown): value is number {
  return typeof value === "number" && value >= 0 && value <= Number.MAX_SAFE_INTEGER;
}

function isWhole(value: unknown): value is number {
  return isAmount(value) && Number.isInteger(value);
}
