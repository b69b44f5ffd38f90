// A loaded model: one worker, one pack, one device, and a lane for every plan that has been asked.
import type {
  Compared,
  DepthReading,
  Memory,
  Message,
  PlanInfo,
  ReadBandwidth,
  SamplesRequest,
  TurnRequest,
} from "./engine";
import { prefix, runOf, type RunPlan } from "./change";
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
  /** By plan of the pack, and for a second one of the same, by its name twice. */
  private readonly lanes = new Map<string, number>();
  /** By lane, what it runs just now: as a text, equal where the same runs. */
  private readonly runs = new Map<number, string>();
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
      const { first, second, third } = this.plans;
      for (const plan of [first, second, ...(third === null ? [] : [third])]) {
        making = plan;
        tell();
        await this.lane(plan);
      }
      making = null;
    };
    const [wasmBytes] = await Promise.all([files, lanes()]);
    const memory = this.lastMemory;
    this.lastMemory = { ...memory, wasmBytes: Math.max(wasmBytes, memory.wasmBytes) };
  }

  async *turn(
    plan: RunPlan,
    request: TurnRequest,
    signal: AbortSignal,
  ): AsyncGenerator<TurnEvent, void> {
    yield* this.client.turn(await this.lane(plan), request, signal);
  }

  /** As `turn`, with another plan's lane drafting. */
  async *drafted(
    plan: RunPlan,
    draft: RunPlan,
    request: TurnRequest,
    signal: AbortSignal,
  ): AsyncGenerator<TurnEvent, void> {
    const lane = await this.lane(plan);
    const drafting = await this.lane(draft, draft.name === plan.name ? 2 : 1);
    yield* this.client.turn(lane, { ...request, draft: { lane: drafting } }, signal);
  }

  readBandwidth(bytes: number): Promise<ReadBandwidth> {
    return this.client.readBandwidth(bytes);
  }

  /** What a plan predicts at every token of an answer, beside what the reference does. */
  async compare(
    reference: RunPlan,
    plan: RunPlan,
    messages: Message[],
    answer: number[],
    signal: AbortSignal,
  ): Promise<Compared[]> {
    const lane = await this.lane(reference);
    const other = await this.lane(plan, plan.name === reference.name ? 2 : 1);
    return this.client.compare(
      { reference: lane, lane: other, prompt: { messages }, answer },
      signal,
    );
  }

  /** What a plan would have said at every token of its answer, were it to end after so many of its layers. */
  async compareDepth(
    plan: RunPlan,
    depth: number,
    messages: Message[],
    answer: number[],
    signal: AbortSignal,
  ): Promise<Compared[]> {
    return this.compare(plan, { ...plan, change: prefix(plan, depth) }, messages, answer, signal);
  }

  /** What a plan would say after the beginning of an answer, before its first layer and after each. */
  async lens(
    plan: RunPlan,
    messages: Message[],
    answer: number[],
    signal: AbortSignal,
  ): Promise<DepthReading[]> {
    const lane = await this.lane(plan);
    return this.client.lens({ lane, prompt: { messages }, answer, top: 1 }, signal);
  }

  tokenize(text: string): Promise<number[]> {
    return this.client.tokenize(text);
  }

  samples(ids: number[], request: SamplesRequest): Promise<number[][]> {
    return this.client.samples(ids, request);
  }

  async angles(plan: RunPlan, ids: number[], signal: AbortSignal): Promise<number[][]> {
    return this.client.angles(await this.lane(plan), ids, signal);
  }

  /** Nats a token of one window. */
  async loss(plan: RunPlan, ids: number[], signal: AbortSignal): Promise<number> {
    return this.client.loss(await this.lane(plan), ids, signal);
  }

  /** Has a plan's lane run that plan, so that the next answer need not wait for it. */
  async rest(plan: RunPlan): Promise<void> {
    await this.lane(plan);
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

  /** The lane that runs what the plan does: layers are changed where they are not those. */
  private async lane(plan: RunPlan, copy: 1 | 2 = 1): Promise<number> {
    const key = copy === 1 ? plan.name : `${plan.name}\n${plan.name}`;
    const lane = this.lanes.get(key) ?? (await this.addLane(plan, key));
    const wanted = JSON.stringify(runOf(plan));
    if (this.runs.get(lane) !== wanted) {
      // Whatever runs if it fails, it is nothing to rely on.
      this.runs.delete(lane);
      this.lastMemory = await this.client.setPlan(lane, runOf(plan));
      this.runs.set(lane, wanted);
    }
    return lane;
  }

  private async addLane(plan: RunPlan, key: string): Promise<number> {
    const { lane, memory } = await this.client.addLane(plan.name);
    this.lanes.set(key, lane);
    if (plan.change === undefined) this.runs.set(lane, JSON.stringify(runOf(plan)));
    this.lastMemory = memory;
    return lane;
  }
}
