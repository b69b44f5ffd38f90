// The client and the host over a real message channel, with a scripted engine behind them.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Client, type WorkerLike } from "../../www/client";
import type * as EngineModule from "../../www/engine";
import type { Step, TurnRequest } from "../../www/engine";
import { host, type Port } from "../../www/host";
import {
  HalfdepthError,
  needsReload,
  toErrorShape,
  type LoadStage,
  type TurnEvent,
} from "../../www/protocol";
import { Session, type SessionStage } from "../../www/session";
import { DEFAULT_SETTINGS } from "../../www/settings";

const REQUEST: TurnRequest = {
  messages: [{ role: "user", content: "Hello" }],
  sampling: DEFAULT_SETTINGS.sampling,
  maxTokens: 5,
  stop: [],
};

const STATS = {
  promptTokens: 5,
  reusedTokens: 0,
  generatedTokens: 1,
  prefillMs: 1,
  timeToFirstTokenMs: 1,
  decodeMs: 1,
  prefillTokensPerSecond: 1,
  decodeTokensPerSecond: 1,
};

/** Counts to maxTokens, one token a step; notes every overlap of its calls, which the real engine would refuse. */
class ScriptedEngine {
  calls = 0;
  overlaps = 0;
  freed = false;
  steps = 0;
  readonly plans: string[] = [];
  private busy = false;
  private left: number[] = [];
  failStepWith: unknown;
  /** Lanes wait for this. */
  lanesMay: Promise<unknown> = Promise.resolve();
  laneMade: () => void = () => undefined;
  fileBytes = 3;
  /** Kernels that were tried; there are always more. */
  tries = 0;
  tried: () => void = () => undefined;

  adapter(): EngineModule.Adapter {
    return { vendor: "v", architecture: "a", device: "d", description: "", fallback: false };
  }

  pack(): EngineModule.PackInfo {
    const plan = (name: string, layers: number[]) => ({
      name,
      title: name,
      layers,
      replaced: [],
      crossEntropy: null,
      figures: [],
      weightBytesPerToken: 5,
    });
    return {
      name: "scripted",
      source: "a test",
      licence: null,
      layers: 2,
      hiddenSize: 8,
      vocabSize: 16,
      context: 32,
      parameters: 99,
      tiedHead: true,
      cacheBytesPerPosition: 64,
      plans: [plan("half", [0]), plan("full", [0, 1])],
      evaluation: [],
      files: [{ file: "a.bin", bytes: this.fileBytes, sha256: "a", role: "layer", layer: 0 }],
      chat: false,
    };
  }

  loadChunk(_: string, __: number, bytes: Uint8Array): boolean {
    if (bytes[0] === 0) throw named("PackError", "a.bin is damaged.");
    return true;
  }

  async addLane(plan: string): Promise<number> {
    await this.lanesMay;
    return this.alone(() => {
      const lane = this.plans.push(plan) - 1;
      this.laneMade();
      return lane;
    });
  }

  async tryVariant(): Promise<EngineModule.TrialReport> {
    // As long as a device may take for one.
    await new Promise((resolve) => setTimeout(resolve, 20));
    return this.alone(() => {
      this.tries += 1;
      this.tried();
      return { over: false, variant: "v", spentMs: 20 * this.tries, measured: [] };
    });
  }

  startTurn(lane: number, request: TurnRequest): Promise<EngineModule.TurnStarted> {
    return this.alone(() => {
      this.left[lane] = request.maxTokens;
      return { promptTokens: 5, reusedTokens: 0, contextLeft: 9 };
    });
  }

  step(lane: number): Promise<Step> {
    return this.alone(() => {
      if (this.failStepWith !== undefined) throw this.failStepWith as Error;
      this.steps += 1;
      const left = (this.left[lane] = (this.left[lane] ?? 0) - 1);
      const finish = left === 0 ? "max-tokens" : null;
      return {
        tokens: [left],
        text: `${left} `,
        finish,
        stats: STATS,
        drafted: [],
        tokenTimesMs: [1],
        cpuMs: 0.5,
      };
    });
  }

  readBandwidth(bytes: number): Promise<EngineModule.ReadBandwidth> {
    return this.alone(() => ({ bytesPerSecond: 1e9, bufferBytes: bytes }));
  }

  memory(): EngineModule.Memory {
    return { weightBytes: 10, laneBytes: this.plans.map(() => 5), wasmBytes: 20 };
  }

  free(): void {
    this.freed = true;
  }

  private async alone<T>(work: () => T): Promise<T> {
    this.calls += 1;
    if (this.busy) this.overlaps += 1;
    this.busy = true;
    await Promise.resolve();
    this.busy = false;
    return work();
  }
}

function named(name: string, message: string): Error {
  return Object.assign(new Error(message), { name });
}

let server: Server;
let url: string;
let file: Uint8Array;
/** The server's answer waits for this. */
let fileMay: Promise<unknown>;
let ports: MessagePort[];
let engine: ScriptedEngine;
let openFailure: Error | undefined;

beforeEach(async () => {
  file = Uint8Array.of(1, 2, 3);
  fileMay = Promise.resolve();
  ports = [];
  engine = new ScriptedEngine();
  openFailure = undefined;
  server = createServer((request, response) => {
    if (request.url === "/slow/a.bin") return;
    if (request.url?.endsWith(".json") === true) response.end("{}");
    else void fileMay.then(() => response.end(file));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/manifest.json`;
});

afterEach(() => {
  for (const port of ports) port.close();
  server.closeAllConnections();
  server.close();
});

function connect(): { client: Client; worker: WorkerLike } {
  const { port1, port2 } = new MessageChannel();
  ports.push(port1, port2);
  const module = {
    default: () => Promise.resolve(),
    Engine: {
      open: () =>
        openFailure === undefined ? Promise.resolve(engine) : Promise.reject(openFailure),
    },
  } as unknown as typeof EngineModule;
  host(port2 as unknown as Port, () => Promise.resolve(module), undefined);
  // Node starts a port with its first listener of the old kind only.
  port2.start();
  const worker = port1 as unknown as WorkerLike;
  worker.terminate = () => {
    port1.close();
  };
  return { client: new Client(worker), worker };
}

const signal = new AbortController().signal;

async function opened(): Promise<Client> {
  const { client } = connect();
  await client.open(url, { signal, onStage: () => undefined });
  await client.load({ signal, onStage: () => undefined });
  return client;
}

async function collect(events: AsyncIterable<TurnEvent>): Promise<string[]> {
  const seen: string[] = [];
  for await (const event of events) {
    seen.push(event.kind === "step" ? event.step.text : event.kind);
  }
  return seen;
}

describe("loading", () => {
  test("tells its stages in order, the lanes too where they take longer than the files", async () => {
    const { client } = connect();
    const stages: SessionStage["stage"][] = [];
    let letLanes: () => void = () => undefined;
    engine.lanesMay = new Promise<void>((resolve) => (letLanes = resolve));
    const session = await Session.load(client, {
      manifestUrl: url,
      signal,
      askedPlans: [],
      consent: ({ bytes, storedBytes }) => Promise.resolve(bytes === 3 && storedBytes === 0),
      onStage: ({ stage }) => {
        if (stages.at(-1) !== stage) stages.push(stage);
        if (stage === "lanes") letLanes();
      },
    });
    expect(stages).toEqual(["engine", "manifest", "device", "files", "lanes"]);
    expect(engine.plans).toEqual(["full", "half"]);
    expect(session.memory).toEqual({ weightBytes: 10, laneBytes: [5, 5], wasmBytes: 20 });
    expect([session.laneBytes("half"), session.laneBytes("unknown")]).toEqual([5, 0]);
  });

  test("makes the lanes while the files arrive", async () => {
    const { client } = connect();
    const stages: SessionStage["stage"][] = [];
    let letFile: () => void = () => undefined;
    fileMay = new Promise<void>((resolve) => (letFile = resolve));
    engine.laneMade = () => {
      if (engine.plans.length === 2) letFile();
    };
    await Session.load(client, {
      manifestUrl: url,
      signal,
      askedPlans: [],
      consent: () => Promise.resolve(true),
      onStage: ({ stage }) => stages.push(stage),
    });
    expect(engine.plans).toEqual(["full", "half"]);
    expect(stages).not.toContain("lanes");
  });

  test.each([
    ["a large pack", 40 << 20, 3],
    ["a small one", 3, 0],
  ])(
    "while %s arrives, kernels are tried; once it is there, its lanes wait for one at most",
    async (_, bytes, least) => {
      const { client } = connect();
      engine.fileBytes = bytes;
      file = new Uint8Array(bytes).fill(1);
      let letFile: () => void = () => undefined;
      if (least > 0) fileMay = new Promise<void>((resolve) => (letFile = resolve));
      engine.tried = () => {
        if (engine.tries === least) letFile();
      };
      let triesMeanwhile = 0;
      await Session.load(client, {
        manifestUrl: url,
        signal,
        askedPlans: [],
        consent: () => Promise.resolve(true),
        onStage: (stage) => {
          if (stage.stage === "files") triesMeanwhile = engine.tries;
        },
      });
      expect(triesMeanwhile).toBeGreaterThanOrEqual(least);
      expect(engine.tries - triesMeanwhile).toBeLessThanOrEqual(least === 0 ? 0 : 1);
      expect(engine.plans).toEqual(["full", "half"]);
      expect(engine.overlaps).toBe(0);
    },
  );

  test("without consent downloads nothing", async () => {
    const { client } = connect();
    const stages: LoadStage["stage"][] = [];
    const loading = Session.load(client, {
      manifestUrl: url,
      signal,
      askedPlans: [],
      consent: () => Promise.resolve(false),
      onStage: ({ stage }) => stages.push(stage as LoadStage["stage"]),
    });
    await expect(loading).rejects.toMatchObject({ name: "Aborted" });
    expect(stages).not.toContain("files");
  });

  test("can be stopped while a file is on its way", async () => {
    const { client } = connect();
    const stop = new AbortController();
    const loading = Session.load(client, {
      manifestUrl: url.replace("/manifest", "/slow/manifest"),
      signal: stop.signal,
      askedPlans: [],
      consent: () => Promise.resolve(true),
      onStage: ({ stage }) => {
        if (stage === "files") stop.abort();
      },
    });
    await expect(loading).rejects.toMatchObject({ name: "Aborted" });
  });

  test.each([
    ["WebGpuUnavailable", "No adapter."],
    ["PackError", "The manifest is of version 3; this page knows 2. Reload."],
  ])("the engine's %s reaches the page by name", async (name, message) => {
    openFailure = named(name, message);
    const { client } = connect();
    const opening = client.open(url, { signal, onStage: () => undefined });
    await expect(opening).rejects.toMatchObject({ name, message });
  });

  test("a damaged file reaches the page as the engine's words", async () => {
    file = Uint8Array.of(0, 0, 0);
    await expect(opened()).rejects.toMatchObject({ name: "PackError" });
  });
});

describe("a turn", () => {
  test("gives its steps in order and ends", async () => {
    const client = await opened();
    const { lane } = await client.addLane("full");
    expect(await collect(client.turn(lane, REQUEST, signal))).toEqual([
      ...["started", "4 ", "3 ", "2 ", "1 ", "0 "],
    ]);
  });

  test("stops when asked to, even from an engine that never waits", async () => {
    const client = await opened();
    const { lane } = await client.addLane("full");
    const stop = new AbortController();
    const endless = { ...REQUEST, maxTokens: 1_000_000 };
    const reading = (async () => {
      for await (const event of client.turn(lane, endless, stop.signal)) {
        if (event.kind === "step") stop.abort();
      }
    })();
    await expect(reading).rejects.toMatchObject({ name: "Aborted" });
    const { steps } = engine;
    // Over for the engine as well: nobody asks it again.
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(engine.steps).toBe(steps);
    expect(steps).toBeLessThan(1000);
  });

  test("stops when nobody listens any more, and the lane is free for the next", async () => {
    const client = await opened();
    const { lane } = await client.addLane("full");
    for await (const event of client.turn(lane, { ...REQUEST, maxTokens: 1_000_000 }, signal)) {
      if (event.kind === "step") break;
    }
    expect(await collect(client.turn(lane, REQUEST, signal))).toHaveLength(6);
  });

  test("of two lanes at once never makes two calls of the engine overlap", async () => {
    const client = await opened();
    const lanes = [await client.addLane("full"), await client.addLane("half")];
    const turns = lanes.map(({ lane }) => collect(client.turn(lane, REQUEST, signal)));
    expect((await Promise.all(turns)).map(({ length }) => length)).toEqual([6, 6]);
    expect(engine.overlaps).toBe(0);
  });

  test.each([
    [named("DeviceLost", "The GPU is gone."), "DeviceLost", "The GPU is gone."],
    [named("RuntimeError", "unreachable"), "EngineError", "RuntimeError: unreachable"],
    ["a string", "EngineError", "a string"],
  ])("that fails with %s ends with %s", async (thrown, name, message) => {
    const client = await opened();
    const { lane } = await client.addLane("full");
    engine.failStepWith = thrown;
    const reading = collect(client.turn(lane, REQUEST, signal));
    await expect(reading).rejects.toMatchObject({ name, message });
  });
});

describe("a client", () => {
  test("tells everyone who waits that it was closed, and refuses what comes after", async () => {
    const client = await opened();
    const { lane } = await client.addLane("full");
    const reading = collect(client.turn(lane, { ...REQUEST, maxTokens: 1_000_000 }, signal));
    client.close();
    await expect(reading).rejects.toMatchObject({ name: "Aborted" });
    await expect(client.addLane("half")).rejects.toMatchObject({ name: "Aborted" });
  });

  test("tells everyone who waits that the worker died", async () => {
    const { client, worker } = connect();
    const opening = client.open(url, { signal, onStage: () => undefined });
    worker.onerror?.({ message: "syntax" } as ErrorEvent);
    await expect(opening).rejects.toMatchObject({ name: "EngineError" });
    await expect(client.addLane("full")).rejects.toMatchObject({ name: "EngineError" });
  });

  test("that skips `open` is told so", async () => {
    const { client } = connect();
    await expect(client.addLane("full")).rejects.toMatchObject({ name: "InvalidRequest" });
  });
});

describe("errors", () => {
  test.each([
    [new HalfdepthError("ContextFull", "Full."), "ContextFull", "Full.", false],
    [named("AbortError", "aborted"), "Aborted", "Stopped.", false],
    [named("DeviceLost", "Gone."), "DeviceLost", "Gone.", true],
    [new TypeError("x is undefined"), "EngineError", "TypeError: x is undefined", true],
    [undefined, "EngineError", "undefined", true],
  ])("%s crosses as %s", (thrown, name, message, reload) => {
    const shape = toErrorShape(thrown);
    expect(shape).toEqual({ name, message });
    expect(needsReload(shape.name)).toBe(reload);
  });
});
