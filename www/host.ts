// The worker's side of the protocol: owns the engine, answers calls, pulls steps until a turn ends or is stopped.
import type * as EngineModule from "halfdepth-engine";
import { fetchFiles, fetchManifest, openStore, storedBytes, type Store } from "./download";
import {
  aborted,
  HalfdepthError,
  toErrorShape,
  type Call,
  type FromWorker,
  type LaneAdded,
  type LoadStage,
  type Method,
  type Methods,
  type Opened,
  type ToWorker,
  type TurnEvent,
} from "./protocol";

import { kernelKey, recall, remember } from "./variants";

type Engine = EngineModule.Engine;
type Memory = EngineModule.Memory;

/** The part of a worker's global scope (or of a MessagePort) that the host needs. */
export interface Port {
  postMessage(message: FromWorker): void;
  addEventListener(type: "message", listener: (event: MessageEvent<ToWorker>) => void): void;
}

interface OpenPack {
  engine: Engine;
  manifestUrl: string;
  store: Store;
  /** Bytes still to be downloaded when the pack was opened. */
  missingBytes: number;
  /** Where the kernels that suit the device are remembered; undefined once they are known. */
  kernels: string | undefined;
  /** Lanes wait for it: a trial during the download. */
  trial: Promise<void>;
}

type Look = Exclude<Call, { method: "open" | "load" | "addLane" | "turn" | "readBandwidth" }>;
type Looked = Methods[Look["method"]]["gives"];

/** Kernels are tried while at least so much is downloaded; what comes sooner must not wait for them. */
const TRIAL_BYTES = 32 << 20;
/** A visitor who has not asked again by then is reading. */
const IDLE_MS = 1500;

export function host(
  port: Port,
  loadModule: () => Promise<typeof EngineModule>,
  // Undefined, whatever the library's types say, on pages that are not served over https.
  storage: CacheStorage | undefined,
): void {
  const running = new Map<number, AbortController>();
  const oneAtATime = queue();
  let open: OpenPack | undefined;

  port.addEventListener("message", ({ data }) => {
    if (data.kind === "abort") running.get(data.id)?.abort();
    else void serve(data);
  });

  async function serve(call: Call): Promise<void> {
    const { id } = call;
    const controller = new AbortController();
    running.set(id, controller);
    const emit = (event: LoadStage | TurnEvent) => {
      port.postMessage({ kind: "event", id, event });
    };
    try {
      const value = await answer(call, emit, controller.signal);
      port.postMessage({ kind: "result", id, value });
    } catch (thrown) {
      port.postMessage({ kind: "error", id, error: toErrorShape(thrown) });
    } finally {
      running.delete(id);
    }
  }

  function answer(
    call: Call,
    emit: (event: LoadStage | TurnEvent) => void,
    signal: AbortSignal,
  ): Promise<Methods[Method]["gives"]> {
    switch (call.method) {
      case "open":
        return openPack(call.params.manifestUrl, emit, signal);
      case "load":
        return loadFiles(opened(), emit, signal);
      case "addLane":
        return addLane(opened(), call.params.plan);
      case "turn":
        return turn(opened().engine, call.params, emit, signal);
      case "readBandwidth": {
        const { engine } = opened();
        return oneAtATime(() => engine.readBandwidth(call.params.bytes));
      }
      default:
        return look(opened().engine, call, signal);
    }
  }

  /** What may be asked of lanes besides answers. A call that was stopped while it waited for the device is not begun. */
  function look(engine: Engine, call: Look, signal: AbortSignal): Promise<Looked> {
    return oneAtATime(async () => {
      if (signal.aborted) throw aborted();
      switch (call.method) {
        case "setPlan":
          await engine.setPlan(call.params.lane, call.params.change);
          return engine.memory();
        case "tokenize":
          return [...engine.tokenize(call.params.text)];
        case "compare": {
          const { reference, lane, prompt, answer } = call.params;
          return engine.compare(reference, lane, prompt, Uint32Array.from(answer));
        }
        case "loss":
          return engine.loss(call.params.lane, Uint32Array.from(call.params.ids));
        case "samples": {
          const { ids, ...request } = call.params;
          return engine.samples(Uint32Array.from(ids), request);
        }
        case "angles":
          return engine.angles(call.params.lane, Uint32Array.from(call.params.ids));
        case "lens": {
          const { lane, prompt, answer, top } = call.params;
          return engine.lens(lane, prompt, Uint32Array.from(answer), top);
        }
      }
    });
  }

  function opened(): OpenPack {
    if (open === undefined) {
      throw new HalfdepthError("InvalidRequest", "No pack is open. Call `open` first.");
    }
    return open;
  }

  async function openPack(
    manifestUrl: string,
    emit: (event: LoadStage) => void,
    signal: AbortSignal,
  ): Promise<Opened> {
    emit({ stage: "engine" });
    const module = await loadModule();
    await module.default();
    emit({ stage: "manifest" });
    const manifest = await fetchManifest(manifestUrl, signal);
    emit({ stage: "device" });
    const engine = await module.Engine.open(manifest);
    if (signal.aborted) {
      engine.free();
      throw aborted();
    }
    open?.engine.free();
    const store = await openStore(storage);
    const pack = engine.pack();
    const adapter = engine.adapter();
    const bytes = pack.files.reduce((sum, file) => sum + file.bytes, 0);
    const stored = await storedBytes(pack.files, store);
    const kernels = await knownKernels(engine, kernelKey(adapter, pack));
    const missingBytes = bytes - stored;
    open = { engine, manifestUrl, store, missingBytes, kernels, trial: Promise.resolve() };
    return { adapter, pack, bytes, storedBytes: stored };
  }

  /** Uses what suited this device on an earlier visit; else gives back where to remember it. */
  async function knownKernels(engine: Engine, key: string): Promise<string | undefined> {
    const known = await recall(storage, key);
    if (known === undefined) return key;
    try {
      engine.useVariant(known);
      return undefined;
    } catch {
      return key; // of an older version, or of a device that lost a feature
    }
  }

  /** Tries kernels until all are tried or `isWanted` no longer; only a finished trial is remembered. */
  async function tryKernels(pack: OpenPack, isWanted: () => boolean): Promise<void> {
    const { kernels } = pack;
    while (kernels !== undefined && pack.kernels !== undefined && isWanted()) {
      const report = await oneAtATime(() => pack.engine.tryVariant());
      if (!report.over) continue;
      pack.kernels = undefined;
      await remember(storage, kernels, report.variant);
    }
  }

  /** After an answer nobody waits: the trial goes on for the next visit, and stops at the next call. */
  function tryKernelsWhenIdle(): void {
    setTimeout(() => {
      if (open === undefined || running.size > 0) return;
      // What the device refuses here shows again, and is told, when it is asked for an answer.
      tryKernels(open, () => running.size === 0).catch(() => undefined);
    }, IDLE_MS);
  }

  async function loadFiles(
    pack: OpenPack,
    emit: (event: LoadStage) => void,
    signal: AbortSignal,
  ): Promise<Memory> {
    const { engine, manifestUrl, store } = pack;
    let arriving = true;
    if (pack.missingBytes >= TRIAL_BYTES) {
      pack.trial = tryKernels(pack, () => arriving && !signal.aborted);
    }
    // Not in the queue of the engine's other calls: lanes are made while files arrive.
    await fetchFiles(
      manifestUrl,
      engine.pack().files,
      store,
      (file, at, bytes) => engine.loadChunk(file, at, bytes),
      (progress) => {
        emit({ stage: "files", progress });
      },
      signal,
    ).finally(() => (arriving = false));
    return engine.memory();
  }

  async function addLane({ engine, trial }: OpenPack, plan: string): Promise<LaneAdded> {
    await trial;
    const lane = await oneAtATime(() => engine.addLane(plan));
    return { lane, memory: engine.memory() };
  }

  async function turn(
    engine: Engine,
    { lane, request }: { lane: number; request: EngineModule.TurnRequest },
    emit: (event: TurnEvent) => void,
    signal: AbortSignal,
  ): Promise<null> {
    const unlessAborted = <T>(work: () => Promise<T>) =>
      oneAtATime(() => {
        // The wait for the other lane may be long.
        if (signal.aborted) throw aborted();
        return work();
      });
    const started = await unlessAborted(() => engine.startTurn(lane, request));
    emit({ kind: "started", started });
    for (;;) {
      // To stop is not to ask again. The message that stops needs a turn of the event loop to arrive in, and a step
      // that settles without waiting on the device would give it none.
      await nextTask();
      const step = await unlessAborted(() => engine.step(lane));
      emit({ kind: "step", step });
      if (step.finish !== null) {
        tryKernelsWhenIdle();
        return null;
      }
    }
  }
}

/** Two lanes may be asked at once, but there is one device: what they ask of it never overlaps. */
function queue(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = last.then(work);
    last = result.catch(() => undefined);
    return result;
  };
}

function nextTask(): Promise<void> {
  // setTimeout waits at least 4 ms once nested; a message does not.
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
