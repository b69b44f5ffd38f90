// The page's side of the protocol: an object with the worker's methods, promises and async iterables instead of messages.
import type {
  Compared,
  DepthReading,
  Memory,
  PlanChange,
  ReadBandwidth,
  SamplesRequest,
  TurnRequest,
} from "./engine";
import {
  aborted,
  HalfdepthError,
  type CompareRequest,
  type FromWorker,
  type LaneAdded,
  type LensRequest,
  type LoadStage,
  type Method,
  type Methods,
  type Opened,
  type ToWorker,
  type TurnEvent,
} from "./protocol";
import { strings } from "./strings";

/** What a Worker and the client agree on; a MessagePort does in tests. */
export interface WorkerLike {
  postMessage(message: ToWorker): void;
  onmessage: ((event: MessageEvent<FromWorker>) => void) | null;
  onerror?: ((event: ErrorEvent) => void) | null;
  onmessageerror: ((event: MessageEvent) => void) | null;
  terminate(): void;
}

interface Pending {
  event: (event: LoadStage | TurnEvent) => void;
  resolve: (value: Methods[Method]["gives"]) => void;
  reject: (error: HalfdepthError) => void;
}

export interface LoadOptions {
  signal: AbortSignal;
  onStage: (stage: LoadStage) => void;
}

export class Client {
  private readonly pending = new Map<number, Pending>();
  private lastId = 0;
  /** Why nothing can be called any more. */
  private ended: HalfdepthError | undefined;

  constructor(private readonly worker: WorkerLike) {
    worker.onmessage = ({ data }) => {
      this.receive(data);
    };
    worker.onerror = (event: Partial<ErrorEvent>) => {
      // A script that cannot be had, or may not run, is no ErrorEvent and has no message.
      const { message = "" } = event;
      this.fail(new HalfdepthError("EngineError", strings.engine.workerFailed(message)));
    };
    worker.onmessageerror = () => {
      this.fail(new HalfdepthError("EngineError", strings.engine.workerFailed("")));
    };
  }

  open(manifestUrl: string, { signal, onStage }: LoadOptions): Promise<Opened> {
    return this.call("open", { manifestUrl }, signal, (event) => {
      onStage(event as LoadStage);
    });
  }

  load({ signal, onStage }: LoadOptions): Promise<Memory> {
    return this.call("load", null, signal, (event) => {
      onStage(event as LoadStage);
    });
  }

  addLane(plan: string): Promise<LaneAdded> {
    return this.call("addLane", { plan }, undefined, idle);
  }

  readBandwidth(bytes: number): Promise<ReadBandwidth> {
    return this.call("readBandwidth", { bytes }, undefined, idle);
  }

  setPlan(lane: number, change: PlanChange): Promise<Memory> {
    return this.call("setPlan", { lane, change }, undefined, idle);
  }

  tokenize(text: string): Promise<number[]> {
    return this.call("tokenize", { text }, undefined, idle);
  }

  compare(request: CompareRequest, signal?: AbortSignal): Promise<Compared[]> {
    return this.call("compare", request, signal, idle);
  }

  loss(lane: number, ids: number[], signal?: AbortSignal): Promise<number> {
    return this.call("loss", { lane, ids }, signal, idle);
  }

  samples(ids: number[], request: SamplesRequest): Promise<number[][]> {
    return this.call("samples", { ids, ...request }, undefined, idle);
  }

  angles(lane: number, ids: number[], signal?: AbortSignal): Promise<number[][]> {
    return this.call("angles", { lane, ids }, signal, idle);
  }

  lens(request: LensRequest, signal?: AbortSignal): Promise<DepthReading[]> {
    return this.call("lens", request, signal, idle);
  }

  /** Ends when the answer ends; leaving the loop early, or the signal, stops the engine after its current step. */
  async *turn(
    lane: number,
    request: TurnRequest,
    signal: AbortSignal,
  ): AsyncGenerator<TurnEvent, void> {
    const arrived: TurnEvent[] = [];
    const state = { over: false, wake: idle };
    const stop = new AbortController();
    const call = this.call(
      "turn",
      { lane, request },
      AbortSignal.any([signal, stop.signal]),
      (event) => {
        arrived.push(event as TurnEvent);
        state.wake();
      },
    ).finally(() => {
      state.over = true;
      state.wake();
    });
    try {
      for (;;) {
        for (let event = arrived.shift(); event; event = arrived.shift()) yield event;
        if (state.over) break;
        await new Promise<void>((resolve) => (state.wake = resolve));
      }
    } finally {
      stop.abort();
      // Its failure is thrown below, or nobody is left to hear it.
      await call.catch(() => undefined);
    }
    await call;
  }

  /** Ends the worker and frees everything on the GPU; calls that still wait are told they were stopped. */
  close(): void {
    this.worker.terminate();
    this.fail(aborted());
  }

  private call<M extends Method>(
    method: M,
    params: Methods[M]["takes"],
    signal: AbortSignal | undefined,
    event: Pending["event"],
  ): Promise<Methods[M]["gives"]> {
    if (this.ended) return Promise.reject(this.ended);
    if (signal?.aborted === true) return Promise.reject(aborted());
    const id = (this.lastId += 1);
    const abort = () => {
      this.worker.postMessage({ kind: "abort", id });
    };
    signal?.addEventListener("abort", abort, { once: true });
    return new Promise<Methods[M]["gives"]>((resolve, reject) => {
      // The worker answers a call with what its method gives; the map cannot say so.
      this.pending.set(id, { event, resolve: resolve, reject });
      this.worker.postMessage({ kind: "call", id, method, params } as ToWorker);
    }).finally(() => {
      signal?.removeEventListener("abort", abort);
    });
  }

  private receive(message: FromWorker): void {
    const pending = this.pending.get(message.id);
    if (pending === undefined) return;
    if (message.kind === "event") {
      pending.event(message.event);
      return;
    }
    this.pending.delete(message.id);
    if (message.kind === "result") pending.resolve(message.value);
    else pending.reject(new HalfdepthError(message.error.name, message.error.message));
  }

  private fail(error: HalfdepthError): void {
    this.ended ??= error;
    const waiting = [...this.pending.values()];
    this.pending.clear();
    for (const { reject } of waiting) reject(error);
  }
}

function idle(): void {
  // Nobody waits, or nothing comes.
}
