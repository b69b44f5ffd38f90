// On fake-indexeddb: a real implementation of IndexedDB, in memory.
import { IDBFactory } from "fake-indexeddb";
import "fake-indexeddb/auto";
import { beforeEach, describe, expect, test } from "vitest";
import { History, indexedDbKeeper, type Keeper, readKept } from "../../www/history";
import type { PlanInfo } from "../../www/engine";
import type { Exchange } from "../../www/turns";
import { answerOf, exchangeOf, FULL, HALF } from "./exchanges";

const KEY = "https://example.org/manifest.json";

beforeEach(() => {
  indexedDB = new IDBFactory();
});

describe("a conversation", () => {
  test("is kept as it was, pack by pack", async () => {
    const exchanges = [exchangeOf("a"), exchangeOf("b", { seed: 3 })];
    const history = new History(indexedDbKeeper(), KEY);
    expect(await history.keep({ exchanges, layers: 4 })).toBe(true);
    // As a later visit has it, and another pack has not.
    const later = new History(indexedDbKeeper(), KEY);
    expect(await later.recall()).toEqual({ version: 1, exchanges, layers: 4 });
    expect(await new History(indexedDbKeeper(), `${KEY}2`).recall()).toBeNull();
  });

  test("keeps what was changed of a plan", async () => {
    const change = { layers: [0, 1, 3], muteAttention: [1], muteMlp: [] };
    const changed = answerOf({ ...HALF, layers: change.layers, change }, "Other.");
    const exchanges = [exchangeOf("a", { answers: [answerOf(FULL, "All."), changed] })];
    await new History(indexedDbKeeper(), KEY).keep({ exchanges, layers: 4 });
    const kept = await new History(indexedDbKeeper(), KEY).recall();
    expect(kept?.exchanges).toEqual(exchanges);
  });

  test("that is empty is forgotten", async () => {
    const history = new History(indexedDbKeeper(), KEY);
    await history.keep({ exchanges: [exchangeOf("a")], layers: 4 });
    await history.keep({ exchanges: [], layers: 4 });
    expect(await history.recall()).toBeNull();
  });

  test("is kept in the order of calls, each as it then was", async () => {
    const growing = [exchangeOf("a")];
    const history = new History(indexedDbKeeper(), KEY);
    const first = history.keep({ exchanges: growing, layers: 4 });
    growing.push(exchangeOf("b"));
    const second = history.keep({ exchanges: growing, layers: 4 });
    growing.push(exchangeOf("c"));
    await Promise.all([first, second]);
    expect((await history.recall())?.exchanges.map(({ question }) => question)).toEqual(["a", "b"]);
  });

  test("that was left half said comes back as stopped", async () => {
    const answers = [
      answerOf(FULL, "All of"),
      answerOf(HALF, "", { state: "waiting", finish: null, stats: null, started: null }),
    ] as const;
    const running = answerOf(FULL, "All", { state: "running", finish: null });
    const history = new History(indexedDbKeeper(), KEY);
    await history.keep({
      exchanges: [exchangeOf("a", { answers }), exchangeOf("b", { answers: [running, running] })],
      layers: 4,
    });
    const kept = await history.recall();
    expect(kept?.exchanges.map((exchange) => exchange.answers.map(({ finish }) => finish))).toEqual(
      [
        ["end-token", "stopped"],
        ["stopped", "stopped"],
      ],
    );
    expect(kept?.exchanges[0]?.answers[1].state).toBe("done");
  });
});

test("a conversation that an earlier page kept is read, though its plans say less", async () => {
  const old = ({ name, title, layers }: PlanInfo) => ({ name, title, layers });
  const answers = [FULL, HALF].map((plan) => ({ ...answerOf(plan, "Once"), plan: old(plan) }));
  const keeper = indexedDbKeeper();
  await keeper.set(KEY, { version: 1, layers: 4, exchanges: [{ ...exchangeOf("a"), answers }] });
  const kept = await new History(keeper, KEY).recall();
  expect(kept?.exchanges[0]?.answers.map(({ plan }) => plan)).toEqual(
    [FULL, HALF].map((plan) => ({
      ...old(plan),
      ...{ replaced: [], crossEntropy: null, figures: [], weightBytesPerToken: 0 },
    })),
  );
});

test("three lanes are read as three", () => {
  const answers = [answerOf(FULL, "a"), answerOf(HALF, "b"), answerOf(HALF, "c")] as const;
  const kept = readKept({ version: 1, layers: 4, exchanges: [exchangeOf("a", { answers })] });
  expect(kept?.exchanges[0]?.answers.map(({ text }) => text)).toEqual(["a", "b", "c"]);
  expect(kept?.exchanges[0]?.order).toEqual([0, 1, 2]);
});

describe("what cannot be read is nothing", () => {
  const good = { version: 1, layers: 4, exchanges: [exchangeOf("a")] };
  const changed = (part: object) => ({ ...good, exchanges: [{ ...exchangeOf("a"), ...part }] });
  test.each<[string, unknown]>([
    ["a string", "hello"],
    ["a list", [1]],
    ["another version", { ...good, version: 2 }],
    ["no version", { layers: 4, exchanges: good.exchanges }],
    ["no exchanges", { ...good, exchanges: null }],
    ["layers below one", { ...good, layers: 0 }],
    ["a question that is none", changed({ question: 1 })],
    ["one answer", changed({ answers: [answerOf(FULL, "a")] })],
    ["a third lane without an answer", changed({ order: [0, 2] })],
    ["a lane that went first and last", changed({ order: [0, 1, 0] })],
    [
      "a fourth lane",
      changed({ answers: Array(4).fill(answerOf(FULL, "a")), order: [0, 1, 2, 3] }),
    ],
    ["a seed that is none", changed({ seed: 0.5 })],
    ["no settings", changed({ settings: undefined })],
    [
      "a plan whose replaced layers are none",
      changed({
        answers: [
          answerOf(FULL, "a"),
          { ...answerOf(HALF, ""), plan: { ...HALF, replaced: ["first"] } },
        ],
      }),
    ],
    [
      "a text that is none",
      changed({ answers: [answerOf(FULL, "a"), { ...answerOf(HALF, ""), text: {} }] }),
    ],
    [
      "a time that is none",
      changed({
        answers: [
          answerOf(FULL, "a"),
          answerOf(HALF, "", { pieces: [{ text: "", timesMs: [NaN] }] }),
        ],
      }),
    ],
    [
      "an error nobody knows",
      changed({
        answers: [
          answerOf(FULL, "a"),
          { ...answerOf(HALF, ""), error: { name: "Surprise", message: "" } },
        ],
      }),
    ],
  ])("%s", async (_, value) => {
    const keeper = indexedDbKeeper();
    await keeper.set(KEY, value);
    expect(await new History(keeper, KEY).recall()).toBeNull();
  });

  test("and the row they differ from is read", async () => {
    const keeper = indexedDbKeeper();
    await keeper.set(KEY, good);
    expect(await new History(keeper, KEY).recall()).not.toBeNull();
  });
});

test("a browser that keeps nothing costs the history and nothing else", async () => {
  const refused = () => Promise.reject(new DOMException("", "QuotaExceededError"));
  const keeper: Keeper = { get: refused, set: refused, del: refused };
  const history = new History(keeper, KEY);
  const exchanges: Exchange[] = [exchangeOf("a")];
  expect(await history.keep({ exchanges, layers: 4 })).toBe(false);
  expect(await history.recall()).toBeNull();
  expect(await history.keep({ exchanges: [], layers: 4 })).toBe(false);
});
