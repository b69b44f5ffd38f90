// A loaded model: one worker, one pack, one device, and a lane for every plan that has been asked.
import type { Memory, PlanInfo, ReadBandwidth, TurnRequest } from "./engine";
import type { Client } from "./client";
import { aborted, HalfdepthError, type LoadStage, type Opened, type TurnEvent } from "./protocol";
import type { Measurable } from "./measure";
import { strings } from "./strings";
import type { Drafter } from "./draft";
import { choosePlans, type ChosenPlans } from "./turns";

export type SessionStage = LoadStage | { stage: "lanes"; plan: PlanInfo };

interface LoadOptions {
  signal: AbortSignal;
  onStage: (stage: SessionStage) => void;
}

export interface SessionOptions extends LoadOptions {
  manifestUrl: string;
  /** Asked with what is still to be downloaded, before any of it is. */
  consent: (opened: Opened) => Promise<boolean>;
  /** The plans of the lanes, as far as they were asked for. */
  askedPlans: readonly string[];
}

export class Session implements Measurable, Drafter {
  private readonly lanes = new Map<string, number>();
  private lastMemory: Memory = { weightBytes: 0, laneBytes: [], wasmBytes: 0 };

  private constructor(
    private readonly client: Client,
    readonly opened: Opened,
    readonly plans: ChosenPlans,
  ) {}

  /** Takes the client over: when loading fails or is stopped, its worker is gone. */
  static async load(client: Client, options: SessionOptions): Promise<Session> {
    const { manifestUrl, signal, onStage, consent, askedPlans } = options;
    const stop = () => {
      client.close();
    };
    // A device that is just being asked for cannot be called off; ending the worker always works.
    signal.addEventListener("abort", stop);
    try {
      const opened = await client.open(manifestUrl, { signal, onStage });
      const plans = choosePlans(opened.pack.plans, askedPlans);
      if (plans === null) throw new HalfdepthError("PackError", strings.engine.noPlans);
      if (!(await consent(opened))) throw aborted();
      const session = new Session(client, opened, plans);
      await session.prepare({ signal, onStage });
      if (signal.aborted) throw aborted();
      return session;
    } catch (thrown) {
      client.close();
      throw thrown;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  /** Shaders compile while the weights arrive: usually both lanes wait by the time the last byte is in. */
  private async prepare({ signal, onStage }: LoadOptions): Promise<void> {
    let loaded = false;
    let making: PlanInfo | null = null;
    const tell = () => {
      if (loaded && making !== null) onStage({ stage: "lanes", plan: making });
    };
    const files = this.client.load({ signal, onStage }).then(({ wasmBytes }) => {
      loaded = true;
      tell();
      return wasmBytes;
    });
    const lanes = async () => {
      for (const plan of [this.plans.first, this.plans.second]) {
        making = plan;
        tell();
        await this.lane(plan.name);
      }
      making = null;
    };
    const [wasmBytes] = await Promise.all([files, lanes()]);
    const memory = this.lastMemory;
    this.lastMemory = { ...memory, wasmBytes: Math.max(wasmBytes, memory.wasmBytes) };
  }

  async *turn(
    plan: string,
    request: TurnRequest,
    signal: AbortSignal,
  ): AsyncGenerator<TurnEvent, void> {
    yield* this.client.turn(await this.lane(plan), request, signal);
  }

  /** As `turn`, with another plan's lane drafting. */
  async *drafted(
    plan: string,
    draft: string,
    request: TurnRequest,
    signal: AbortSignal,
  ): AsyncGenerator<TurnEvent, void> {
    const [lane, drafting] = [await this.lane(plan), await this.lane(draft)];
    yield* this.client.turn(lane, { ...request, draft: { lane: drafting } }, signal);
  }

  readBandwidth(bytes: number): Promise<ReadBandwidth> {
    return this.client.readBandwidth(bytes);
  }

  get memory(): Memory {
    return this.lastMemory;
  }

  /** Bytes on the GPU that only this plan's lane uses; 0 before its first turn. */
  laneBytes(plan: string): number {
    const lane = this.lanes.get(plan);
    return lane === undefined ? 0 : (this.lastMemory.laneBytes[lane] ?? 0);
  }

  close(): void {
    this.client.close();
  }

  private async lane(plan: string): Promise<number> {
    const known = this.lanes.get(plan);
    if (known !== undefined) return known;
    const { lane, memory } = await this.client.addLane(plan);
    this.lanes.set(plan, lane);
    this.lastMemory = memory;
    return lane;
  }
}
