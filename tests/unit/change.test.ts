import { describe, expect, test } from "vitest";
import {
  changed,
  fits,
  isMuted,
  isSameRun,
  isWhole,
  readChange,
  runOf,
  simple,
  stateOf,
  wholePlan,
  withLayers,
  without,
  withState,
  writeChange,
  type LayerState,
} from "../../www/change";
import { cost } from "../../www/cost";
import type { PlanChange } from "../../www/engine";
import { ALL, HEAD_BYTES, LAYER_BYTES, PACK, storyPlan } from "./pack";

const HALF = storyPlan("half", [0, 1, 2, 3, 4, 11], 2.5);
const run = (layers: number[], muteAttention: number[] = [], muteMlp: number[] = []) => ({
  layers,
  muteAttention,
  muteMlp,
});

describe("a changed plan", () => {
  test("claims nothing that was measured of the plan, and keeps its name", () => {
    const plan = changed(PACK, HALF, run([0, 1, 11]));
    expect(plan).toMatchObject({
      name: "half",
      layers: [0, 1, 11],
      crossEntropy: null,
      figures: [null],
      weightBytesPerToken: HEAD_BYTES + 3 * LAYER_BYTES,
    });
    expect(isSameRun(plan, HALF)).toBe(false);
  });

  test("is the plan where nothing is changed of it", () => {
    expect(changed(PACK, HALF, null)).toBe(HALF);
    expect(changed(PACK, HALF, run([...HALF.layers]))).toBe(HALF);
    const there = withState(runOf(HALF), 3, "no-mlp");
    expect(changed(PACK, HALF, withState(there, 3, "runs"))).toBe(HALF);
  });

  test("stays healed where the layer that was replaced still runs", () => {
    const healed = {
      ...HALF,
      replaced: [11],
      weightBytesPerToken: HALF.weightBytesPerToken + 1000,
    };
    const shorter = changed(PACK, healed, run([0, 1, 11]));
    expect(shorter.replaced).toEqual([11]);
    expect(shorter.weightBytesPerToken).toBe(HEAD_BYTES + 3 * LAYER_BYTES + 1000);
    const without11 = changed(PACK, healed, run([0, 1, 2]));
    expect(without11.replaced).toEqual([]);
    expect(without11.weightBytesPerToken).toBe(HEAD_BYTES + 3 * LAYER_BYTES);
  });

  test("with halves muted reads and computes less, by what those halves are", () => {
    const whole = storyPlan("full", ALL, null);
    // 128 x (128 + 64 + 64 + 128) of an attention, 3 x 128 x 384 of an MLP.
    const [attention, mlp] = [49_152, 147_456];
    const context = 100;
    const plain = cost(PACK, whole, context);
    const noAttention = cost(PACK, changed(PACK, whole, run(ALL, [5])), context);
    expect(plain.flops - noAttention.flops).toBe(2 * attention + 4 * 128 * context);
    expect(plain.bytes - noAttention.bytes).toBe(LAYER_BYTES / 4 + 512 * context);
    const noMlp = cost(PACK, changed(PACK, whole, run(ALL, [], [5])), context);
    expect(plain.flops - noMlp.flops).toBe(2 * mlp);
    expect(plain.bytes - noMlp.bytes).toBe((LAYER_BYTES * 3) / 4);
  });

  test("is the whole model only where all of it runs in its own weights", () => {
    expect(isWhole(storyPlan("full", ALL, null), 12)).toBe(true);
    expect(isWhole(changed(PACK, HALF, run(ALL)), 12)).toBe(true);
    const muted = changed(PACK, HALF, run(ALL, [3]));
    expect([isWhole(muted, 12), isMuted(muted)]).toEqual([false, true]);
    expect(isWhole({ ...storyPlan("full", ALL, null), replaced: [3] }, 12)).toBe(false);
  });

  test("of the longest plan is the whole model, also where no plan is", () => {
    expect(wholePlan(PACK)).toBe(PACK.plans[0]);
    expect(wholePlan({ ...PACK, plans: [HALF] })).toMatchObject({ name: "half", layers: ALL });
    expect(wholePlan({ ...PACK, plans: [] })).toBeNull();
  });
});

describe("layers", () => {
  const STATES: LayerState[] = ["runs", "no-attention", "no-mlp", "out"];

  test.each(STATES)("come to the state %s from any other, and are told so", (state) => {
    for (const before of STATES) {
      const from = withState(run([0, 1, 2, 3], [0], [3]), 2, before);
      const to = withState(from, 2, state);
      expect(stateOf(to, 2)).toBe(state);
      expect(fits(to, 4)).toBe(true);
      // The others are left alone.
      expect([0, 1, 3].map((layer) => stateOf(to, layer))).toEqual([
        ...["no-attention", "runs", "no-mlp"],
      ]);
    }
  });

  test.each<[number, number[]]>([
    [0, [0, 1, 2, 3, 4]],
    [2, [0, 1, 4]],
    [4, [4]],
  ])("simple, %i left out, keeps the deepest", (dropped, kept) => {
    expect(simple(5, dropped)).toEqual(kept);
  });

  test("other layers keep what is muted of those that stay", () => {
    expect(withLayers(run([0, 1, 2], [1, 2], [0]), [0, 1])).toEqual(run([0, 1], [1], [0]));
    // Nothing would be left: then nothing is muted.
    expect(withLayers(run([0, 1, 2], [2], [2]), [2])).toEqual(run([2]));
    expect(without(5, 1, 3)).toEqual([0, 4]);
  });

  test.each<[string, PlanChange, boolean]>([
    ["all", run([0, 1, 2, 3]), true],
    ["none", run([]), false],
    ["one that is not there", run([0, 4]), false],
    ["a wrong order", run([1, 0]), false],
    ["a mute of what does not run", run([0, 1], [2]), false],
    ["everything muted", run([0, 1], [0, 1], [0, 1]), false],
    ["half of a layer", run([1], [1]), true],
    ["no number", run([NaN]), false],
  ])("%s", (_, change, isFit) => {
    expect(fits(change, 4)).toBe(isFit);
  });

  test.each<[PlanChange, string]>([
    [run([0, 1, 2, 3, 11]), "0-3.11"],
    [run([5]), "5"],
    [run([0, 1, 2], [1]), "0-2:a1"],
    [run([0, 1, 2], [], [0, 2]), "0-2:m0.2"],
    [run([0, 2], [0], [2]), "0.2:a0:m2"],
  ])("in an address: %j as %s", (change, text) => {
    expect(writeChange(change)).toBe(text);
    expect(readChange(text)).toEqual(change);
  });
});
