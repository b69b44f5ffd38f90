// What the budget is of: the model, or a pasted config.json; layers, bits and context by slider; the bandwidth.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { live } from "lit/directives/live.js";
import {
  ARTICLE_CHOICE,
  BANDWIDTH,
  contextStops,
  readBandwidth,
  type Choice,
} from "../../budget/choice";
import type { ReadConfig } from "../../budget/config";
import { budget, parameterCount } from "../../budget/reckon";
import { MODELS, type Shape } from "../../budget/shapes";
import { STORAGES, type Storage } from "../../budget/storage";
import { words } from "../../budget/words";
import * as format from "../../format";
import { shared } from "../shared";

export class ChoiceChanged extends CustomEvent<Choice> {
  constructor(choice: Choice) {
    super("choice-changed", { detail: choice });
  }
}

export class ConfigPasted extends CustomEvent<string> {
  constructor(text: string) {
    super("config-pasted", { detail: text });
  }
}

interface Slider {
  id: string;
  label: string;
  /** What the thumb stands for, in words. */
  says: string;
  at: number;
  last: number;
  hint?: string | undefined;
  move: (at: number) => Partial<Choice>;
}

@customElement("hd-budget-controls")
export class BudgetControls extends LitElement {
  @property({ attribute: false }) choice: Choice = ARTICLE_CHOICE;
  /** Null while nothing that can be used was pasted. */
  @property({ attribute: false }) shape: Shape | null = null;
  @property({ attribute: false }) pasted: ReadConfig | null = null;
  /** As it was pasted; it is still there after a look at another model. */
  private text = "";
  /** Text that is no bandwidth. */
  @state() private wrongBandwidth: string | null = null;

  static override styles = [
    shared,
    css`
      :host {
        display: block;
        padding: 1rem;
        border: 1px solid var(--line);
        border-radius: var(--radius);
        background: var(--surface);
      }

      .fields {
        display: grid;
        grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr));
        gap: 1rem 1.5rem;
      }

      .wide {
        grid-column: 1 / -1;
      }

      .row {
        display: flex;
        flex-wrap: wrap;
        justify-content: space-between;
        gap: 0 0.75rem;
        font-size: 0.85rem;
      }

      label {
        display: block;
        font-size: 0.85rem;
        font-weight: 600;
      }

      .says {
        font-variant-numeric: tabular-nums;
      }

      input[type="range"] {
        height: 2rem;
        margin: 0;
        padding: 0;
        border: 0;
        background: transparent;
        accent-color: var(--half);
        cursor: pointer;
      }

      small {
        display: block;
        padding-top: 0.2rem;
        color: var(--muted);
        font-size: 0.75rem;
        line-height: 1.35;
      }

      .wrong {
        color: var(--warning);
        font-weight: 600;
        overflow-wrap: anywhere;
      }

      textarea {
        display: block;
        min-height: 8rem;
        font:
          0.8rem/1.4 ui-monospace,
          monospace;
        resize: vertical;
      }
    `,
  ];

  override render() {
    const controls = words.controls;
    return html`<div class="fields" role="group" aria-label=${controls.label}>
      <div>
        <label for="model">${controls.model}</label>
        <select id="model" @change=${this.chooseModel}>
          ${MODELS.map(
            ({ name, title }) =>
              html`<option value=${name} ?selected=${name === this.choice.model}>${title}</option>`,
          )}
          <option value="" ?selected=${this.choice.model === ""}>${controls.pasted}</option>
        </select>
      </div>
      ${this.choice.model === "" ? this.renderPaste() : nothing}
      ${this.shape === null ? nothing : this.sliders(this.shape).map((slider) => this.renderSlider(slider))}
      ${this.renderBandwidth()}
      <div class="wide">
        <button type="button" @click=${this.setArticle}>${controls.article}</button>
      </div>
    </div>`;
  }

  private renderPaste() {
    const controls = words.controls;
    const { pasted } = this;
    const isWrong = pasted !== null && "wrong" in pasted;
    return html`<div class="wide">
      <label for="config">${controls.paste}</label>
      <textarea
        id="config"
        rows="8"
        spellcheck="false"
        autocomplete="off"
        aria-describedby="config-hint config-said"
        aria-invalid=${isWrong}
        .value=${live(this.text)}
        @input=${(event: Event) => {
          this.text = (event.target as HTMLTextAreaElement).value;
          this.dispatchEvent(new ConfigPasted(this.text));
        }}
      ></textarea>
      <small id="config-hint">${controls.pasteHint}</small>
      <div id="config-said" role="status">
        ${
          pasted === null
            ? nothing
            : isWrong
              ? html`<small class="wrong">${pasted.wrong}</small>`
              : html`<small>${this.read(pasted.shape)}</small>`
        }
      </div>
    </div>`;
  }

  private read(shape: Shape): string {
    const { layers } = shape;
    return words.controls.pasteReady(layers, format.parameters(parameterCount(shape, layers)));
  }

  private sliders(shape: Shape): Slider[] {
    const controls = words.controls;
    const { dropped, storage, context } = this.choice;
    const stops = contextStops(shape);
    const storages = byBits(shape);
    const chosen = storages.findIndex(({ name }) => name === storage);
    return [
      {
        ...{ id: "dropped", label: controls.dropped, at: dropped, last: shape.layers - 1 },
        says: controls.droppedValue(dropped, shape.layers),
        move: (at) => ({ dropped: at }),
      },
      {
        ...{ id: "bits", label: controls.bits, at: chosen, last: storages.length - 1 },
        says: controls.bitsValue(storage, storages[chosen]?.bits ?? 0),
        hint: words.notes[storage],
        move: (at) => ({ storage: storages[at]?.name ?? storage }),
      },
      {
        ...{ id: "context", label: controls.context, at: stops.indexOf(context) },
        last: stops.length - 1,
        says: controls.contextValue(context),
        move: (at) => ({ context: stops[at] ?? context }),
      },
    ];
  }

  private renderSlider({ id, label, says, at, last, hint, move }: Slider) {
    return html`<div>
      <div class="row">
        <label for=${id}>${label}</label>
        <span class="says" data-says=${id}>${says}</span>
      </div>
      <input
        id=${id}
        type="range"
        min="0"
        max=${last}
        step="1"
        .value=${live(String(at))}
        aria-valuetext=${says}
        aria-describedby=${hint === undefined ? nothing : `${id}-hint`}
        @input=${(event: Event) => {
          this.change(move((event.target as HTMLInputElement).valueAsNumber));
        }}
      />
      ${hint === undefined ? nothing : html`<small id="${id}-hint">${hint}</small>`}
    </div>`;
  }

  private renderBandwidth() {
    const controls = words.controls;
    const wrong = this.wrongBandwidth;
    const text = wrong ?? String(this.choice.gigabytesPerSecond);
    return html`<div>
      <label for="bandwidth">${controls.bandwidth}</label>
      <input
        id="bandwidth"
        type="number"
        inputmode="decimal"
        min=${BANDWIDTH.min}
        max=${BANDWIDTH.max}
        step="any"
        .value=${live(text)}
        aria-describedby="bandwidth-hint"
        aria-invalid=${wrong !== null}
        @change=${this.changeBandwidth}
      />
      <small id="bandwidth-hint">${controls.bandwidthHint}</small>
      ${
        wrong === null
          ? nothing
          : html`<small class="wrong" role="alert"
              >${controls.bandwidthWrong(BANDWIDTH.min, BANDWIDTH.max)}</small
            >`
      }
    </div>`;
  }

  private changeBandwidth(event: Event): void {
    const text = (event.target as HTMLInputElement).value;
    const read = readBandwidth(text);
    this.wrongBandwidth = read === null ? text : null;
    if (read !== null) this.change({ gigabytesPerSecond: read });
  }

  private chooseModel(event: Event): void {
    this.change({ model: (event.target as HTMLSelectElement).value });
  }

  private setArticle(): void {
    this.wrongBandwidth = null;
    this.dispatchEvent(new ChoiceChanged(ARTICLE_CHOICE));
  }

  private change(part: Partial<Choice>): void {
    this.dispatchEvent(new ChoiceChanged({ ...this.choice, ...part }));
  }
}

/** The storages in the order of the bits that this model's weights take in them. */
function byBits(shape: Shape): { name: string; bits: number }[] {
  const bits = (storage: Storage) =>
    budget({ shape, layers: shape.layers, storage, context: 0 }).bitsPerWeight;
  const all = STORAGES.map((storage) => ({ name: storage.name, bits: bits(storage) }));
  return all.sort((a, b) => a.bits - b.bits);
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-budget-controls": BudgetControls;
  }
}
