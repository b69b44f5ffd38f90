import { describe, expect, test } from "vitest";
import { wholePlan, type RunPlan } from "../../www/change";
import type { SamplesRequest } from "../../www/engine";
import {
  bestBlocks,
  curve,
  dropPlan,
  lossOf,
  scan,
  WINDOW,
  type Curve,
  type Prober,
  type Scan,
} from "../../www/scan";
import { ALL, PACK } from "./pack";

const REQUEST: SamplesRequest = { samples: 2, tokens: 2, seed: 0 };
const PLAN = wholePlan(PACK) ?? never();

function never(): never {
  throw new Error("the pack has a plan");
}

/** Angles by the first token of a run, losses by how many layers run; writes down what it was asked. */
class Scripted implements Prober {
  readonly asked: { layers: number[]; tokens: number }[] = [];
  samples(ids: number[], { samples, tokens }: SamplesRequest): Promise<number[][]> {
    const run = (at: number) => ids.slice(at * tokens, (at + 1) * tokens);
    return Promise.resolve(Array.from({ length: samples }, (_, at) => run(at)));
  }
  angles(_: RunPlan, [first = 0]: number[]): Promise<number[][]> {
    return Promise.resolve([[first, 2, 3], [0.5, first], [1]]);
  }
  loss({ layers }: RunPlan, ids: number[]): Promise<number> {
    this.asked.push({ layers, tokens: ids.length });
    // The first token of a window shows which window it is.
    return Promise.resolve(100 - layers.length + (ids[0] ?? 0));
  }
}

const on = () => new AbortController().signal;

describe("a scan", () => {
  test("is the mean over its samples, told as it grows", async () => {
    const told: Scan[] = [];
    const found = await scan(new Scripted(), PLAN, [1, 9, 4, 9], REQUEST, on(), (soFar) => {
      told.push(soFar);
    });
    expect(told.map(({ done, of }) => [done, of])).toEqual([
      [0, 2],
      [1, 2],
      [2, 2],
    ]);
    expect(found.distance).toEqual([[2.5, 2, 3], [0.5, 2.5], [1]]);
    // The block of all layers has no other to be better than.
    expect(bestBlocks(found)).toEqual([1, 0]);
  });

  test("takes the first of equals", () => {
    expect(bestBlocks({ distance: [[3, 1, 1], [2, 2], [1]] })).toEqual([1, 0]);
  });

  test("ends when it is stopped", async () => {
    const stopper = new AbortController();
    const scanning = scan(
      new Scripted(),
      PLAN,
      [1, 2, 3, 4],
      REQUEST,
      stopper.signal,
      ({ done }) => {
        if (done === 1) stopper.abort();
      },
    );
    await expect(scanning).rejects.toMatchObject({ name: "Aborted" });
  });
});

describe("the loss", () => {
  test("is weighed by the tokens of each window, the last of which may be short", async () => {
    const prober = new Scripted();
    const ids = [...Array<number>(WINDOW).fill(1), ...Array<number>(WINDOW / 2).fill(4)];
    // Windows of 89 and 92, the second half as long.
    expect(await lossOf(prober, PLAN, ids, 8, on())).toBeCloseTo(90);
    expect(prober.asked.map(({ tokens }) => tokens)).toEqual([WINDOW, WINDOW / 2]);
    expect(await lossOf(prober, PLAN, ids, 1, on())).toBeCloseTo(89);
  });
});

describe("a curve", () => {
  test("measures both strategies, and no plan twice", async () => {
    const prober = new Scripted();
    const best = ALL.slice(1).map((dropped) => (dropped === 1 ? 10 : 0));
    const told: number[] = [];
    const found: Curve = await curve(prober, [7], {
      ...{ pack: PACK, plan: PLAN, windows: 1, best, signal: on() },
      tell: (_, done) => told.push(done),
    });
    expect(found.simple.map(({ dropped, loss }) => [dropped, loss])).toEqual(
      ALL.map((dropped) => [dropped, 107 - 12 + dropped]),
    );
    expect(found.similarity).toHaveLength(12);
    // The whole model, the deepest but the last, and all but the last are the same either way.
    expect(prober.asked).toHaveLength(24 - 3);
    expect(told.at(-1)).toBe(24);
  });

  test.each([
    ["simple", 0, ALL],
    ["similarity", 0, ALL],
    ["simple", 10, [0, 11]],
    ["similarity", 10, [0, 1]],
  ] as const)("%s without %i layers", (strategy, dropped, layers) => {
    const best = ALL.slice(1).map(() => 2);
    expect(dropPlan(PACK, PLAN, strategy, dropped, best).layers).toEqual(layers);
  });
});
