// What a lane runs, layer by layer: one layer's halves to be muted, a slider for how many layers are kept, and the way back.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { live } from "lit/directives/live.js";
import {
  fits,
  runOf,
  simple,
  stateOf,
  without,
  withLayers,
  withState,
  type LayerState,
  type RunPlan,
} from "../change";
import type { PlanChange } from "../engine";
import { strings } from "../strings";
import { LayerPicked } from "./strip";
import { shared } from "./shared";

/** The visitor changed what the lane runs; null takes everything back. */
export class PlanChanged extends CustomEvent<{ change: PlanChange | null }> {
  constructor(change: PlanChange | null) {
    super("plan-changed", { detail: { change }, bubbles: true, composed: true });
  }
}

const STATES: readonly LayerState[] = ["runs", "no-attention", "no-mlp", "out"];
type Order = keyof typeof strings.depth.orders;

@customElement("hd-depth")
export class Depth extends LitElement {
  @property({ attribute: false }) plan: RunPlan | null = null;
  /** Of the whole model. */
  @property({ type: Number }) layers = 0;
  /** The layer whose halves are shown. */
  @property({ attribute: false }) picked = 0;
  /** Where the block of n layers begins that turns a scanned text least, n from 1; null while no text was scanned. */
  @property({ attribute: false }) bestBlocks: readonly number[] | null = null;
  @property({ type: Boolean }) locked = false;
  @state() private order: Order = "simple";
  /** The visitor asked for what cannot be. */
  @state() private refused = false;

  static override styles = [
    shared,
    css`
      :host {
        display: grid;
        gap: 0.6rem;
        padding: 0.6rem 0.7rem;
        border: 1px solid var(--line);
        border-radius: var(--radius);
        background: var(--surface);
        font-size: 0.85rem;
      }

      fieldset {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(7.2rem, 1fr));
        min-width: 0;
        margin: 0;
        padding: 0;
        border: 0;
      }

      .which {
        display: flex;
        align-items: center;
        justify-content: space-between;
        gap: 0.25rem;
      }

      .which strong {
        font-weight: 600;
      }

      .which button {
        min-width: 2rem;
      }

      fieldset label {
        display: flex;
        align-items: center;
        gap: 0.4rem;
        min-height: 1.75rem;
      }

      .field {
        display: grid;
        gap: 0.1rem;
      }

      .field > span {
        display: flex;
        flex-wrap: wrap;
        justify-content: space-between;
        gap: 0 0.5rem;
      }

      .kept {
        font-variant-numeric: tabular-nums;
      }

      input {
        width: auto;
        padding: 0;
        accent-color: var(--lane);
      }

      input[type="range"] {
        width: 100%;
        min-height: 1.75rem;
      }

      select {
        padding: 0.3rem;
      }

      .note {
        color: var(--muted);
        font-size: 0.8rem;
        text-wrap: pretty;
      }

      .reset {
        justify-self: start;
        min-height: 2rem;
        padding: 0.1rem 0.7rem;
      }
    `,
  ];

  override render() {
    const { plan } = this;
    if (plan === null) return nothing;
    const words = strings.depth;
    const isChanged = plan.change !== undefined;
    return html`
      ${this.renderLayer(runOf(plan))} ${this.renderDepth(plan)}
      ${this.bestBlocks === null ? nothing : this.renderOrder()}
      <p class="note" role="status">
        ${this.refused ? words.nothing : isChanged ? words.fromNow : words.asIs}
      </p>
      <button
        class="reset"
        type="button"
        ?disabled=${!isChanged || this.locked}
        @click=${() => {
          this.change(null);
        }}
      >
        ${words.reset}
      </button>
    `;
  }

  private renderLayer(run: PlanChange) {
    const words = strings.depth;
    const layer = Math.min(this.picked, this.layers - 1);
    const now = stateOf(run, layer);
    return html`
      <div class="which">
        ${this.renderStep("‹", words.previous, layer - 1)}
        <strong id="layer">${words.layer(layer)}</strong>
        ${this.renderStep("›", words.next, layer + 1)}
      </div>
      <fieldset aria-labelledby="layer" ?disabled=${this.locked}>
        ${STATES.map(
          (state) =>
            html`<label>
              <input
                type="radio"
                name="state"
                value=${state}
                .checked=${live(state === now)}
                @change=${() => {
                  this.change(withState(run, layer, state));
                }}
              />
              ${words.states[state]}
            </label>`,
        )}
      </fieldset>
      ${now === "no-attention" || now === "no-mlp" ? html`<p class="note">${words.halves}</p>` : nothing}
    `;
  }

  private renderStep(sign: string, label: string, to: number) {
    return html`<button
      class="quiet"
      type="button"
      aria-label=${label}
      ?disabled=${to < 0 || to >= this.layers}
      @click=${() => this.dispatchEvent(new LayerPicked(to))}
    >
      ${sign}
    </button>`;
  }

  private renderDepth(plan: RunPlan) {
    const words = strings.depth;
    const kept = words.kept(plan.layers.length, this.layers);
    return html`<div class="field">
      <span><label for="keep">${words.keep}</label> <span class="kept">${kept}</span></span>
      <input
        id="keep"
        type="range"
        min="1"
        max=${this.layers}
        aria-valuetext=${kept}
        .value=${live(String(plan.layers.length))}
        ?disabled=${this.locked}
        @input=${({ target }: Event) => {
          this.keep(plan, Number((target as HTMLInputElement).value));
        }}
      />
    </div>`;
  }

  private renderOrder() {
    const { order, orders } = strings.depth;
    return html`<label class="field">
      <span>${order}</span>
      <select
        ?disabled=${this.locked}
        @change=${({ target }: Event) => {
          this.order = (target as HTMLSelectElement).value as Order;
          if (this.plan !== null) this.keep(this.plan, this.plan.layers.length);
        }}
      >
        ${Object.entries(orders).map(
          ([value, name]) =>
            html`<option value=${value} ?selected=${value === this.order}>${name}</option>`,
        )}
      </select>
    </label>`;
  }

  private keep(plan: RunPlan, kept: number): void {
    const dropped = this.layers - kept;
    const first = this.order === "similarity" ? this.bestBlocks?.[dropped - 1] : undefined;
    const layers =
      first === undefined ? simple(this.layers, dropped) : without(this.layers, first, dropped);
    this.change(withLayers(runOf(plan), layers));
  }

  private change(change: PlanChange | null): void {
    this.refused = change !== null && !fits(change, this.layers);
    if (this.refused) this.requestUpdate();
    else this.dispatchEvent(new PlanChanged(change));
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-depth": Depth;
  }
}
