// The head of a lane: which layers run, what it costs on the GPU, and the choice of layers.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { live } from "lit/directives/live.js";
import { runOf, type RunPlan } from "../change";
import type { PlanInfo } from "../engine";
import { strings } from "../strings";
import type { LaneIndex } from "../turns";
import "./depth";
import { shared } from "./shared";
import "./strip";
import type { LayerPicked } from "./strip";

export type { PlanChanged } from "./depth";

/** The visitor chose another plan for the lane. */
export class PlanChosen extends CustomEvent<{ plan: string }> {
  constructor(plan: string) {
    super("plan-chosen", { detail: { plan } });
  }
}

@customElement("hd-lane-head")
export class LaneHead extends LitElement {
  @property({ attribute: false }) plan: RunPlan | null = null;
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
  /** Its layers may be changed. */
  @property({ type: Boolean }) changeable = false;
  /** See `Depth`. */
  @property({ attribute: false }) bestBlocks: readonly number[] | null = null;
  @property({ type: Number }) weightBytes = 0;
  @property({ type: Number }) laneBytes = 0;
  @state() private open = false;
  /** The layer that was picked last. */
  @state() private picked = 0;

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

      button {
        justify-self: start;
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
      <h2>${strings.lane.title(plan, layers, this.lane)}</h2>
      <hd-strip
        .run=${runOf(plan)}
        layers=${layers}
        .lane=${this.lane}
        ?busy=${this.busy}
        .arrived=${this.arrived}
        ?changeable=${this.changeable}
        ?locked=${this.locked}
        .picked=${this.changeable && this.open ? this.picked : null}
        @layer-picked=${this.pick}
      ></hd-strip>
      <p class="memory">
        ${this.weightBytes > 0 ? strings.stats.memory(this.weightBytes, this.laneBytes) : nothing}
      </p>
      ${this.choices.length > 1 || this.pending ? this.renderChoices(plan) : nothing}
      ${this.changeable || this.pending ? this.renderDepth(plan) : nothing}
    `;
  }

  private renderDepth(plan: RunPlan) {
    const words = strings.depth;
    const isOpen = this.open && this.changeable;
    return html`<button
        class="quiet"
        type="button"
        aria-label=${words.openLabel(this.lane)}
        aria-expanded=${isOpen}
        ?disabled=${!this.changeable}
        @click=${() => (this.open = !this.open)}
      >
        ${words.open}
      </button>
      ${
        isOpen
          ? html`<hd-depth
              .plan=${plan}
              layers=${this.layers}
              .picked=${this.picked}
              .bestBlocks=${this.bestBlocks}
              ?locked=${this.locked}
              @layer-picked=${this.pick}
            ></hd-depth>`
          : nothing
      }`;
  }

  /** Picked again, the layer is left alone. */
  private pick({ detail: { layer } }: LayerPicked): void {
    this.open = !this.open || this.picked !== layer;
    this.picked = layer;
  }

  private renderChoices(chosen: RunPlan) {
    return html`<label>
      <span class="visually-hidden">${strings.lane.plan(this.lane)}</span>
      <select ?disabled=${this.locked || this.pending} @change=${this.choose}>
        ${(this.pending ? [chosen] : this.choices).map(
          (plan) =>
            html`<option
              value=${plan.name}
              .selected=${live(chosen.change === undefined && plan.name === chosen.name)}
            >
              ${strings.lane.planOption(plan)}
            </option>`,
        )}
        ${
          chosen.change === undefined
            ? nothing
            : html`<option value="" disabled .selected=${live(true)}>
                ${strings.lane.changedOption(chosen)}
              </option>`
        }
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
