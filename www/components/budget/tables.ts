// Every figure of the whole model and of the cut one, side by side, and the cards that they fit.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property } from "lit/decorators.js";
import { CARDS, fits, type Card } from "../../budget/cards";
import { ARTICLE_CHOICE, type Choice } from "../../budget/choice";
import { rate, withPoint } from "../../budget/format";
import { budget, tokensPerSecond, type Budget } from "../../budget/reckon";
import { LLAMA_2_70B, type Shape } from "../../budget/shapes";
import { storageNamed } from "../../budget/storage";
import { words } from "../../budget/words";
import * as format from "../../format";
import { shared } from "../shared";
import { tableStyles } from "./table-styles";

/** The whole model, and what is left of it. */
type Pair = readonly [all: Budget, kept: Budget];

interface Row {
  name: string;
  value: (of: Budget) => number;
  shown: (value: number) => string;
  /** The figure to its last digit, below the short one. */
  exact?: (value: number) => string;
  /** What the cut model's figure is to the whole one's; a percentage where nothing else is said. */
  ratio?: (ratio: number) => string;
}

@customElement("hd-budget-tables")
export class BudgetTables extends LitElement {
  @property({ attribute: false }) shape: Shape = LLAMA_2_70B.shape;
  @property({ attribute: false }) choice: Choice = ARTICLE_CHOICE;

  static override styles = [
    shared,
    tableStyles,
    css`
      :host {
        display: grid;
        grid-template-columns: minmax(0, 1fr);
        gap: 1.5rem;
      }

      .no {
        color: var(--muted);
      }

      details {
        color: var(--muted);
        font-size: 0.85rem;
      }

      summary {
        padding-block: 0.5rem;
        cursor: pointer;
      }

      ul {
        padding-left: 1.2rem;
      }
    `,
  ];

  override render() {
    const pair = this.pair(2);
    const wide = this.pair(4);
    if (pair === null || wide === null) return nothing;
    return html`${this.renderFigures(pair, wide)}${this.renderCards(pair)}`;
  }

  private renderFigures(pair: Pair, wide: Pair) {
    const { figures } = words;
    const { gigabytesPerSecond } = this.choice;
    const inBytes = { shown: figures.bytes, exact: figures.exactly };
    const cache = (of: Budget) => of.cacheBytes;
    const rows: (Row & { pair?: Pair })[] = [
      {
        name: figures.parameters,
        value: (of) => of.parameters,
        shown: format.parameters,
        exact: figures.exactly,
      },
      { name: figures.weightBytes, value: (of) => of.weightBytes, ...inBytes },
      {
        name: figures.bits,
        value: (of) => of.bitsPerWeight,
        shown: (bits) => withPoint(bits, 3),
        ratio: () => "",
      },
      { name: figures.cache16, value: cache, ...inBytes },
      { name: figures.cache32, value: cache, ...inBytes, pair: wide },
      { name: figures.memory, value: (of) => of.memoryBytes, ...inBytes },
      { name: figures.flops, value: (of) => of.flopsPerToken, shown: figures.flopsOf },
      { name: figures.read, value: (of) => of.readBytesPerToken, ...inBytes },
      {
        name: figures.bound(gigabytesPerSecond),
        value: (of) => tokensPerSecond(of, gigabytesPerSecond * 1e9),
        shown: rate,
        ratio: figures.times,
      },
    ];
    return html`<section>
      <table>
        <caption>
          ${figures.caption(this.choice.storage)}
        </caption>
        ${renderHead(figures.figure, pair)}
        <tbody>
          ${rows.map((row) => renderRow(row, row.pair ?? pair))}
        </tbody>
      </table>
      <details>
        <summary>${figures.how}</summary>
        <ul>
          ${figures.formulas.map((formula) => html`<li>${formula}</li>`)}
        </ul>
      </details>
    </section>`;
  }

  private renderCards(pair: Pair) {
    const { cards } = words;
    return html`<section>
      <table class="cards">
        <caption>
          ${cards.caption}
        </caption>
        ${renderHead(cards.card, pair)}
        <tbody>
          ${CARDS.map(
            (card) =>
              html`<tr data-card=${card.name}>
                <th scope="row">
                  ${card.name}
                  <small>${cards.memoryOf(card.memoryGib, card.bytesPerSecond)}</small>
                </th>
                ${pair.map((of) => renderFit(card, of))}
              </tr>`,
          )}
        </tbody>
      </table>
      <p class="note">${cards.note}</p>
    </section>`;
  }

  private pair(cacheNumberBytes: 2 | 4): Pair | null {
    const { shape } = this;
    const { dropped, context } = this.choice;
    const storage = storageNamed(this.choice.storage);
    if (storage === null) return null;
    const reckon = (layers: number) =>
      budget({ shape, layers, storage, context, cacheNumberBytes });
    return [reckon(shape.layers), reckon(shape.layers - dropped)];
  }
}

function renderHead(first: string, [all, kept]: Pair) {
  return html`<thead>
    <tr>
      <th scope="col">${first}</th>
      <th scope="col" class="full">${words.figures.all(all.layers)}</th>
      <th scope="col" class="half">${words.figures.kept(kept.layers)}</th>
    </tr>
  </thead>`;
}

function renderRow({ name, value, shown, exact, ratio }: Row, [all, kept]: Pair) {
  const share = (ratio ?? words.figures.share)(value(kept) / value(all));
  const cell = (of: Budget) => html`
    ${shown(value(of))}
    ${exact === undefined ? nothing : html`<small class="exact">${exact(value(of))}</small>`}
  `;
  return html`<tr>
    <th scope="row">${name}</th>
    <td>${cell(all)}</td>
    <td>${cell(kept)}<small>${share}</small></td>
  </tr>`;
}

function renderFit(card: Card, of: Budget) {
  const { cards } = words;
  return fits(card, of.memoryBytes)
    ? html`<td>${cards.upTo(tokensPerSecond(of, card.bytesPerSecond))}</td>`
    : html`<td class="no">${cards.no}</td>`;
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-budget-tables": BudgetTables;
  }
}
