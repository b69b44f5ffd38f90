// What the page knows of drafts: one run of each exchange.
import type { ReactiveControllerHost } from "lit";
import { takeDraft, type Draft, type Drafted } from "../draft";
import { toErrorShape, type ErrorShape } from "../protocol";
import type { Session } from "../session";
import { requestOf, type Exchange } from "../turns";

export class Drafting {
  private readonly results = new WeakMap<Exchange, Draft>();
  private stopper: AbortController | null = null;

  constructor(private readonly host: ReactiveControllerHost) {}

  get isRunning(): boolean {
    return this.stopper !== null;
  }

  of(exchange: Exchange): Draft | null {
    return this.results.get(exchange) ?? null;
  }

  stop(): void {
    this.stopper?.abort();
  }

  /** Gives what it failed with. `before`: what was said before the exchange. */
  async run(
    session: Session,
    exchange: Exchange,
    before: readonly Exchange[],
  ): Promise<ErrorShape | null> {
    const { signal } = (this.stopper = new AbortController());
    const drafted: Drafted = {
      kind: "running",
      pieces: [],
      tokens: [],
      speculation: null,
      tokensPerSecond: 0,
    };
    const show = (draft: Draft) => {
      this.results.set(exchange, draft);
      this.host.requestUpdate();
    };
    show(drafted);
    try {
      const [first, second] = exchange.answers;
      const request = requestOf(before, exchange, 0);
      const events = session.drafted(first.plan, second.plan, request, signal);
      for await (const event of events) {
        takeDraft(drafted, event);
        show({ ...drafted });
      }
      show({ ...drafted, kind: "done" });
      return null;
    } catch (thrown) {
      const error = toErrorShape(thrown);
      show(
        error.name === "Aborted"
          ? { ...drafted, kind: "stopped" }
          : { kind: "failed", why: error.message },
      );
      return error;
    } finally {
      this.stopper = null;
      this.host.requestUpdate();
    }
  }
}
