// From the whole model in 16 bits to what is chosen, drawn to scale.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property } from "lit/decorators.js";
import { ARTICLE_CHOICE, type Choice } from "../../budget/choice";
import { size } from "../../budget/format";
import { budget, type Budget } from "../../budget/reckon";
import { LLAMA_2_70B, type Shape } from "../../budget/shapes";
import { storageNamed } from "../../budget/storage";
import { words } from "../../budget/words";
import { shared } from "../shared";

/** Of the drawing's width. */
const UNITS = 1000;

@customElement("hd-budget-bars")
export class BudgetBars extends LitElement {
  @property({ attribute: false }) shape: Shape = LLAMA_2_70B.shape;
  @property({ attribute: false }) choice: Choice = ARTICLE_CHOICE;

  static override styles = [
    shared,
    css`
      :host {
        display: block;
      }

      h2 {
        font: 600 clamp(1.25rem, 4vw, 1.9rem) / 1.2 var(--serif);
        text-wrap: balance;
      }

      ul {
        display: grid;
        gap: 0.75rem;
        padding-top: 1rem;
        list-style: none;
      }

      li {
        --bar: var(--muted);
      }

      li.full {
        --bar: var(--full);
      }

      li.half {
        --bar: var(--half);
      }

      .row {
        display: flex;
        flex-wrap: wrap;
        justify-content: space-between;
        gap: 0 1rem;
        font-size: 0.9rem;
      }

      .bytes {
        font-variant-numeric: tabular-nums;
      }

      .bytes b {
        color: var(--bar);
      }

      .cache,
      p {
        color: var(--muted);
      }

      svg {
        display: block;
        width: 100%;
        height: 1rem;
        border-radius: 3px;
        background: var(--line);
      }

      rect {
        fill: var(--bar);
      }

      rect.pale {
        opacity: 0.45;
      }

      p {
        padding-top: 0.5rem;
        font-size: 0.8rem;
      }
    `,
  ];

  override render() {
    const { layers } = this.shape;
    const { storage, dropped } = this.choice;
    const kept = layers - dropped;
    const bars = [
      { kind: "whole", name: words.bars.full(layers), of: this.reckon(layers, "f16") },
      { kind: "full", name: words.bars.stored(layers, storage), of: this.reckon(layers, storage) },
      {
        kind: "half",
        name: words.bars.cut(kept, layers, storage),
        of: this.reckon(kept, storage),
      },
    ] as const;
    const most = Math.max(...bars.map(({ of }) => of?.memoryBytes ?? 0));
    const [before, after] = [bars[0].of?.weightBytes ?? 0, bars[2].of?.weightBytes ?? 0];
    return html`
      <h2 aria-live="polite">${words.bars.headline(size(before), size(after), before / after)}</h2>
      <ul aria-label=${words.bars.label}>
        ${bars.map(({ kind, name, of }) => (of === null ? nothing : renderBar(kind, name, of, most)))}
      </ul>
      <p>${words.bars.legend}</p>
    `;
  }

  private reckon(layers: number, name: string): Budget | null {
    const { shape, choice } = this;
    const storage = storageNamed(name);
    return storage && budget({ shape, layers, storage, context: choice.context });
  }
}

function renderBar(kind: string, name: string, of: Budget, most: number) {
  const width = (bytes: number) => (UNITS * bytes) / most;
  return html`<li class=${kind} data-bar=${kind}>
    <div class="row">
      <span>${name}</span>
      <span class="bytes"
        ><b>${size(of.weightBytes)}</b>
        <span class="cache">${words.bars.cache(size(of.cacheBytes))}</span></span
      >
    </div>
    <svg viewBox="0 0 ${UNITS} 1" preserveAspectRatio="none" aria-hidden="true">
      <rect width=${width(of.weightBytes)} height="1"></rect>
      <rect class="pale" x=${width(of.weightBytes)} width=${width(of.cacheBytes)} height="1"></rect>
    </svg>
  </li>`;
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-budget-bars": BudgetBars;
  }
}
