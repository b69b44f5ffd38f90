// A scan's distances as the paper draws them (figure 4): the block's first layer across, its length upwards, every row scaled to
// its own least and most, the best block of every length framed. The same numbers stand in a table below.
import { css, html, LitElement, nothing, svg } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { bestBlocks, type Scan } from "../../scan";
import { strings } from "../../strings";
import { shared } from "../shared";
import { figures } from "../table";
import { viridis } from "./colours";

const LEFT = 44;
const TOP = 8;
const BOTTOM = 44;
/** Room for the cells, in either direction. */
const SPAN = 360;

@customElement("hd-heat-map")
export class HeatMap extends LitElement {
  @property({ attribute: false }) scan: Scan | null = null;
  /** The table is made once it is wanted: it may have thousands of cells. */
  @state() private tableWanted = false;

  static override styles = [
    shared,
    figures,
    css`
      :host {
        display: block;
        min-width: 0;
      }

      svg {
        display: block;
        width: 100%;
        max-width: 30rem;
        height: auto;
      }

      text {
        fill: var(--muted);
        font-size: 11px;
      }

      .frame {
        fill: none;
        stroke: #fff;
      }

      .around {
        fill: none;
        stroke: #13201f;
      }

      summary,
      figcaption {
        color: var(--muted);
        font-size: 0.8rem;
      }

      summary {
        cursor: pointer;
      }

      figure {
        margin: 0;
      }

      .scroll {
        max-height: 20rem;
        overflow: auto;
      }

      table {
        font-size: 0.75rem;
      }

      th,
      td {
        padding: 0.1rem 0.4rem;
        text-align: right;
      }
    `,
  ];

  override render() {
    const { scan } = this;
    if (scan === null || scan.distance.length === 0) return nothing;
    const words = strings.map;
    return html`<figure>
        ${this.renderMap(scan)}
        <figcaption>${words.heatCaption}</figcaption>
      </figure>
      <details
        @toggle=${({ target }: Event) => {
          this.tableWanted = (target as HTMLDetailsElement).open;
        }}
      >
        <summary>${words.table}</summary>
        ${this.tableWanted ? renderTable(scan) : nothing}
      </details>`;
  }

  private renderMap(scan: Scan) {
    const words = strings.map;
    const layers = scan.distance.length;
    // The block of all layers has one place only: nothing to compare, unless it is all there is.
    const longest = Math.max(1, layers - 1);
    const cell = SPAN / layers;
    const height = cell * longest;
    const best = bestBlocks(scan);
    const y = (n: number) => TOP + height - cell * n;
    const rows = scan.distance.slice(0, longest).map((row, index) => {
      const [least, most] = [Math.min(...row), Math.max(...row)];
      return row.map((distance, first) => {
        const share = most > least ? (distance - least) / (most - least) : 0;
        return svg`<rect x=${LEFT + cell * first} y=${y(index + 1)} width=${cell} height=${cell}
          fill=${viridis(share)}><title>${words.cell(first, index + 1, distance)}</title></rect>`;
      });
    });
    const inset = Math.max(1, cell * 0.22);
    const width = Math.min(2, Math.max(0.8, cell * 0.06));
    const frames = best.map((first, index) =>
      [2 * width + 1, width].map(
        (stroke, at) => svg`<rect class=${at === 0 ? "around" : "frame"} stroke-width=${stroke}
          x=${LEFT + cell * first + inset} y=${y(index + 1) + inset}
          width=${cell - 2 * inset} height=${cell - 2 * inset} pointer-events="none"></rect>`,
      ),
    );
    const step = tickStep(layers);
    const ticks = Array.from({ length: layers }, (_, at) => at).filter((at) => at % step === 0);
    return html`<svg
      viewBox="0 0 ${LEFT + SPAN + 8} ${TOP + height + BOTTOM}"
      role="img"
      aria-label=${words.heatLabel(layers)}
    >
      ${rows} ${frames}
      ${ticks.map(
        (layer) => svg`<text x=${LEFT + cell * (layer + 0.5)} y=${TOP + height + 14}
          text-anchor="middle">${layer + 1}</text>`,
      )}
      ${ticks
        .filter((at) => at < longest)
        .map(
          (at) => svg`<text x=${LEFT - 5} y=${y(at + 1) + cell / 2 + 4}
          text-anchor="end">${at + 1}</text>`,
        )}
      <text x=${LEFT + SPAN / 2} y=${TOP + height + 34} text-anchor="middle">${words.across}</text>
      <text transform="translate(12 ${TOP + height / 2}) rotate(-90)" text-anchor="middle">
        ${words.upwards}
      </text>
    </svg>`;
  }
}

function renderTable({ distance }: Scan) {
  const words = strings.map;
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${words.table}>
    <table>
      <caption class="visually-hidden">
        ${words.heatCaption}
      </caption>
      <thead>
        <tr>
          <th scope="col">${words.rowHead}</th>
          ${distance.map((_, first) => html`<th scope="col">${first + 1}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${distance.map(
          (row, index) =>
            html`<tr>
              <th scope="row">${index + 1}</th>
              ${row.map((value) => html`<td data-distance=${value}>${value.toFixed(4)}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

/** Layers from tick to tick: at most 17 ticks. */
export function tickStep(layers: number): number {
  return [1, 2, 4, 5, 8, 10, 20, 50, 100].find((step) => layers <= 17 * step) ?? 200;
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-heat-map": HeatMap;
  }
}
