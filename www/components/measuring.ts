// What the page knows of measurements: one of each exchange, and how fast the device reads. Sees to it that the tab stays in view.
import type { ReactiveControllerHost } from "lit";
import { measure, type Measurement } from "../measure";
import { toErrorShape, type ErrorShape } from "../protocol";
import type { Session } from "../session";
import { requestOf, type Exchange } from "../turns";
import { onHidden } from "../visibility";

export class Measuring {
  /** What the device reads at the best; null while nobody has measured it. */
  bytesPerSecond: number | null = null;
  private readonly results = new WeakMap<Exchange, Measurement>();
  private stopper: AbortController | null = null;

  constructor(private readonly host: ReactiveControllerHost) {}

  get isRunning(): boolean {
    return this.stopper !== null;
  }

  of(exchange: Exchange): Measurement | null {
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
    const stopper = (this.stopper = new AbortController());
    let wasHidden = document.hidden;
    const unwatch = onHidden(() => {
      wasHidden = true;
    });
    const show = (measurement: Measurement) => {
      this.results.set(exchange, measurement);
      this.host.requestUpdate();
    };
    try {
      const [first, second] = exchange.answers;
      const measurement = await measure(session, [first.plan, second.plan], {
        requests: [requestOf(before, exchange, 0), requestOf(before, exchange, 1)],
        vocabSize: session.opened.pack.vocabSize,
        weightBytes: session.memory.weightBytes,
        signal: stopper.signal,
        wasHidden: () => wasHidden,
        onRound: (done, of) => {
          show({ kind: "running", done, of });
        },
      });
      if (measurement.kind === "measured") {
        this.bytesPerSecond = measurement.bandwidth.bytesPerSecond;
      }
      show(measurement);
      return null;
    } catch (thrown) {
      const error = toErrorShape(thrown);
      show({ kind: "failed", why: error.message });
      return error;
    } finally {
      unwatch();
      this.stopper = null;
      this.host.requestUpdate();
    }
  }
}
