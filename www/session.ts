// A loaded model: one worker, one pack, one device, and a lane for every plan that has been asked.
import type { Memory, PlanInfo, TurnRequest } from "./engine";
import type { Client } from "./client";
import { aborted, HalfdepthError, type LoadStage, type Opened, type TurnEvent } from "./protocol";
import { strings } from "./strings";
import { choosePlans, type ChosenPlans, type Talker } from "./turns";

export type SessionStage = LoadStage | { stage: "lanes"; plan: PlanInfo };

export interface SessionOptions {
  manifestUrl: string;
  signal: AbortSignal;
  onStage: (stage: SessionStage) => void;
  /** Asked with what is still to be downloaded, before any of it is. */
  consent: (opened: Opened) => Promise<boolean>;
  /** The plan of the second lane, when the visitor has chosen one. */
  secondPlan: string | undefined;
}

export class Session implements Talker {
  private readonly lanes = new Map<string, number>();
  private lastMemory: Memory = { weightBytes: 0, laneBytes: [] };

  private constructor(
    private readonly client: Client,
    readonly opened: Opened,
    readonly plans: ChosenPlans,
  ) {}

  /** Takes the client over: when loading fails or is stopped, its worker is gone. */
  static async load(client: Client, options: SessionOptions): Promise<Session> {
    const { manifestUrl, signal, onStage, consent, secondPlan } = options;
    const stop = () => {
      client.close();
    };
    // A device that is just being asked for cannot be called off; ending the worker always works.
    signal.addEventListener("abort", stop);
    try {
      const opened = await client.open(manifestUrl, { signal, onStage });
      const plans = choosePlans(opened.pack.plans, secondPlan);
      if (plans === null) throw new HalfdepthError("PackError", strings.engine.noPlans);
      if (!(await consent(opened))) throw aborted();
      await client.load({ signal, onStage });
      const session = new Session(client, opened, plans);
      for (const plan of [plans.full, plans.half]) {
        onStage({ stage: "lanes", plan });
        await session.lane(plan.name);
      }
      if (signal.aborted) throw aborted();
      return session;
    } catch (thrown) {
      client.close();
      throw thrown;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  async *turn(
    plan: string,
    request: TurnRequest,
    signal: AbortSignal,
  ): AsyncGenerator<TurnEvent, void> {
    yield* this.client.turn(await this.lane(plan), request, signal);
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
