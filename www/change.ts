// What a visitor makes of a plan: layers left out or brought back, halves of layers muted. In: a plan of the pack and a change
// to it. Out: the plan as a lane runs it. Layers are numbered from 0, as in the model.
import { weightBytes } from "./cost";
import type { PackInfo, PlanChange, PlanInfo } from "./engine";

/** A plan as a lane runs it: as the pack has it, or changed. */
export interface RunPlan extends PlanInfo {
  /** What runs instead of what the pack says, and `layers` with it. Absent where nothing was changed. */
  change?: PlanChange;
}

/** What of a layer runs. */
export type LayerState = "runs" | "no-attention" | "no-mlp" | "out";

/** Everything that a lane runs. */
export function runOf({ layers, change }: RunPlan): PlanChange {
  return change ?? { layers: [...layers], muteAttention: [], muteMlp: [] };
}

/** Whether both run the same layers in the same weights. */
export function isSameRun(a: RunPlan, b: RunPlan): boolean {
  return a.name === b.name && isSame(runOf(a), runOf(b));
}

function isSame(a: PlanChange, b: PlanChange): boolean {
  const lists = ({ layers, muteAttention, muteMlp }: PlanChange) =>
    JSON.stringify([layers, muteAttention, muteMlp]);
  return lists(a) === lists(b);
}

/** Whether the whole model runs in its own weights. */
export function isWhole(plan: RunPlan, layers: number): boolean {
  return plan.layers.length === layers && plan.replaced.length === 0 && !isMuted(plan);
}

/** Whether some layer runs in part. */
export function isMuted({ change }: RunPlan): boolean {
  return change !== undefined && change.muteAttention.length + change.muteMlp.length > 0;
}

/** A plan of the pack, changed. What was measured of the plan is not true of what became of it. A change to what the plan is
 * already gives the plan. */
export function changed(pack: PackInfo, plan: PlanInfo, change: PlanChange | null): RunPlan {
  if (change === null || isSame(runOf(plan), change)) return plan;
  const replaced = plan.replaced.filter((layer) => change.layers.includes(layer));
  const run: RunPlan = {
    ...plan,
    layers: change.layers,
    replaced,
    crossEntropy: null,
    figures: plan.figures.map(() => null),
    change,
  };
  return { ...run, weightBytesPerToken: weightBytes(pack, plan, run) };
}

/** Whether a model of so many layers can run it: layers and mutes in rising order, mutes of layers that run, and something left
 * to run. */
export function fits({ layers, muteAttention, muteMlp }: PlanChange, count: number): boolean {
  const rises = (list: readonly number[]) =>
    list.every((layer, at) => layer > (list[at - 1] ?? -1) && layer < count);
  const isLeft = muteAttention.length + muteMlp.length < 2 * layers.length;
  const run = (list: readonly number[]) => list.every((layer) => layers.includes(layer));
  return (
    [layers, muteAttention, muteMlp].every(rises) && run(muteAttention) && run(muteMlp) && isLeft
  );
}

export function stateOf({ layers, muteAttention, muteMlp }: PlanChange, layer: number): LayerState {
  const [attention, mlp] = [muteAttention.includes(layer), muteMlp.includes(layer)];
  if (!layers.includes(layer) || (attention && mlp)) return "out";
  if (attention) return "no-attention";
  return mlp ? "no-mlp" : "runs";
}

/** The same with one layer in another state. */
export function withState(run: PlanChange, layer: number, state: LayerState): PlanChange {
  const put = (list: readonly number[], isIn: boolean) => {
    const others = list.filter((other) => other !== layer);
    return isIn ? [...others, layer].sort((a, b) => a - b) : others;
  };
  return {
    layers: put(run.layers, state !== "out"),
    muteAttention: put(run.muteAttention, state === "no-attention"),
    muteMlp: put(run.muteMlp, state === "no-mlp"),
  };
}

/** Other layers, and of what is muted what still runs; all of them in full where nothing else would be left. */
export function withLayers(run: PlanChange, layers: readonly number[]): PlanChange {
  const still = (list: readonly number[]) => list.filter((layer) => layers.includes(layer));
  const kept: PlanChange = {
    layers: [...layers],
    muteAttention: still(run.muteAttention),
    muteMlp: still(run.muteMlp),
  };
  const isEmpty = kept.muteAttention.length + kept.muteMlp.length >= 2 * layers.length;
  return isEmpty ? { ...kept, muteAttention: [], muteMlp: [] } : kept;
}

/** What is left of a plan that ends after its first `depth` layers. */
export function prefix(plan: RunPlan, depth: number): PlanChange {
  const run = runOf(plan);
  return withLayers(run, run.layers.slice(0, depth));
}

/** All layers but `dropped` of the deepest, the very last of which stays: the paper's simple rule. */
export function simple(count: number, dropped: number): number[] {
  return without(count, count - 1 - dropped, dropped);
}

/** All layers but the block of `dropped` layers that begins at `first`. */
export function without(count: number, first: number, dropped: number): number[] {
  const all = Array.from({ length: count }, (_, layer) => layer);
  return all.filter((layer) => layer < first || layer >= first + dropped);
}

/** The whole model as a plan of the pack that a lane can be made of; null where the pack has no plan at all. */
export function wholePlan(pack: PackInfo): RunPlan | null {
  const own = pack.plans.filter(({ replaced }) => replaced.length === 0);
  const [longest] = [...own].sort((a, b) => b.layers.length - a.layers.length);
  if (longest === undefined) return null;
  return changed(pack, longest, {
    layers: without(pack.layers, 0, 0),
    muteAttention: [],
    muteMlp: [],
  });
}

// As part of an address: `0-3.11`, then perhaps `:a2` (attentions) and `:m0-1` (MLPs) that are muted.

export function writeChange({ layers, muteAttention, muteMlp }: PlanChange): string {
  const parts = [writeList(layers)];
  if (muteAttention.length > 0) parts.push(`a${writeList(muteAttention)}`);
  if (muteMlp.length > 0) parts.push(`m${writeList(muteMlp)}`);
  return parts.join(":");
}

/** More layers than any Llama has; what names more is refused. */
const LAYERS_MAX = 1024;

/** Null for what `writeChange` does not write. */
export function readChange(text: string): PlanChange | null {
  const found = /^([\d.-]+)(?::a([\d.-]+))?(?::m([\d.-]+))?$/.exec(text);
  if (found === null) return null;
  const [layers, muteAttention, muteMlp] = found.slice(1).map((list?: string) => readList(list));
  if (layers == null || muteAttention == null || muteMlp == null) return null;
  const change = { layers, muteAttention, muteMlp };
  return fits(change, LAYERS_MAX) ? change : null;
}

function writeList(list: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const layer of list) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] + 1 === layer) last[1] = layer;
    else runs.push([layer, layer]);
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(".");
}

function readList(text: string | undefined): number[] | null {
  if (text === undefined) return [];
  const list: number[] = [];
  for (const run of text.split(".")) {
    const [, first, last = first] = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(run) ?? [];
    if (first === undefined || Number(last) >= LAYERS_MAX) return null;
    for (let layer = Number(first); layer <= Number(last); layer += 1) list.push(layer);
    // A range that falls names nothing.
    if (Number(last) < Number(first) || list.length > LAYERS_MAX) return null;
  }
  return list;
}
