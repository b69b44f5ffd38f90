import { describe, expect, test } from "vitest";
import { Lanes } from "../../www/lanes";
import { ALL, PACK, storyPlan } from "./pack";

const run = (layers: number[], muteAttention: number[] = []) => ({
  ...{ layers, muteAttention, muteMlp: [] },
});
const named = ({ plans }: Lanes) =>
  plans?.map(({ name, change }) => [name, change?.layers ?? null]);

function opened(
  plans: string[] = [],
  changes: Parameters<Lanes["ask"]>[1] = [],
  pack = PACK,
): Lanes {
  const lanes = new Lanes();
  lanes.ask(plans, changes);
  lanes.open(pack);
  return lanes;
}

describe("the lanes", () => {
  test("run full depth and half until another is chosen or layers are changed", () => {
    const lanes = opened();
    expect(named(lanes)).toEqual([
      ["full", null],
      ["half", null],
    ]);
    lanes.change(1, run([0, 11]));
    expect(named(lanes)).toEqual([
      ["full", null],
      ["half", [0, 11]],
    ]);
    // The model is loaded again, after its device was lost say.
    lanes.open(PACK);
    expect(named(lanes)?.[1]).toEqual(["half", [0, 11]]);
    lanes.change(1, null);
    expect(named(lanes)?.[1]).toEqual(["half", null]);
  });

  test("may be three; the third has its own layers, and changes places like any other", () => {
    const pack = { ...PACK, plans: [...PACK.plans, storyPlan("other", [0, 5, 11], 4)] };
    const lanes = opened([], [], pack);
    lanes.third("other");
    lanes.change(2, run([0, 11]));
    expect(named(lanes)).toEqual([
      ["full", null],
      ["half", null],
      ["other", [0, 11]],
    ]);
    lanes.choose(1, "other");
    expect(named(lanes)).toEqual([
      ["full", null],
      ["other", null],
      ["half", null],
    ]);
    lanes.third(null);
    expect(named(lanes)).toEqual([
      ["full", null],
      ["other", null],
    ]);
    expect(named(opened(["full", "half", "other"], [null, null, run([3])], pack))?.[2]).toEqual([
      ...["other", [3]],
    ]);
  });

  test("lose what was changed when a plan is chosen, and only there", () => {
    const lanes = opened();
    lanes.change(0, run(ALL, [3]));
    lanes.change(1, run([0, 11]));
    lanes.choose(1, "half");
    expect(named(lanes)).toEqual([
      ["full", ALL],
      ["half", null],
    ]);
    // They change places; the plan that moves takes its layers along.
    lanes.choose(1, "full");
    expect(named(lanes)).toEqual([
      ["half", null],
      ["full", null],
    ]);
    lanes.change(1, run([0, 11]));
    lanes.choose(0, "full");
    expect(named(lanes)).toEqual([
      ["full", null],
      ["half", null],
    ]);
  });

  test("take along what the other lane had when plans change places", () => {
    const lanes = opened();
    lanes.change(0, run(ALL, [3]));
    lanes.choose(0, "half");
    expect(named(lanes)).toEqual([
      ["half", null],
      ["full", ALL],
    ]);
  });

  test("run what an address asks for, as far as the model can", () => {
    const asked = opened(["full", "half"], [null, run([0, 5, 11])]);
    expect(named(asked)?.[1]).toEqual(["half", [0, 5, 11]]);
    expect(asked.unfit).toEqual([]);

    const unfit = opened(["full", "half"], [null, run([0, 12])]);
    expect(named(unfit)?.[1]).toEqual(["half", null]);
    expect(unfit.unfit).toEqual(["half"]);

    // Another plan runs in the place of one that is not there; its layers stay its own.
    const unknown = opened(["full", "gone"], [null, run([0, 5])]);
    expect(named(unknown)?.[1]).toEqual(["half", null]);
    expect([unknown.unknown, unknown.unfit]).toEqual([["gone"], []]);
  });

  test("a pack of one plan has two depths once one is changed", () => {
    const lanes = opened([], [], { ...PACK, plans: [storyPlan("full", ALL, null)] });
    lanes.change(1, run([0, 11]));
    expect(named(lanes)).toEqual([
      ["full", null],
      ["full", [0, 11]],
    ]);
  });
});
