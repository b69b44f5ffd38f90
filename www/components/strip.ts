// The layers as a strip, first to last: what runs stands tall and filled, what is skipped lies low and hollow, and a muted half is
// hollow: attention above, the MLP below. Where layers may be changed, each is a button.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { stateOf } from "../change";
import type { PlanChange } from "../engine";
import { strings } from "../strings";
import type { LaneIndex } from "../turns";

/** The visitor picked a layer. */
export class LayerPicked extends CustomEvent<{ layer: number }> {
  constructor(layer: number) {
    super("layer-picked", { detail: { layer } });
  }
}

@customElement("hd-strip")
export class Strip extends LitElement {
  @property({ attribute: false }) run: PlanChange = { layers: [], muteAttention: [], muteMlp: [] };
  @property({ type: Number }) layers = 0;
  @property({ attribute: false }) lane: LaneIndex = 0;
  /** The layers that are here while the model loads; null once all are. */
  @property({ attribute: false }) arrived: ReadonlySet<number> | null = null;
  @property({ type: Boolean }) changeable = false;
  /** Not just now. */
  @property({ type: Boolean }) locked = false;
  /** The layer that is shown below; null where none is. */
  @property({ attribute: false }) picked: number | null = null;
  /** The layer that the tabulator comes to; arrows move on from there. */
  @state() private at = 0;

  static override styles = css`
    :host {
      display: block;
    }

    .strip {
      display: flex;
      height: clamp(2rem, 4.5vw, 3.25rem);
    }

    .cell {
      display: flex;
      flex: 1 1 0;
      align-items: flex-end;
      min-width: 0;
      height: 100%;
      padding: 0 clamp(0.5px, 0.3vw, 2px);
      border: 0;
      border-radius: 3px;
      background: none;
      color: inherit;
    }

    button.cell:not([aria-disabled="true"]) {
      cursor: pointer;
    }

    button.cell:focus-visible {
      outline: 2px solid currentcolor;
      outline-offset: 1px;
    }

    button.cell:not([aria-disabled="true"]):hover i {
      border-color: var(--ink);
    }

    i {
      box-sizing: border-box;
      width: 100%;
      height: 22%;
      border: 1px solid color-mix(in srgb, currentcolor 45%, transparent);
      border-radius: 2px;
    }

    i.kept {
      height: 100%;
    }

    i.here {
      background: currentcolor;
      border-color: currentcolor;
    }

    i.here.no-attention {
      background: linear-gradient(to bottom, transparent 50%, currentcolor 50%);
    }

    i.here.no-mlp {
      background: linear-gradient(to bottom, currentcolor 50%, transparent 50%);
    }

    .picked i {
      outline: 2px solid var(--ink);
      outline-offset: 1px;
    }

    @media (prefers-reduced-motion: no-preference) {
      i {
        transition:
          height 240ms ease,
          background-color 240ms ease;
      }

      :host([busy]) i.kept {
        animation: breathe 1.4s ease-in-out infinite alternate;
      }

      @keyframes breathe {
        to {
          opacity: 0.6;
        }
      }
    }
  `;

  override render() {
    const layers = Array.from({ length: this.layers }, (_, layer) => layer);
    if (!this.changeable) {
      const label = strings.lane.strip(this.run, this.layers);
      return html`<div class="strip" role="img" aria-label=${label}>
        ${layers.map((layer) => html`<span class="cell"><i class=${this.look(layer)}></i></span>`)}
      </div>`;
    }
    return html`<div
      class="strip"
      role="toolbar"
      aria-label=${strings.depth.strip(this.lane)}
      @keydown=${this.move}
    >
      ${layers.map((layer) => this.renderButton(layer))}
    </div>`;
  }

  private renderButton(layer: number) {
    const label = strings.depth.layerState(layer, stateOf(this.run, layer));
    return html`<button
      type="button"
      class="cell ${layer === this.picked ? "picked" : ""}"
      tabindex=${layer === Math.min(this.at, this.layers - 1) ? 0 : -1}
      title=${label}
      aria-label=${label}
      aria-expanded=${layer === this.picked}
      aria-disabled=${this.locked ? "true" : nothing}
      @click=${() => {
        this.at = layer;
        if (!this.locked) this.dispatchEvent(new LayerPicked(layer));
      }}
    >
      <i class=${this.look(layer)}></i>
    </button>`;
  }

  private look(layer: number): string {
    const state = stateOf(this.run, layer);
    if (state === "out") return "";
    const isHere = this.arrived === null || this.arrived.has(layer);
    return isHere ? `kept here ${state}` : "kept";
  }

  private move(event: KeyboardEvent): void {
    const to = { ArrowLeft: this.at - 1, ArrowRight: this.at + 1, Home: 0, End: this.layers - 1 }[
      event.key
    ];
    if (to === undefined) return;
    event.preventDefault();
    this.at = Math.max(0, Math.min(this.layers - 1, to));
    void this.updateComplete.then(() => {
      this.renderRoot.querySelector<HTMLElement>("[tabindex='0']")?.focus();
    });
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-strip": Strip;
  }
}
