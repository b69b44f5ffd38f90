// What the page has looked up about exchanges: how far the lanes agree, and what each depth would have said. One thing at a time,
// while nobody is answered.
import type { ReactiveControllerHost } from "lit";
import { agreement, depthsOf, type Agreement, type Depths } from "../agreement";
import { takeDraft, type Draft, type Drafted } from "../draft";
import type { Compared, DepthReading, PlanInfo } from "../engine";
import { toErrorShape, type ErrorShape } from "../protocol";
import type { Session } from "../session";
import { blank, requestOf, take, type Exchange } from "../turns";

export type Looked<T> =
  | { kind: "running"; done: number; of: number }
  | { kind: "stopped" }
  | { kind: "failed"; why: string }
  | { kind: "done"; value: T };

interface Values {
  agreement: Agreement;
  depths: Depths;
  lens: Lens;
}

/** The first lane at one token of its answer: before its first layer, and after each. */
export interface Lens {
  token: number;
  readings: readonly DepthReading[];
}

export type Findings = { /** The token whose lens was asked for last. */ lensAt?: number } & {
  [K in keyof Values]?: Looked<Values[K]>;
} & {
  /** The first lane's answer, drafted by the second. */
  draft?: Draft;
};

/** What may be asked of a settled exchange. */
export type Ask =
  | { what: "score" }
  | { what: "depths" }
  | { what: "lens"; token: number }
  | { what: "draft" }
  | { what: "third"; plan: PlanInfo };

export class Looking {
  private readonly findings = new WeakMap<Exchange, Findings>();
  private stopper: AbortController | null = null;

  constructor(private readonly host: ReactiveControllerHost) {}

  get isRunning(): boolean {
    return this.stopper !== null;
  }

  of(exchange: Exchange): Findings {
    return this.findings.get(exchange) ?? {};
  }

  stop(): void {
    this.stopper?.abort();
  }

  /** Does `work` while nothing else is asked of the lanes. Gives what it failed with; null also where it was stopped. */
  async run(work: (signal: AbortSignal) => Promise<void>): Promise<ErrorShape | null> {
    if (this.stopper !== null) return null;
    const stopper = (this.stopper = new AbortController());
    this.host.requestUpdate();
    try {
      await work(stopper.signal);
      return null;
    } catch (thrown) {
      const error = toErrorShape(thrown);
      return error.name === "Aborted" ? null : error;
    } finally {
      this.stopper = null;
      this.host.requestUpdate();
    }
  }

  /** Gives what it failed with. `before`: what was said before the exchange. */
  look(session: Session, exchange: Exchange, before: readonly Exchange[], ask: Ask) {
    switch (ask.what) {
      case "score":
        return this.score(session, exchange, before);
      case "depths":
        return this.readDepths(session, exchange, before);
      case "lens":
        return this.readLens(session, exchange, before, ask.token);
      case "draft":
        return this.letDraft(session, exchange, before);
      case "third":
        return this.askThird(session, exchange, before, ask.plan);
    }
  }

  /** The first lane's answer as the second predicts it. */
  private score(session: Session, exchange: Exchange, before: readonly Exchange[]) {
    const [first, second] = exchange.answers;
    return this.find(exchange, "agreement", async (signal) => {
      const messages = requestOf(before, exchange, 0).messages ?? [];
      const rows = await session.compare(first.plan, second.plan, messages, first.tokens, signal);
      return agreement(rows, first.text);
    });
  }

  /** What the first lane would have said, were it to end after its first layer, after its second, and so on. */
  private readDepths(session: Session, exchange: Exchange, before: readonly Exchange[]) {
    const [{ plan, tokens, text }] = exchange.answers;
    return this.find(exchange, "depths", async (signal, tell) => {
      const { messages = [] } = requestOf(before, exchange, 0);
      const depths: Compared[][] = [];
      for (let depth = 1; depth < plan.layers.length; depth += 1) {
        tell(depth - 1, plan.layers.length - 1);
        depths.push(await session.compareDepth(plan, depth, messages, tokens, signal));
        signal.throwIfAborted();
      }
      return depthsOf(depths, text);
    });
  }

  private readLens(
    session: Session,
    exchange: Exchange,
    before: readonly Exchange[],
    token: number,
  ) {
    const [{ plan, tokens }] = exchange.answers;
    this.findings.set(exchange, { ...this.of(exchange), lensAt: token });
    return this.find(exchange, "lens", async (signal) => {
      const { messages = [] } = requestOf(before, exchange, 0);
      const readings = await session.lens(plan, messages, tokens.slice(0, token), signal);
      return { token, readings };
    });
  }

  /** Asks a third plan the same, as a lane that joins. */
  private askThird(
    session: Session,
    exchange: Exchange,
    before: readonly Exchange[],
    plan: PlanInfo,
  ): Promise<ErrorShape | null> {
    const third = blank(plan);
    third.state = "running";
    const [first, second] = exchange.answers;
    exchange.answers = [first, second, third];
    exchange.order = [...exchange.order.slice(0, 2), 2];
    return this.run(async (signal) => {
      try {
        const request = requestOf(before, exchange, 2);
        for await (const event of session.turn(plan, request, signal)) {
          take(third, event);
          this.host.requestUpdate();
        }
      } catch (thrown) {
        const error = toErrorShape(thrown);
        if (error.name !== "Aborted") {
          third.finish = "failed";
          third.error = error;
        }
        throw thrown;
      } finally {
        third.state = "done";
        third.finish ??= "stopped";
      }
    });
  }

  /** The first lane's answer once more, drafted by the second. */
  private letDraft(
    session: Session,
    exchange: Exchange,
    before: readonly Exchange[],
  ): Promise<ErrorShape | null> {
    const drafted: Drafted = { kind: "running", pieces: [], tokens: [], speculation: null };
    const show = (draft: Draft) => {
      this.findings.set(exchange, { ...this.of(exchange), draft });
      this.host.requestUpdate();
    };
    show(drafted);
    return this.run(async (signal) => {
      try {
        const [first, second] = exchange.answers;
        const request = requestOf(before, exchange, 0);
        for await (const event of session.drafted(first.plan, second.plan, request, signal)) {
          takeDraft(drafted, event);
          show({ ...drafted });
        }
        show({ ...drafted, kind: "done" });
      } catch (thrown) {
        const { name, message } = toErrorShape(thrown);
        show(
          name === "Aborted" ? { ...drafted, kind: "stopped" } : { kind: "failed", why: message },
        );
        throw thrown;
      }
    });
  }

  private find<K extends keyof Values>(
    exchange: Exchange,
    key: K,
    work: (signal: AbortSignal, tell: (done: number, of: number) => void) => Promise<Values[K]>,
  ): Promise<ErrorShape | null> {
    const show = (found: Looked<Values[K]>) => {
      this.findings.set(exchange, { ...this.of(exchange), [key]: found });
      this.host.requestUpdate();
    };
    return this.run(async (signal) => {
      show({ kind: "running", done: 0, of: 1 });
      try {
        const value = await work(signal, (done, of) => {
          show({ kind: "running", done, of });
        });
        show({ kind: "done", value });
      } catch (thrown) {
        const error = toErrorShape(thrown);
        show(
          error.name === "Aborted" ? { kind: "stopped" } : { kind: "failed", why: error.message },
        );
        throw thrown;
      }
    });
  }
}
