import { describe, expect, test } from "vitest";
import type { Finish, PlanInfo, TurnRequest } from "../../www/engine";
import { HalfdepthError, type TurnEvent } from "../../www/protocol";
import { DEFAULT_SETTINGS, type Settings } from "../../www/settings";
import {
  choosePlans,
  compare,
  Conversation,
  replayMs,
  textAt,
  thirdPlans,
  type Change,
  type Exchange,
  type Plans,
  type Talker,
} from "../../www/turns";
import { FULL, HALF, planOf } from "./exchanges";

const PLANS: Plans = [FULL, HALF];

function step(text: string, finish: Finish | null, timesMs: number[], total = 10): TurnEvent {
  const stats = {
    promptTokens: 5,
    reusedTokens: 0,
    generatedTokens: total,
    prefillMs: 10,
    timeToFirstTokenMs: 12,
    decodeMs: 100,
    prefillTokensPerSecond: 500,
    decodeTokensPerSecond: 100,
  };
  const tokens = timesMs.map((_, index) => index);
  return {
    kind: "step",
    step: { tokens, text, finish, stats, drafted: [], tokenTimesMs: timesMs, cpuMs: 1 },
  };
}

/** Answers "<plan> <n>", writes down what it was asked, and can be told to fail or to wait for a stop. */
class Scripted implements Talker {
  readonly asked: { plan: string; request: TurnRequest }[] = [];
  readonly log: string[] = [];
  failWith: Record<string, HalfdepthError> = {};
  hang = new Set<string>();

  async *turn(
    { name: plan }: PlanInfo,
    request: TurnRequest,
    signal: AbortSignal,
  ): AsyncGenerator<TurnEvent> {
    this.asked.push({ plan, request });
    this.log.push(`${plan} begins`);
    const turn = this.asked.filter((asked) => asked.plan === plan).length;
    yield { kind: "started", started: { promptTokens: 5, reusedTokens: 0, contextLeft: 100 } };
    const failure = this.failWith[plan];
    if (failure) throw failure;
    yield step(`${plan} `, null, [12, 14], 4);
    if (this.hang.has(plan)) {
      await new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          reject(new HalfdepthError("Aborted", "Stopped."));
        });
      });
    }
    yield step(String(turn), "end-token", [16]);
    this.log.push(`${plan} ends`);
  }
}

function conversation(): { talk: Conversation; talker: Scripted; changes: Change[] } {
  const changes: Change[] = [];
  return {
    talk: new Conversation((change) => changes.push(change)),
    talker: new Scripted(),
    changes,
  };
}

function settings(part: Partial<Settings> = {}): Settings {
  return { ...DEFAULT_SETTINGS, ...part };
}

describe("order", () => {
  test("one lane waits for the other, and they take turns in going first", async () => {
    const { talk, talker } = conversation();
    await talk.ask("a", PLANS, settings(), talker);
    await talk.ask("b", PLANS, settings(), talker);
    expect(talker.log).toEqual([
      ...["full begins", "full ends", "half begins", "half ends"],
      ...["half begins", "half ends", "full begins", "full ends"],
    ]);
  });

  test("a third lane comes last, goes on from its own answers, or from the first's where it joined late", async () => {
    const { talk, talker } = conversation();
    const three: Plans = [FULL, HALF, planOf("third", [0, 1], 3)];
    await talk.ask("a", PLANS, settings(), talker);
    await talk.ask("b", three, settings(), talker);
    await talk.ask("c", three, settings(), talker);
    expect(talker.log.filter((line) => line.endsWith("begins")).slice(2)).toEqual([
      ...["half begins", "full begins", "third begins"],
      ...["full begins", "half begins", "third begins"],
    ]);
    const asked = talker.asked.filter(({ plan }) => plan === "third");
    const said = asked.map(({ request }) => request.messages?.map(({ content }) => content));
    expect(said).toEqual([
      ["a", "full 1", "b"],
      ["a", "full 1", "b", "third 1", "c"],
    ]);
    expect(talk.exchanges.map(({ order }) => order)).toEqual([
      [0, 1],
      [1, 0, 2],
      [0, 1, 2],
    ]);
  });

  test("both may run at once when asked to", async () => {
    const { talk, talker } = conversation();
    await talk.ask("a", PLANS, settings({ together: true }), talker);
    expect(talker.log.slice(0, 2)).toEqual(["full begins", "half begins"]);
  });

  test("a second question waits until the first is settled", async () => {
    const { talk, talker } = conversation();
    const first = talk.ask("a", PLANS, settings(), talker);
    await talk.ask("b", PLANS, settings(), talker);
    await first;
    expect(talk.exchanges.map(({ question }) => question)).toEqual(["a"]);
  });
});

describe("history", () => {
  test.each([
    [false, "half", "half 1"],
    [true, "half", "full 1"],
    [false, "full", "full 1"],
    [true, "full", "full 1"],
  ])("shared history %s: the %s lane goes on from %j", async (sharedHistory, plan, answer) => {
    const { talk, talker } = conversation();
    const chosen = settings({ system: "Be kind.", sharedHistory });
    await talk.ask("a", PLANS, chosen, talker);
    await talk.ask("b", PLANS, chosen, talker);
    const last = talker.asked.filter((asked) => asked.plan === plan).at(-1);
    expect(last?.request.messages).toEqual([
      { role: "system", content: "Be kind." },
      { role: "user", content: "a" },
      { role: "assistant", content: answer },
      { role: "user", content: "b" },
    ]);
  });

  test("an answer that never came is left out", async () => {
    const { talk, talker } = conversation();
    talker.failWith = { half: new HalfdepthError("ContextFull", "Full.") };
    await talk.ask("a", PLANS, settings(), talker);
    talker.failWith = {};
    await talk.ask("b", PLANS, settings(), talker);
    const [half] = talker.asked.filter(({ plan }) => plan === "half").slice(-1);
    expect(half?.request.messages).toEqual([{ role: "user", content: "b" }]);
  });

  test("a new conversation forgets", async () => {
    const { talk, talker, changes } = conversation();
    await talk.ask("a", PLANS, settings(), talker);
    talk.clear();
    expect(talk.exchanges).toEqual([]);
    expect(changes.at(-1)).toEqual({ kind: "cleared" });
    await talk.ask("b", PLANS, settings(), talker);
    expect(talker.asked.at(-1)?.request.messages).toEqual([{ role: "user", content: "b" }]);
  });
});

describe("regenerate", () => {
  test("asks the last question again in place of its answers", async () => {
    const { talk, talker } = conversation();
    await talk.ask("a", PLANS, settings(), talker);
    await talk.regenerate(PLANS, settings(), talker);
    expect(talk.exchanges).toHaveLength(1);
    expect(talk.exchanges[0]?.answers.map(({ text }) => text)).toEqual(["full 2", "half 2"]);
    expect(talker.asked.at(-1)?.request.messages).toEqual([{ role: "user", content: "a" }]);
  });

  test.each([
    [0, [7, 7, 7]],
    [0.8, [7, 8, 9]],
  ])("at temperature %d the seeds are %j", async (temperature, seeds) => {
    const { talk, talker } = conversation();
    const chosen = settings({ sampling: { ...DEFAULT_SETTINGS.sampling, temperature, seed: 7 } });
    await talk.ask("a", PLANS, chosen, talker);
    await talk.regenerate(PLANS, chosen, talker);
    await talk.regenerate(PLANS, chosen, talker);
    const full = talker.asked.filter(({ plan }) => plan === "full");
    expect(full.map(({ request }) => request.sampling.seed)).toEqual(seeds);
  });

  test("without a question does nothing", async () => {
    const { talk, talker } = conversation();
    await talk.regenerate(PLANS, settings(), talker);
    expect(talker.asked).toEqual([]);
  });
});

describe("stop and failure", () => {
  test("stop keeps what was said and spares the lane that waits", async () => {
    const { talk, talker, changes } = conversation();
    talker.hang.add("full");
    const asked = talk.ask("a", PLANS, settings(), talker);
    await until(() => changes.some((change) => change.kind === "text" && change.text !== ""));
    talk.stop();
    await asked;
    const [full, half] = only(talk).answers;
    expect(full).toMatchObject({ text: "full ", finish: "stopped", state: "done", error: null });
    expect(half).toMatchObject({ text: "", finish: "stopped", state: "done" });
    expect(talker.asked).toHaveLength(1);
    expect(talk.running).toBe(false);
  });

  test.each([
    ["ContextFull", 2],
    ["InvalidRequest", 2],
    ["DeviceLost", 1],
    ["EngineError", 1],
  ] as const)("after %s %d lanes were asked", async (name, lanes) => {
    const { talk, talker } = conversation();
    talker.failWith = { full: new HalfdepthError(name, "What happened.") };
    await talk.ask("a", PLANS, settings(), talker);
    expect(only(talk).answers[0]).toMatchObject({
      finish: "failed",
      error: { name, message: "What happened." },
    });
    expect(talker.asked).toHaveLength(lanes);
    expect(talk.running).toBe(false);
  });
});

describe("comparison", () => {
  async function exchange(change: (exchange: Exchange) => void): Promise<Exchange> {
    const { talk, talker } = conversation();
    await talk.ask("a", PLANS, settings(), talker);
    const done = only(talk);
    const half = done.answers[1];
    if (half.stats) half.stats = { ...half.stats, decodeTokensPerSecond: 170 };
    change(done);
    return done;
  }

  test("is the ratio of the decode speeds", async () => {
    expect(compare(await exchange(() => undefined))).toEqual({
      kind: "ratio",
      ratio: 1.7,
      layersKept: 2,
      layers: 4,
      muted: false,
    });
  });

  test.each<[string, (exchange: Exchange) => void, unknown]>([
    ["a lane still writes", ({ answers }) => (answers[1].state = "running"), null],
    ["a lane failed", ({ answers }) => (answers[1].finish = "failed"), null],
    ["a lane never began", ({ answers }) => (answers[1].stats = null), null],
    [
      "an answer is short",
      ({ answers: [full] }) => full.stats && (full.stats.generatedTokens = 3),
      { kind: "too-short" },
    ],
    [
      "a speed is missing",
      ({ answers: [full] }) => full.stats && (full.stats.decodeTokensPerSecond = 0),
      { kind: "too-short" },
    ],
    ["both ran at once", (done) => (done.together = true), { kind: "together" }],
    ["the tab was hidden", (done) => (done.hidden = true), { kind: "hidden" }],
  ])("when %s there is no ratio", async (_, change, expected) => {
    expect(compare(await exchange(change))).toEqual(expected);
  });
});

describe("replay", () => {
  test("shows what had been said by then", async () => {
    const { talk, talker } = conversation();
    await talk.ask("a", PLANS, settings(), talker);
    const done = only(talk);
    expect(replayMs(done)).toBe(16);
    const seen = [0, 11.9, 12, 14, 16, 1e9].map((ms) => textAt(done.answers[0], ms));
    // "full " came as two tokens, at 12 and 14 ms.
    expect(seen).toEqual(["", "", "fu", "full ", "full 1", "full 1"]);
  });

  test("never cuts a character in two", () => {
    const answer = {
      ...blankAnswer(),
      pieces: [{ text: "👩‍🚀é", timesMs: [10, 20] }],
    };
    expect(textAt(answer, 15)).toBe("👩‍🚀");
  });
});

describe("choice of plans", () => {
  const other = planOf("other", [0, 1], 2.5);
  const unmeasured = planOf("unmeasured", [0, 1], null);
  const healed: PlanInfo = { ...planOf("healed", [0, 3], 2.7), replaced: [3] };

  test.each<[string, PlanInfo[], string[], [string, string] | null, string[]]>([
    ["the least loss leads", [HALF, other, FULL], [], ["full", "other"], []],
    ["a healed half leads", [HALF, other, healed, FULL], [], ["full", "healed"], []],
    ["asked for before healed", [HALF, healed, FULL], ["full", "half"], ["full", "half"], []],
    ["what was asked for leads", [HALF, other, FULL], ["full", "half"], ["full", "half"], []],
    ["two halves", [HALF, other, FULL], ["half", "other"], ["half", "other"], []],
    ["the full model may be second", [HALF, other, FULL], ["half", "full"], ["half", "full"], []],
    ["one name is the first lane's", [HALF, other, FULL], ["half"], ["half", "other"], []],
    ["the same twice is not compared", [FULL, HALF], ["half", "half"], ["half", "full"], []],
    ["an unknown name is told", [FULL, HALF], ["full", "gone"], ["full", "half"], ["gone"]],
    ["an unmeasured plan comes last", [unmeasured, FULL, HALF], [], ["full", "half"], []],
    ["one plan stands on both sides", [FULL], [], ["full", "full"], []],
    ["no plan is nothing", [], [], null, []],
  ])("%s", (_, plans, asked, expected, unknown) => {
    const chosen = choosePlans(plans, asked);
    expect(chosen && [chosen.first.name, chosen.second.name]).toEqual(expected);
    expect(chosen?.unknown ?? []).toEqual(unknown);
  });

  test("a third lane runs another plan than the two, or none", () => {
    const third = (...asked: string[]) =>
      choosePlans([FULL, HALF, other, healed], asked)?.third?.name ?? null;
    expect(third()).toBeNull();
    expect(third("full", "half", "other")).toBe("other");
    expect(third("full", "half", "half")).toBeNull();
    expect(third("full", "half", "gone")).toBeNull();
    // Healed ones go first as the second lane, but not where they were asked for as the third.
    expect(third("full", "gone", "healed")).toBe("healed");
    const names = (plans: readonly PlanInfo[]) => plans.map(({ name }) => name);
    expect(names(thirdPlans([FULL, HALF, other, healed], [FULL, HALF]))).toEqual([
      "healed",
      "other",
    ]);
    // What the third runs may be chosen again.
    expect(names(thirdPlans([FULL, HALF, other], [FULL, HALF, other]))).toEqual(["other"]);
  });
});

function only(talk: Conversation): Exchange {
  const [exchange] = talk.exchanges;
  if (exchange === undefined) throw new Error("nothing was asked");
  return exchange;
}

function blankAnswer(): Exchange["answers"][0] {
  return {
    plan: FULL,
    state: "done",
    finish: "end-token",
    text: "",
    tokens: [],
    pieces: [],
    started: null,
    stats: null,
    error: null,
  };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve));
}
