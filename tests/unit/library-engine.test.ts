// One engine per pack on a page, shared, queued, and closed when the last user leaves.
import { expect, test } from "vitest";
import { Client, type WorkerLike } from "../../www/client";
import type { TurnRequest } from "../../www/engine";
import { borrow, engineState } from "../../www/library/engine";
import type { FromWorker, ToWorker, TurnEvent } from "../../www/protocol";
import { DEFAULT_SETTINGS } from "../../www/settings";
import { OPENED } from "./borrowed";
import { STATS } from "./exchanges";

const REQUEST: TurnRequest = {
  ...{ messages: [], sampling: DEFAULT_SETTINGS.sampling, maxTokens: 2, stop: [] },
};

/** Answers every call at once, but for turns, which wait for `letGo`. */
class ScriptedWorker implements WorkerLike {
  onmessage: ((event: MessageEvent<FromWorker>) => void) | null = null;
  onmessageerror = null;
  isTerminated = false;
  readonly methods: string[] = [];
  fails: string | undefined;
  private readonly turns = new Map<number, () => void>();

  postMessage(message: ToWorker): void {
    if (message.kind === "abort") {
      this.turns.delete(message.id);
      this.say({ kind: "error", id: message.id, error: { name: "Aborted", message: "" } });
      return;
    }
    const { id, method } = message;
    this.methods.push(method);
    if (method === this.fails) {
      this.say({ kind: "error", id, error: { name: "DeviceLost", message: "Gone." } });
    } else if (method === "turn") {
      this.turns.set(id, () => {
        const step = {
          tokens: [1],
          drafted: [],
          text: "x",
          tokenTimesMs: [1],
          cpuMs: 1,
          stats: STATS,
        };
        this.say({
          kind: "event",
          id,
          event: { kind: "step", step: { ...step, finish: "max-tokens" } },
        });
        this.say({ kind: "result", id, value: null });
      });
    } else {
      const memory = { weightBytes: 1, laneBytes: [], wasmBytes: 1 };
      const lane = { lane: this.methods.filter((name) => name === "addLane").length - 1, memory };
      const value = { open: OPENED, load: memory, addLane: lane }[method as "open"];
      this.say({ kind: "result", id, value });
    }
  }

  /** Lets the oldest turn end. */
  letGo(): void {
    const [oldest] = this.turns;
    if (oldest === undefined) return;
    this.turns.delete(oldest[0]);
    oldest[1]();
  }

  terminate(): void {
    this.isTerminated = true;
  }

  private say(data: FromWorker): void {
    queueMicrotask(() => this.onmessage?.({ data } as MessageEvent<FromWorker>));
  }
}

const soon = () => new Promise((resolve) => setTimeout(resolve, 5));
const signal = new AbortController().signal;

async function read(turn: AsyncGenerator<TurnEvent>): Promise<number> {
  let events = 0;
  for await (const event of turn) events += event.kind === "step" ? 1 : 0;
  return events;
}

function workers() {
  const made: ScriptedWorker[] = [];
  const make = () => {
    const worker = new ScriptedWorker();
    made.push(worker);
    return new Client(worker);
  };
  return { made, make };
}

test("two users of a pack have one worker, which ends with the last of them", async () => {
  const { made, make } = workers();
  const plans = () => ["full"];
  const consent = () => Promise.reject(new Error("asked, though it is being loaded"));
  const first = await borrow("https://a/1", { plans }, make);
  const second = await borrow("https://a/1", { plans, consent }, make);
  expect(made).toHaveLength(1);
  expect(engineState("https://a/1")).toBe("ready");
  first.release();
  first.release();
  expect(made[0]?.isTerminated).toBe(false);
  second.release();
  expect(made[0]?.isTerminated).toBe(true);
  expect(engineState("https://a/1")).toBe("none");
});

test("another pack has a worker of its own", async () => {
  const { made, make } = workers();
  const both = await Promise.all([
    borrow("https://b/1", {}, make),
    borrow("https://b/2", {}, make),
  ]);
  expect(made).toHaveLength(2);
  for (const { release } of both) release();
});

test("turns come one after the other, and who stops waiting does not hold up the next", async () => {
  const { made, make } = workers();
  const engine = await borrow("https://c/1", {}, make);
  const [worker] = made;
  const stop = new AbortController();
  const first = read(engine.turn("full", REQUEST, signal));
  await soon();
  const second = read(engine.turn("half", REQUEST, stop.signal));
  const third = read(engine.turn("half", REQUEST, signal));
  await soon();
  const turns = () => worker?.methods.filter((name) => name === "turn").length;
  expect(turns()).toBe(1);
  stop.abort();
  await expect(second).rejects.toMatchObject({ name: "AbortError" });
  expect(turns()).toBe(1);
  worker?.letGo();
  expect(await first).toBe(1);
  await soon();
  expect(turns()).toBe(2);
  worker?.letGo();
  expect(await third).toBe(1);
  // Each plan's lane was made once.
  expect(worker?.methods.filter((name) => name === "addLane")).toHaveLength(2);
  engine.release();
});

test("without consent nothing is downloaded, and a refusal leaves no worker behind", async () => {
  const { made, make } = workers();
  const asked: number[] = [];
  const consent = ({ bytes }: { bytes: number }) => {
    asked.push(bytes);
    return false;
  };
  await expect(borrow("https://d/1", { consent }, make)).rejects.toMatchObject({ name: "Aborted" });
  expect(asked).toEqual([100]);
  expect(made[0]?.methods).toEqual(["open"]);
  expect(made[0]?.isTerminated).toBe(true);
});

test("a signal takes one user away and leaves the others what they share", async () => {
  const { made, make } = workers();
  const stop = new AbortController();
  const stopped = borrow("https://e/1", { signal: stop.signal }, make);
  const stays = borrow("https://e/1", {}, make);
  stop.abort(new Error("enough"));
  await expect(stopped).rejects.toThrow("enough");
  const engine = await stays;
  expect(made[0]?.isTerminated).toBe(false);
  engine.release();
  expect(made[0]?.isTerminated).toBe(true);
});

test("a lost device ends the engine, and whoever asks next gets a new one", async () => {
  const { made, make } = workers();
  const engine = await borrow("https://f/1", {}, make);
  const [worker] = made;
  if (worker !== undefined) worker.fails = "turn";
  await expect(read(engine.turn("full", REQUEST, signal))).rejects.toMatchObject({
    name: "DeviceLost",
  });
  expect(worker?.isTerminated).toBe(true);
  const next = await borrow("https://f/1", {}, make);
  expect(made).toHaveLength(2);
  engine.release();
  expect(engineState("https://f/1")).toBe("ready");
  next.release();
});
