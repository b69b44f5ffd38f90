// A question, both answers to it, the sentence that compares them, and their replay at the measured pace.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { strings } from "../strings";
import { compare, LANES, replayMs, textAt, type Exchange, type LaneIndex } from "../turns";
import "./answer";
import "./share";
import type { Sharer } from "./share";
import { shared } from "./shared";

@customElement("hd-exchange")
export class ExchangeView extends LitElement {
  /** Grows in place while the lanes write, so every assignment counts as a change. */
  @property({ attribute: false, hasChanged: () => true }) exchange: Exchange | null = null;
  @property({ type: Number }) layers = 0;
  /** Null while no model is there that could vouch for the figures. */
  @property({ attribute: false }) sharer: Sharer | null = null;
  /** How far the replay is; null when none runs. */
  @state() private replayedMs: number | null = null;
  private frame = 0;

  static override styles = [
    shared,
    css`
      :host {
        display: block;
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

      /* Side by side on a phone as well, while it lasts. */
      .answers.replaying {
        grid-template-columns: 1fr 1fr;
        gap: clamp(0.4rem, 2vw, 1rem);
      }

      .lane-0 {
        --lane: var(--full);
      }

      .lane-1 {
        --lane: var(--half);
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
      <h2 class="question">
        <span class="visually-hidden">${strings.ask.question}: </span
        ><span class="words" dir="auto">${exchange.question}</span>
      </h2>
      <div class="answers ${this.replayedMs === null ? "" : "replaying"}">
        ${LANES.map((lane) => this.renderAnswer(exchange, lane))}
      </div>
      ${this.renderVerdict(exchange)} ${this.renderShare(exchange)}
    `;
  }

  private renderAnswer(exchange: Exchange, lane: LaneIndex) {
    const answer = exchange.answers[lane];
    const kept = answer.plan.layers.length;
    const title =
      kept === this.layers ? strings.lane.full(kept) : strings.lane.part(kept, this.layers);
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
      ?replaying=${replayed !== null}
      ?together=${exchange.together}
    ></hd-answer>`;
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
              ${strings.comparison(comparison)}
            </p>`
          : html`<p class="clock">
              <span class="badge">${strings.replay.label}</span>
              <span>${strings.replay.clock(replayedMs)}</span>
            </p>`
      }
      <button type="button" @click=${replayedMs === null ? this.startReplay : this.endReplay}>
        ${replayedMs === null ? strings.replay.start : strings.replay.skip}
      </button>
    </div>`;
  }

  private renderShare(exchange: Exchange) {
    const isSettled = exchange.answers.every(({ state }) => state === "done");
    if (this.sharer === null || !isSettled) return nothing;
    return html`<hd-share .sharer=${this.sharer} .exchange=${exchange}></hd-share>`;
  }

  private startReplay(): void {
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
    void this.updateComplete.then(() => {
      this.scrollIntoView({ block: "nearest" });
    });
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
