// A visitor's text, scanned and measured: how far each block of layers turns the residual stream, and what the loss is without so
// many layers. In: whoever can ask a lane, and the text's tokens. Out: what `halfdepth scan` and `halfdepth eval` would say.
import { changed, isSameRun, simple, without, type RunPlan } from "./change";
import type { PackInfo, SamplesRequest } from "./engine";
import { aborted } from "./protocol";

/** The session, or a stand-in in tests. */
export interface Prober {
  samples(ids: number[], request: SamplesRequest): Promise<number[][]>;
  angles(plan: RunPlan, ids: number[], signal: AbortSignal): Promise<number[][]>;
  loss(plan: RunPlan, ids: number[], signal: AbortSignal): Promise<number>;
}

export interface Scan {
  /** Runs that have been read, of all. */
  done: number;
  of: number;
  /** By n, from 1: the mean angular distance over the block of n layers, by its first layer; in units of pi. */
  distance: readonly (readonly number[])[];
}

/** By n, from 1 to all layers but one: where the block begins that turns the stream least; the first such place. */
export function bestBlocks({ distance }: Pick<Scan, "distance">): number[] {
  return distance.filter((row) => row.length > 1).map((row) => row.indexOf(Math.min(...row)));
}

/** Reads runs of a text as `halfdepth scan --sampling random` does. */
export async function scan(
  prober: Prober,
  plan: RunPlan,
  ids: number[],
  request: SamplesRequest,
  signal: AbortSignal,
  tell: (scan: Scan) => void,
): Promise<Scan> {
  const runs = await prober.samples(ids, request);
  let sums: number[][] = [];
  let last: Scan = { done: 0, of: runs.length, distance: [] };
  tell(last);
  for (const [index, run] of runs.entries()) {
    const rows = await prober.angles(plan, run, signal);
    if (signal.aborted) throw aborted();
    sums = rows.map((row, n) => row.map((value, first) => value + (sums[n]?.[first] ?? 0)));
    const done = index + 1;
    const distance = sums.map((row) => row.map((sum) => sum / done));
    last = { done, of: runs.length, distance };
    tell(last);
  }
  return last;
}

export const STRATEGIES = ["simple", "similarity"] as const;
export type Strategy = (typeof STRATEGIES)[number];

export interface Point {
  dropped: number;
  /** Nats a token. */
  loss: number;
}

export type Curve = Readonly<Record<Strategy, readonly Point[]>>;

/** Predictions of a window, each window after the begin token alone: as `halfdepth eval` takes them. */
export const WINDOW = 128;

export interface CurveOptions {
  pack: PackInfo;
  /** The whole model. */
  plan: RunPlan;
  /** At most so many windows, from the start of the text. */
  windows: number;
  /** See `bestBlocks`. */
  best: readonly number[];
  signal: AbortSignal;
  tell: (curve: Curve, done: number, of: number) => void;
}

/** The loss without n layers, n from 0 to all but one, by either strategy. */
export async function curve(
  prober: Prober,
  ids: readonly number[],
  options: CurveOptions,
): Promise<Curve> {
  const { pack, plan, windows, best, signal, tell } = options;
  const points: Record<Strategy, Point[]> = { simple: [], similarity: [] };
  const measured: { run: RunPlan; loss: number }[] = [];
  const of = STRATEGIES.length * pack.layers;
  for (let dropped = 0; dropped < pack.layers; dropped += 1) {
    for (const strategy of STRATEGIES) {
      tell(points, points.simple.length + points.similarity.length, of);
      const run = dropPlan(pack, plan, strategy, dropped, best);
      const known = measured.find((each) => isSameRun(each.run, run));
      const loss = known?.loss ?? (await lossOf(prober, run, ids, windows, signal));
      if (known === undefined) measured.push({ run, loss });
      points[strategy].push({ dropped, loss });
    }
  }
  tell(points, of, of);
  return points;
}

/** The whole model without `dropped` layers. */
export function dropPlan(
  pack: PackInfo,
  plan: RunPlan,
  strategy: Strategy,
  dropped: number,
  best: readonly number[],
): RunPlan {
  const layers =
    strategy === "simple" || dropped === 0
      ? simple(pack.layers, dropped)
      : without(pack.layers, best[dropped - 1] ?? 0, dropped);
  // Changed are the pack's plans, and never what has been changed already.
  const own = pack.plans.find(({ name }) => name === plan.name) ?? plan;
  return changed(pack, own, { layers, muteAttention: [], muteMlp: [] });
}

/** Nats a token over windows of a text. */
export async function lossOf(
  prober: Prober,
  plan: RunPlan,
  ids: readonly number[],
  windows: number,
  signal: AbortSignal,
): Promise<number> {
  const text = ids.slice(0, windows * WINDOW);
  let nats = 0;
  for (let at = 0; at < text.length; at += WINDOW) {
    const window = text.slice(at, at + WINDOW);
    nats += (await prober.loss(plan, window, signal)) * window.length;
    if (signal.aborted) throw aborted();
  }
  return nats / text.length;
}
