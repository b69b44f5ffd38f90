// The budget's page: what a model takes at any depth, in any storage. Nothing is loaded; it works without WebGPU.
import { css, html, LitElement, nothing } from "lit";
import { customElement, state } from "lit/decorators.js";
import {
  ARTICLE_CHOICE,
  readChoice,
  withModel,
  writeChoice,
  type Choice,
} from "../../budget/choice";
import { readConfig, type ReadConfig } from "../../budget/config";
import { LLAMA_2_70B, modelNamed, type Shape } from "../../budget/shapes";
import { storageNamed } from "../../budget/storage";
import { words } from "../../budget/words";
import { shared } from "../shared";
import "./article";
import "./bars";
import "./controls";
import type { ChoiceChanged, ConfigPasted } from "./controls";
import "./tables";

@customElement("hd-budget")
export class BudgetPage extends LitElement {
  @state() private choice: Choice = ARTICLE_CHOICE;
  @state() private ignored: readonly string[] = [];
  /** What was made of the pasted text; null before there is any. */
  @state() private pasted: ReadConfig | null = null;
  /** The last that figures were shown of: another model keeps its share of layers. */
  private known: Shape = LLAMA_2_70B.shape;

  static override styles = [
    shared,
    css`
      :host {
        display: block;
        max-width: 60rem;
        margin: 0 auto;
        padding: 0 clamp(0.9rem, 3vw, 2rem) 3rem;
      }

      header {
        padding-block: clamp(1.25rem, 4vw, 2.5rem) clamp(1rem, 2.5vw, 1.75rem);
      }

      h1 {
        font: 600 clamp(1.75rem, 5vw, 2.75rem) / 1.1 var(--serif);
        letter-spacing: -0.02em;
      }

      .lead {
        max-width: 58ch;
        margin-top: 0.6rem;
        color: var(--muted);
        text-wrap: pretty;
      }

      main {
        display: grid;
        grid-template-columns: minmax(0, 1fr);
        gap: 1.5rem;
      }

      .ignored {
        color: var(--warning);
      }

      .none {
        color: var(--muted);
      }

      a {
        display: inline-block;
        padding-block: 0.5rem;
        color: var(--full);
      }
    `,
  ];

  override connectedCallback(): void {
    super.connectedCallback();
    const { choice, ignored } = readChoice(location.search);
    this.choice = choice;
    this.ignored = ignored;
    this.known = this.shape ?? this.known;
  }

  override render() {
    const { choice, shape } = this;
    const storage = storageNamed(choice.storage);
    return html`
      <header>
        <a href="./">${words.back}</a>
        <h1>${words.title}</h1>
        <p class="lead">${words.lead}</p>
      </header>
      <main>
        ${
          this.ignored.length === 0
            ? nothing
            : html`<p class="ignored" role="status">${words.ignored(this.ignored)}</p>`
        }
        <hd-budget-controls
          .choice=${choice}
          .shape=${shape}
          .pasted=${this.pasted}
          @choice-changed=${this.choose}
          @config-pasted=${this.paste}
        ></hd-budget-controls>
        ${
          shape === null || storage === null
            ? html`<p class="none">${words.controls.none}</p>`
            : this.renderFigures(shape, choice)
        }
        <hd-budget-article></hd-budget-article>
      </main>
    `;
  }

  private renderFigures(shape: Shape, choice: Choice) {
    return html`
      <hd-budget-bars .shape=${shape} .choice=${choice}></hd-budget-bars>
      <hd-budget-tables .shape=${shape} .choice=${choice}></hd-budget-tables>
    `;
  }

  /** Null while nothing that can be used was pasted. */
  private get shape(): Shape | null {
    const named = modelNamed(this.choice.model);
    if (named !== null) return named.shape;
    return this.pasted !== null && "shape" in this.pasted ? this.pasted.shape : null;
  }

  private choose({ detail }: ChoiceChanged): void {
    this.change(detail);
  }

  private paste({ detail }: ConfigPasted): void {
    this.pasted = detail.trim() === "" ? null : readConfig(detail);
    this.change(this.choice);
  }

  private change(choice: Choice): void {
    this.choice = choice;
    this.ignored = [];
    const { shape } = this;
    if (shape !== null && shape !== this.known) {
      this.choice = withModel(choice, this.known, choice.model, shape);
      this.known = shape;
    }
    history.replaceState(null, "", location.pathname + writeChoice(this.choice));
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-budget": BudgetPage;
  }
}
