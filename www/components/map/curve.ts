// Loss against depth, as it is measured: a line for each strategy, and guessing as a line across. The same numbers in a table.
import { css, html, LitElement, nothing, svg } from "lit";
import { customElement, property } from "lit/decorators.js";
import { STRATEGIES, type Curve, type Point, type Strategy } from "../../scan";
import { strings } from "../../strings";
import { shared } from "../shared";
import { figures } from "../table";
import { tickStep } from "./heat-map";

const WIDTH = 520;
const HEIGHT = 260;
const LEFT = 52;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 44;

@customElement("hd-curve")
export class CurveChart extends LitElement {
  @property({ attribute: false }) curve: Curve | null = null;
  @property({ type: Number }) layers = 0;
  /** Guessing among so many costs its logarithm. */
  @property({ type: Number }) vocabSize = 0;

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
        max-width: 42rem;
        height: auto;
      }

      text {
        fill: var(--muted);
        font-size: 11px;
      }

      .axis,
      .guess {
        stroke: var(--line);
      }

      .guess {
        stroke: var(--muted);
        stroke-dasharray: 4 3;
      }

      polyline {
        fill: none;
        stroke-width: 2;
      }

      .simple {
        stroke: var(--half);
        fill: var(--half);
      }

      .similarity {
        stroke: var(--full);
        fill: var(--full);
      }

      polyline.simple,
      polyline.similarity {
        fill: none;
      }

      polyline.simple {
        stroke-dasharray: 6 3;
      }

      text.simple,
      text.similarity {
        stroke: none;
      }

      figure {
        margin: 0;
      }

      figcaption,
      summary {
        color: var(--muted);
        font-size: 0.8rem;
      }

      summary {
        cursor: pointer;
      }

      .scroll {
        max-height: 20rem;
        overflow: auto;
      }
    `,
  ];

  override render() {
    const { curve } = this;
    if (curve === null || curve.simple.length === 0) return nothing;
    const words = strings.map;
    return html`<figure>
        ${this.renderChart(curve)}
        <figcaption>${words.curveCaption}</figcaption>
      </figure>
      <details>
        <summary>${words.table}</summary>
        ${this.renderTable(curve)}
      </details>`;
  }

  private get guess(): number {
    return Math.log(this.vocabSize);
  }

  private renderChart(curve: Curve) {
    const words = strings.map;
    const shares = STRATEGIES.flatMap((strategy) =>
      curve[strategy].map(({ loss }) => loss / this.guess),
    );
    const most = Math.max(1.05, ...shares);
    const x = (dropped: number) =>
      LEFT + ((WIDTH - LEFT - RIGHT) * dropped) / Math.max(1, this.layers - 1);
    const y = (share: number) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - share / most);
    const place = ({ dropped, loss }: Point) => `${x(dropped)},${y(loss / this.guess)}`;
    const line = (strategy: Strategy) => svg`
      <polyline class=${strategy} points=${curve[strategy].map(place).join(" ")}></polyline>
      ${curve[strategy].map(
        ({
          dropped,
          loss,
        }) => svg`<circle class=${strategy} cx=${x(dropped)} cy=${y(loss / this.guess)} r="3">
          <title>${words.point(strategy, dropped, loss, loss / this.guess)}</title></circle>`,
      )}`;
    const step = tickStep(this.layers);
    const ticks = Array.from({ length: this.layers }, (_, n) => n).filter((n) => n % step === 0);
    const shareStep = most > 2.5 ? 1 : most > 1.2 ? 0.5 : 0.25;
    const shareTicks = Array.from(
      { length: Math.floor(most / shareStep) + 1 },
      (_, at) => at * shareStep,
    );
    const bottom = HEIGHT - BOTTOM;
    return html`<svg
      viewBox="0 0 ${WIDTH} ${HEIGHT}"
      role="img"
      aria-label=${words.curveLabel(curve)}
    >
      <line class="axis" x1=${LEFT} y1=${bottom} x2=${WIDTH - RIGHT} y2=${bottom}></line>
      <line class="axis" x1=${LEFT} y1=${TOP} x2=${LEFT} y2=${bottom}></line>
      <line class="guess" x1=${LEFT} y1=${y(1)} x2=${WIDTH - RIGHT} y2=${y(1)}></line>
      <text x=${LEFT + 6} y=${y(1) - 4}>${words.guessing}</text>
      ${ticks.map((n) => svg`<text x=${x(n)} y=${bottom + 14} text-anchor="middle">${n}</text>`)}
      ${shareTicks.map(
        (share) => svg`<text x=${LEFT - 6} y=${y(share) + 4} text-anchor="end">${share}</text>`,
      )}
      <text x=${(LEFT + WIDTH) / 2} y=${bottom + 34} text-anchor="middle">${words.dropped}</text>
      <text transform="translate(12 ${(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">
        ${words.lossShare}
      </text>
      ${STRATEGIES.map(line)}
      ${STRATEGIES.map(
        (strategy, at) => svg`<text class=${strategy} x=${WIDTH - RIGHT} y=${bottom - 10 - 14 * at}
          text-anchor="end">${words.strategies[strategy]}</text>`,
      )}
    </svg>`;
  }

  private renderTable(curve: Curve) {
    const words = strings.map;
    return html`<div class="scroll" tabindex="0" role="region" aria-label=${words.curveCaption}>
      <table>
        <thead>
          <tr>
            <th scope="col">${words.dropped}</th>
            ${STRATEGIES.map((strategy) => html`<th scope="col">${words.lossOf(strategy)}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${curve.simple.map(
            ({ dropped }, at) =>
              html`<tr>
                <th scope="row">${dropped}</th>
                ${STRATEGIES.map((strategy) => this.renderLoss(strategy, curve[strategy][at]))}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
  }

  private renderLoss(strategy: Strategy, point: Point | undefined) {
    if (point === undefined) return html`<td></td>`;
    const { loss } = point;
    return html`<td data-strategy=${strategy} data-loss=${loss}>
      ${strings.map.loss(loss, loss / this.guess)}
    </td>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-curve": CurveChart;
  }
}
