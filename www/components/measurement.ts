// What measuring again and again came to: medians and spreads, lane by lane, and what the device could do at the best.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property } from "lit/decorators.js";
import { cost, shareOfLimit } from "../cost";
import type { PackInfo } from "../engine";
import * as format from "../format";
import type { LaneMeasured, Measured, Measurement, Spread } from "../measure";
import { strings } from "../strings";
import { shared } from "./shared";
import { figures } from "./table";

@customElement("hd-measurement")
export class MeasurementView extends LitElement {
  @property({ attribute: false }) measurement: Measurement | null = null;
  @property({ attribute: false }) pack: PackInfo | null = null;

  static override styles = [
    shared,
    figures,
    css`
      :host {
        display: block;
      }

      p,
      caption {
        color: var(--muted);
        font-size: 0.85rem;
        text-align: left;
        text-wrap: pretty;
      }

      p {
        margin-top: 0.5rem;
      }

      caption {
        padding-bottom: 0.4rem;
      }

      table {
        width: 100%;
        margin-top: 0.75rem;
      }

      th,
      td {
        padding: 0.3rem 0.5rem 0.3rem 0;
        vertical-align: top;
      }

      tbody th {
        color: var(--muted);
      }
    `,
  ];

  override render() {
    const { measurement } = this;
    const words = strings.measure;
    switch (measurement?.kind) {
      case "running":
        return html`<p role="status">${words.running(measurement.done, measurement.of)}</p>`;
      case "hidden":
        return html`<p role="status">${words.hidden}</p>`;
      case "stopped":
        return html`<p role="status">${words.stopped}</p>`;
      case "failed":
        return html`<p role="status">${measurement.why}</p>`;
      case "measured":
        return this.pack === null ? nothing : renderTable(measurement, this.pack);
      default:
        return nothing;
    }
  }
}

function renderTable(measured: Measured, pack: PackInfo) {
  const words = strings.measure;
  const rate = (figure: Spread) => `${shown(figure, format.tokensPerSecond)} ${words.unit}`;
  const costOf = ({ plan, context }: LaneMeasured) => cost(pack, plan, context);
  const share = (lane: LaneMeasured, speed: number) =>
    shareOfLimit(costOf(lane), speed, measured.bandwidth.bytesPerSecond);
  const [promptTokens = 0] = measured.promptTokens;
  const rows: [string, (lane: LaneMeasured) => string][] = [
    [strings.stats.decode, (lane) => rate(lane.decodeTokensPerSecond)],
    [strings.stats.firstToken, (lane) => shown(lane.timeToFirstTokenMs, format.milliseconds)],
    [words.prompt(promptTokens), (lane) => rate(lane.prefillTokensPerSecond)],
    [strings.stats.read, (lane) => format.bytes(costOf(lane).bytes)],
    [strings.stats.compute, (lane) => format.flops(costOf(lane).flops)],
    [strings.stats.share, (lane) => format.percent(share(lane, lane.decodeTokensPerSecond.median))],
  ];
  return html`<table>
      <caption>
        ${words.caption(measured)}
      </caption>
      <thead>
        <tr>
          <th scope="col">${words.figure}</th>
          ${measured.lanes.map(({ plan }) => html`<th scope="col">${strings.lane.of(plan, pack.layers)}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          ([name, value]) =>
            html`<tr>
              <th scope="row">${name}</th>
              ${measured.lanes.map((lane) => html`<td>${value(lane)}</td>`)}
            </tr>`,
        )}
        <tr>
          <th scope="row">${words.ratio}</th>
          <td colspan=${measured.lanes.length} data-ratio=${measured.ratio.median}>
            ${shown(measured.ratio, format.ratio)}
          </td>
        </tr>
      </tbody>
    </table>
    <p>${words.limit(measured)}</p>`;
}

function shown({ median, least, most }: Spread, as: (value: number) => string): string {
  return strings.measure.spread(as(median), as(least), as(most));
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-measurement": MeasurementView;
  }
}
