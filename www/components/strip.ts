// The layers as a strip, first to last: what runs stands tall and filled, what is skipped lies low and hollow.
import { css, html, LitElement } from "lit";
import { customElement, property } from "lit/decorators.js";
import { strings } from "../strings";

@customElement("hd-strip")
export class Strip extends LitElement {
  @property({ attribute: false }) kept: readonly number[] = [];
  @property({ type: Number }) layers = 0;

  /** The layers that are here while the model loads; null once all are. */
  @property({ attribute: false }) arrived: ReadonlySet<number> | null = null;

  static override styles = css`
    :host {
      display: block;
    }

    .strip {
      display: flex;
      align-items: flex-end;
      gap: clamp(1px, 0.6%, 4px);
      height: clamp(2rem, 4.5vw, 3.25rem);
    }

    i {
      flex: 1 1 0;
      min-width: 0;
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
    const kept = new Set(this.kept);
    const look = (layer: number) => {
      if (!kept.has(layer)) return "";
      return this.arrived === null || this.arrived.has(layer) ? "kept here" : "kept";
    };
    const looks = Array.from({ length: this.layers }, (_, layer) => look(layer));
    return html`<div
      class="strip"
      role="img"
      aria-label=${strings.lane.strip(this.kept, this.layers)}
    >
      ${looks.map((name) => html`<i class=${name}></i>`)}
    </div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-strip": Strip;
  }
}
