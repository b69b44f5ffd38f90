// The head of a lane: which layers run, what it costs on the GPU, and the choice of layers.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property } from "lit/decorators.js";
import type { PlanInfo } from "../engine";
import { strings } from "../strings";
import type { LaneIndex } from "../turns";
import { shared } from "./shared";
import "./strip";

/** The visitor chose another plan for the lane. */
export class PlanChosen extends CustomEvent<{ plan: string }> {
  constructor(plan: string) {
    super("plan-chosen", { detail: { plan } });
  }
}

@customElement("hd-lane-head")
export class LaneHead extends LitElement {
  @property({ attribute: false }) plan: PlanInfo | null = null;
  /** Which of the lanes it is. */
  @property({ attribute: false }) lane: LaneIndex = 0;
  @property({ type: Number }) layers = 0;
  @property({ attribute: false }) choices: readonly PlanInfo[] = [];
  /** The layers that are here while the model loads; null once all are. */
  @property({ attribute: false }) arrived: ReadonlySet<number> | null = null;
  @property({ type: Boolean }) busy = false;
  /** The choice will be there once the model is; its room is taken already. */
  @property({ type: Boolean }) pending = false;
  /** No other plan may be chosen just now. */
  @property({ type: Boolean }) locked = false;
  @property({ type: Number }) weightBytes = 0;
  @property({ type: Number }) laneBytes = 0;

  static override styles = [
    shared,
    css`
      :host {
        display: grid;
        align-content: start;
        gap: 0.5rem;
        min-width: 0;
      }

      h2 {
        font: 600 clamp(0.88rem, 2.4vw, 1.05rem) / 1.4 var(--sans);
      }

      hd-strip {
        color: var(--lane);
      }

      .memory {
        /* Its words come with the model; two lines on a phone. */
        min-height: calc(1.35em * var(--memory-lines, 1));
        color: var(--muted);
        font-size: 0.8rem;
        line-height: 1.35;
      }

      @media (max-width: 45rem) {
        :host {
          --memory-lines: 2;
        }
      }

      select {
        padding-block: 0.3rem;
        font-size: 0.85rem;
        text-overflow: ellipsis;
      }
    `,
  ];

  override render() {
    const { plan, layers } = this;
    if (plan === null) return nothing;
    return html`
      <h2>${strings.lane.of(plan, layers)}</h2>
      <hd-strip
        .kept=${plan.layers}
        layers=${layers}
        ?busy=${this.busy}
        .arrived=${this.arrived}
      ></hd-strip>
      <p class="memory">
        ${this.weightBytes > 0 ? strings.stats.memory(this.weightBytes, this.laneBytes) : nothing}
      </p>
      ${this.choices.length > 1 || this.pending ? this.renderChoices(plan) : nothing}
    `;
  }

  private renderChoices(chosen: PlanInfo) {
    return html`<label>
      <span class="visually-hidden">${strings.lane.plan(this.lane)}</span>
      <select ?disabled=${this.locked || this.pending} @change=${this.choose}>
        ${(this.pending ? [chosen] : this.choices).map(
          (plan) =>
            html`<option value=${plan.name} ?selected=${plan.name === chosen.name}>
              ${strings.lane.planOption(plan)}
            </option>`,
        )}
      </select>
    </label>`;
  }

  private choose(event: Event): void {
    this.dispatchEvent(new PlanChosen((event.target as HTMLSelectElement).value));
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-lane-head": LaneHead;
  }
}
