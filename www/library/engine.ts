// One engine (a worker, with its weights on the GPU) per pack, shared by whoever on this page asks for that pack, and closed when
// the last of them leaves.
import { Client } from "../client";
import type { TurnRequest } from "../engine";
import {
  HalfdepthError,
  needsReload,
  toErrorShape,
  type LoadStage,
  type Opened,
  type TurnEvent,
} from "../protocol";
import { strings } from "../strings";
import { spawn } from "./spawn";

export interface BorrowOptions {
  /** Takes this user away; what others share goes on. */
  signal?: AbortSignal | undefined;
  onStage?: ((stage: LoadStage) => void) | undefined;
  /** Asked with what is still to be downloaded, before any of it is; not asked where another user has it downloaded. */
  consent?: ((opened: Opened) => boolean | Promise<boolean>) | undefined;
  /** Whose lanes are to be ready: named by whoever knows what the pack has. Others are made when they are first asked. */
  plans?: ((opened: Opened) => readonly string[]) | undefined;
}

/** How workers come about; tests make others. */
export type MakeClient = () => Client;

const engines = new Map<string, Engine>();

/** Whether a pack is loaded, or on its way, on this page. */
export function engineState(manifestUrl: string): "none" | "loading" | "ready" {
  const engine = engines.get(manifestUrl);
  if (engine?.loading === undefined) return "none";
  return engine.isReady ? "ready" : "loading";
}

/** Opens and loads a pack, or joins those who have. */
export async function borrow(
  manifestUrl: string,
  options: BorrowOptions = {},
  make: MakeClient = () => new Client(spawn()),
): Promise<Borrowed> {
  options.signal?.throwIfAborted();
  let engine = engines.get(manifestUrl);
  if (engine === undefined) {
    engine = new Engine(manifestUrl, make());
    engines.set(manifestUrl, engine);
  }
  const borrowed = engine.join(options.onStage);
  try {
    await abortable(engine.prepare(options), options.signal);
    return borrowed;
  } catch (thrown) {
    borrowed.release();
    throw thrown;
  }
}

/** A user's hold on an engine. */
export interface Borrowed {
  readonly opened: Opened;
  /** One answer at a time on the device, so that none slows another's clock; the others wait. */
  turn(plan: string, request: TurnRequest, signal: AbortSignal): AsyncGenerator<TurnEvent, void>;
  tokenize(text: string): Promise<number[]>;
  /** Once; the last one ends the worker. */
  release(): void;
}

class Engine {
  loading: Promise<unknown> | undefined;
  isReady = false;
  private readonly users = new Set<symbol>();
  private readonly listeners = new Map<symbol, (stage: LoadStage) => void>();
  private readonly opening: Promise<Opened>;
  private opened: Opened | undefined;
  private readonly lanes = new Map<string, Promise<number>>();
  private readonly life = new AbortController();
  private last: Promise<void> = Promise.resolve();

  constructor(
    private readonly manifestUrl: string,
    private readonly client: Client,
  ) {
    this.opening = client.open(manifestUrl, this.whileAlive());
    this.opening.then(
      (opened) => (this.opened = opened),
      () => {
        this.end();
      },
    );
  }

  join(onStage: BorrowOptions["onStage"]): Borrowed {
    const user = Symbol("user");
    this.users.add(user);
    if (onStage !== undefined) this.listeners.set(user, onStage);
    const known = () => this.known();
    return {
      get opened() {
        return known();
      },
      turn: (plan, request, signal) => this.turn(plan, request, signal),
      tokenize: (text) => this.client.tokenize(text),
      release: () => {
        this.listeners.delete(user);
        if (this.users.delete(user) && this.users.size === 0) this.end();
      },
    };
  }

  async prepare({ consent, plans, signal }: BorrowOptions): Promise<void> {
    const opened = await this.opening;
    const wanted = plans?.(opened) ?? [];
    if (this.loading === undefined && consent !== undefined && !(await consent(opened))) {
      throw new HalfdepthError("Aborted", strings.library.refused);
    }
    signal?.throwIfAborted();
    this.loading ??= this.load();
    // Shaders compile while the weights arrive. The one that fails first tells why.
    await Promise.all([this.loading, ...wanted.map((plan) => this.lane(plan))]);
  }

  private known(): Opened {
    if (this.opened === undefined) throw new Error("a pack is used before it is open");
    return this.opened;
  }

  private load(): Promise<unknown> {
    const loading = this.client.load(this.whileAlive());
    loading.then(
      () => (this.isReady = true),
      () => {
        this.end();
      },
    );
    return loading;
  }

  private whileAlive() {
    return {
      signal: this.life.signal,
      onStage: (stage: LoadStage) => {
        for (const listener of this.listeners.values()) listener(stage);
      },
    };
  }

  private lane(plan: string): Promise<number> {
    const known = this.lanes.get(plan);
    if (known !== undefined) return known;
    const lane = this.client.addLane(plan).then((added) => added.lane);
    this.lanes.set(plan, lane);
    lane.catch((thrown: unknown) => {
      this.lanes.delete(plan);
      this.watchForLoss(thrown);
    });
    return lane;
  }

  private async *turn(
    plan: string,
    request: TurnRequest,
    signal: AbortSignal,
  ): AsyncGenerator<TurnEvent, void> {
    const lane = await this.lane(plan);
    const done = await this.ownTurn(signal);
    try {
      yield* this.client.turn(lane, request, signal);
    } catch (thrown) {
      this.watchForLoss(thrown);
      throw thrown;
    } finally {
      done();
    }
  }

  /** Waits for whoever is before; gives what is to be called in the end. */
  private async ownTurn(signal: AbortSignal): Promise<() => void> {
    const before = this.last;
    let done: () => void = () => undefined;
    const mine = new Promise<void>((resolve) => (done = resolve));
    // Whoever leaves the queue early leaves it in order all the same.
    this.last = before.then(() => mine);
    try {
      await abortable(before, signal);
    } catch (thrown) {
      done();
      throw thrown;
    }
    return done;
  }

  /** A dead engine helps nobody: the next who asks gets a new one. */
  private watchForLoss(thrown: unknown): void {
    if (needsReload(toErrorShape(thrown).name)) this.end();
  }

  private end(): void {
    if (engines.get(this.manifestUrl) === this) engines.delete(this.manifestUrl);
    this.life.abort();
    this.client.close();
  }
}

/** Stops waiting when the signal says so; the work itself goes on. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const stop = () => {
      reject(signal.reason as Error);
    };
    if (signal.aborted) {
      stop();
      return;
    }
    signal.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener("abort", stop);
    });
  });
}
