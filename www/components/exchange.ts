// A question, both answers to it, the sentence that compares them, and their replay at the measured pace.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { isSameRun, isWhole } from "../change";
import { cost, shareOfLimit, type Cost } from "../cost";
import type { Departures } from "../departures";
import type { PackInfo } from "../engine";
import { ROUNDS, type Measurement } from "../measure";
import { parting, tellParting } from "../parting";
import { strings } from "../strings";
import {
  compare,
  LANES,
  replayMs,
  textAt,
  thirdPlans,
  type Answer,
  type Exchange,
  type LaneIndex,
} from "../turns";
import "./answer";
import "./draft";
import type { LensAsked } from "./look";
import type { Ask, Findings } from "./looking";
import "./measurement";
import "./share";
import type { Sharer } from "./share";
import { shared } from "./shared";

/** The visitor wants to know more of the exchange. */
export class LookAsked extends CustomEvent<Ask> {
  constructor(ask: Ask) {
    super("look-asked", { detail: ask });
  }
}

@customElement("hd-exchange")
export class ExchangeView extends LitElement {
  /** Grows in place while the lanes write, so every assignment counts as a change. */
  @property({ attribute: false, hasChanged: () => true }) exchange: Exchange | null = null;
  @property({ type: Number }) layers = 0;
  /** Null while no model is there that could vouch for the figures. */
  @property({ attribute: false }) sharer: Sharer | null = null;
  /** Null until the pack is open (again). */
  @property({ attribute: false }) pack: PackInfo | null = null;
  @property({ attribute: false }) measurement: Measurement | null = null;
  /** What the device reads at the best; null while nobody has measured it. */
  @property({ attribute: false }) bytesPerSecond: number | null = null;
  /** Its prompt can be run again just now. */
  @property({ type: Boolean }) measurable = false;
  /** A third lane may join it. */
  @property({ type: Boolean }) joinable = false;
  /** What has been looked up about it, and whoever looks. */
  @property({ attribute: false, hasChanged: () => true }) findings: Findings = {};
  @state() private lookFailed = false;
  @state() private departures: Departures | null = null;
  /** The texts that were compared. */
  private compared: readonly [string, string] = ["", ""];
  /** How far the replay is; null when none runs. */
  @state() protected replayedMs: number | null = null;
  private frame = 0;

  static override styles = [
    shared,
    css`
      :host {
        display: block;
      }

      .label {
        margin-bottom: 0.25rem;
        color: var(--muted);
        font-size: 0.85rem;
      }

      .replay {
        border-color: var(--full);
        color: var(--full);
        font-weight: 600;
      }

      .question {
        margin-bottom: 0.75rem;
        overflow-wrap: anywhere;
        font: 600 1.15rem/1.45 var(--serif);
      }

      /* A span: the layout of the template's own lines must not show. */
      .words {
        white-space: pre-wrap;
      }

      .answers {
        display: grid;
        gap: 1rem;
      }

      @media (min-width: 45rem) {
        .answers {
          grid-template-columns: 1fr 1fr;
        }
      }

      /* On a phone as well. */
      .answers.beside {
        grid-template-columns: 1fr 1fr;
        gap: clamp(0.4rem, 2vw, 1rem);
      }

      @media (min-width: 62rem) {
        .answers:has(.lane-2) {
          grid-template-columns: 1fr 1fr 1fr;
        }
      }

      .lane-0 {
        --lane: var(--full);
      }

      .lane-1 {
        --lane: var(--half);
      }

      .lane-2 {
        --lane: var(--third);
      }

      .third {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 0.25rem 0.5rem;
      }

      .third select {
        flex: 0 1 24rem;
        padding-block: 0.3rem;
        font-size: 0.85rem;
        text-overflow: ellipsis;
      }

      .verdict {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        justify-content: space-between;
        gap: 0.5rem 1rem;
        min-height: 2.5rem;
        margin-top: 0.75rem;
      }

      .ratio {
        font: 600 1.35rem/1.4 var(--serif);
      }

      .ratio.none {
        color: var(--muted);
        font: 0.9rem/1.4 var(--sans);
      }

      .buttons {
        display: flex;
        flex-wrap: wrap;
        gap: 0.5rem;
      }

      .clock {
        display: inline-flex;
        align-items: center;
        gap: 0.6rem;
        font-variant-numeric: tabular-nums;
      }

      .badge {
        padding: 0.1rem 0.6rem;
        border: 1px solid currentcolor;
        border-radius: 99px;
        color: var(--muted);
        font-size: 0.85rem;
      }
    `,
  ];

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.endReplay();
  }

  override render() {
    const { exchange } = this;
    if (exchange === null) return nothing;
    return html`
      ${this.renderLabel()}
      <h2 class="question">
        <span class="visually-hidden">${strings.ask.question}: </span
        ><span class="words" dir="auto">${exchange.question}</span>
      </h2>
      <div class="answers ${this.isBeside ? "beside" : ""}">
        ${exchange.answers.map((answer, lane) => this.renderAnswer(exchange, answer, LANES[lane] ?? 0))}
      </div>
      ${this.renderVerdict(exchange)}
      <hd-measurement .measurement=${this.measurement} .pack=${this.pack}></hd-measurement>
      <hd-draft .draft=${this.findings.draft ?? null} .exchange=${exchange}></hd-draft>
      ${this.renderShare(exchange)} ${this.renderLook(exchange)}
    `;
  }

  /** Where its speeds were measured. */
  protected readonly where: string = "here";

  /** Side by side on a phone as well, with less of each: while a replay lasts. */
  protected get isBeside(): boolean {
    return this.replayedMs !== null;
  }

  protected renderLabel(): unknown {
    return nothing;
  }

  override updated(): void {
    void this.markDepartures();
  }

  /** Once both lanes have drawn what they say. */
  protected async markDepartures(): Promise<void> {
    const { exchange } = this;
    const [first, second] = this.renderRoot.querySelectorAll("hd-answer");
    if (exchange === null || first === undefined || second === undefined) return;
    await Promise.all([first.updateComplete, second.updateComplete]);
    // What is marked belongs to the whole document, and would stay there.
    if (!this.isConnected) return;
    const said = [first.said, second.said] as const;
    const isNew = said[0] !== this.compared[0] || said[1] !== this.compared[1];
    // A replay shows less than was compared, and marks it as it comes.
    if (isNew && this.replayedMs === null && exchange === this.exchange) {
      this.compared = said;
      this.departures = parting(exchange, said);
    }
    first.mark([], this.departures?.first?.first ?? null);
    second.mark(this.departures?.marked ?? [], this.departures?.first?.second ?? null);
  }

  private renderAnswer(exchange: Exchange, answer: Answer, lane: LaneIndex) {
    const title = strings.lane.title(answer.plan, this.layers, lane);
    const costs = this.costOf(answer);
    const departure = tellParting(this.departures, exchange, this.compared, this.layers);
    const replayed = this.replayedMs === null ? null : textAt(answer, this.replayedMs);
    return html`<hd-answer
      class="lane-${lane}"
      role="group"
      aria-label=${strings.lane.region(title)}
      data-lane=${lane}
      data-state=${answer.state}
      data-finish=${answer.finish ?? ""}
      .answer=${answer}
      heading=${title}
      .replayed=${replayed}
      .departure=${lane === 1 ? departure : null}
      .cost=${costs}
      .shareOfLimit=${this.shareOf(exchange, answer, costs)}
      ?replaying=${replayed !== null}
      ?beside=${this.isBeside}
      ?together=${exchange.together}
    ></hd-answer>`;
  }

  private costOf({ plan, stats }: Answer): Cost | null {
    // A conversation that an earlier page kept does not say what its plans read.
    if (this.pack === null || stats === null || plan.weightBytesPerToken === 0) return null;
    return cost(this.pack, plan, Math.round(stats.promptTokens + stats.generatedTokens / 2));
  }

  private shareOf({ together, hidden }: Exchange, { stats }: Answer, costs: Cost | null) {
    const { bytesPerSecond } = this;
    if (costs === null || stats === null || bytesPerSecond === null || together || hidden) {
      return null;
    }
    const { decodeTokensPerSecond: speed } = stats;
    return speed > 0 ? shareOfLimit(costs, speed, bytesPerSecond) : null;
  }

  private renderVerdict(exchange: Exchange) {
    const comparison = compare(exchange);
    if (comparison === null) return nothing;
    const { replayedMs } = this;
    const plain = comparison.kind === "ratio" ? "" : "none";
    // One button in both states, so that the keyboard stays where it is.
    return html`<div class="verdict">
      ${
        replayedMs === null
          ? html`<p class="ratio ${plain}" data-comparison=${comparison.kind}>
              ${strings.comparison(comparison, this.where)}
            </p>`
          : html`<p class="clock">
              <span class="badge">${strings.replay.label}</span>
              <span>${strings.replay.clock(replayedMs)}</span>
            </p>`
      }
      <span class="buttons">
        <button
          class="replay"
          type="button"
          @click=${() => {
            if (this.replayedMs === null) this.startReplay();
            else this.endReplay();
          }}
        >
          ${replayedMs === null ? strings.replay.start : strings.replay.skip}
        </button>
        ${this.sharer === null ? nothing : this.renderMeasure()}
      </span>
    </div>`;
  }

  private renderMeasure() {
    const button = (event: () => Event, label: string) =>
      html`<button
        type="button"
        ?disabled=${!this.measurable || this.replayedMs !== null}
        @click=${() => this.dispatchEvent(event())}
      >
        ${label}
      </button>`;
    const measure = () => new CustomEvent("measure");
    const draft = () => new LookAsked({ what: "draft" });
    return html`${button(measure, strings.measure.start(ROUNDS))}${
      this.mayDraft ? button(draft, strings.draft.start) : nothing
    }`;
  }

  /** Drafts are verified where the device picks: by likelihood or a plain temperature. And nobody drafts for himself. */
  private get mayDraft(): boolean {
    if (this.exchange === null) return false;
    const { answers, settings } = this.exchange;
    const { topK, topP, minP, repetitionPenalty, temperature } = settings.sampling;
    const plain = topK === 0 && topP === 1 && minP === 0;
    return (
      !isSameRun(answers[0].plan, answers[1].plan) &&
      repetitionPenalty === 1 &&
      (plain || temperature === 0)
    );
  }

  private renderShare(exchange: Exchange) {
    const isSettled = exchange.answers.every(({ state }) => state === "done");
    if (this.sharer === null || !isSettled) return nothing;
    return html`<hd-share .sharer=${this.sharer} .exchange=${exchange}></hd-share>`;
  }

  private renderLook(exchange: Exchange) {
    const [first, second] = exchange.answers;
    const isRead = first.state === "done" && second.state === "done" && first.tokens.length > 0;
    if (this.sharer === null || !isRead) return nothing;
    const words = strings.look;
    const ask = (what: "score" | "depths") => () => this.look({ what });
    return html`<div class="buttons" role="group" aria-label=${words.label}>
        <button
          class="quiet"
          type="button"
          ?disabled=${!this.measurable || isSameRun(first.plan, second.plan)}
          @click=${ask("score")}
        >
          ${words.score(isWhole(first.plan, this.layers))}
        </button>
        <button
          class="quiet"
          type="button"
          ?disabled=${!this.measurable || first.plan.layers.length < 2}
          @click=${ask("depths")}
        >
          ${words.depths}
        </button>
      </div>
      ${this.lookFailed ? html`<p class="label" role="alert">${words.failed}</p>` : nothing}
      ${this.renderThird(exchange)}
      <hd-look
        .exchange=${exchange}
        .findings=${this.findings}
        ?free=${this.measurable}
        @lens-asked=${({ detail }: LensAsked) =>
          this.dispatchEvent(new LookAsked({ what: "lens", ...detail }))}
      ></hd-look>`;
  }

  /** Another plan of the pack may answer the same, as a third lane: the healed half, say. */
  private renderThird({ answers }: Exchange) {
    const others = thirdPlans(
      this.pack?.plans ?? [],
      answers.map(({ plan }) => plan),
    );
    if (others.length === 0 || !this.joinable) return nothing;
    const words = strings.look;
    const ask = () => {
      const chosen = this.renderRoot.querySelector<HTMLSelectElement>("#third")?.value;
      const plan = others.find(({ name }) => name === chosen);
      if (plan !== undefined) this.dispatchEvent(new LookAsked({ what: "third", plan }));
    };
    return html`<span class="third">
      <label class="visually-hidden" for="third">${words.thirdLabel}</label>
      <select id="third" ?disabled=${!this.measurable}>
        ${others.map((plan) => html`<option value=${plan.name}>${strings.lane.planOption(plan)}</option>`)}
      </select>
      <button class="quiet" type="button" ?disabled=${!this.measurable} @click=${ask}>
        ${words.third}
      </button>
    </span>`;
  }

  private async look(asked: Ask): Promise<void> {
    try {
      // Most visits need none of it.
      await import("./look");
      this.lookFailed = false;
    } catch {
      this.lookFailed = true;
      return;
    }
    this.dispatchEvent(new LookAsked(asked));
  }

  protected startReplay(isWanted = true): void {
    const { exchange } = this;
    if (exchange === null) return;
    const lastMs = replayMs(exchange);
    let startMs: number | undefined;
    const show = (nowMs: number) => {
      startMs ??= nowMs;
      this.replayedMs = nowMs - startMs;
      if (this.replayedMs > lastMs) this.endReplay();
      else this.frame = requestAnimationFrame(show);
    };
    this.replayedMs = 0;
    if (isWanted) {
      void this.updateComplete.then(() => {
        this.scrollIntoView({ block: "nearest" });
      });
    }
    this.frame = requestAnimationFrame(show);
  }

  private endReplay(): void {
    cancelAnimationFrame(this.frame);
    this.replayedMs = null;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-exchange": ExchangeView;
  }
}
