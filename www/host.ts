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

type Engine = EngineModule.Engine;

/** The part of a worker's global scope (or of a MessagePort) that the host needs. */
export interface Port {
  postMessage(message: FromWorker): void;
  addEventListener(type: "message", listener: (event: MessageEvent<ToWorker>) => void): void;
}

interface OpenPack {
  engine: Engine;
  manifestUrl: string;
  store: Store;
}

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
        return addLane(opened().engine, call.params.plan);
      case "turn":
        return turn(opened().engine, call.params, emit, signal);
      case "readBandwidth": {
        const { engine } = opened();
        return oneAtATime(() => engine.readBandwidth(call.params.bytes));
      }
    }
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
    open = { engine, manifestUrl, store };
    const pack = engine.pack();
    return {
      adapter: engine.adapter(),
      pack,
      bytes: pack.files.reduce((sum, file) => sum + file.bytes, 0),
      storedBytes: await storedBytes(pack.files, store),
    };
  }

  async function loadFiles(
    { engine, manifestUrl, store }: OpenPack,
    emit: (event: LoadStage) => void,
    signal: AbortSignal,
  ): Promise<null> {
    await fetchFiles(
      manifestUrl,
      engine.pack().files,
      store,
      (file, bytes) => engine.load(file, bytes),
      (progress) => {
        emit({ stage: "files", progress });
      },
      signal,
    );
    return null;
  }

  async function addLane(engine: Engine, plan: string): Promise<LaneAdded> {
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
      if (step.finish !== null) return null;
    }
  }
}

/** Two lanes may be asked at once, but the engine is one object: its calls never overlap. */
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
