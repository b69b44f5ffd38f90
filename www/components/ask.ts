// The question box and what goes with it: ask or stop, regenerate, new conversation.
import { css, html, LitElement } from "lit";
import { customElement, property, query } from "lit/decorators.js";
import { strings } from "../strings";
import { shared } from "./shared";

export class Asked extends CustomEvent<{ question: string }> {
  constructor(question: string) {
    super("asked", { detail: { question } });
  }
}

@customElement("hd-ask")
export class Ask extends LitElement {
  /** A model is there to answer. */
  @property({ type: Boolean }) ready = false;
  /** How many lanes a question goes to. */
  @property({ type: Number }) lanes = 2;
  @property({ type: Boolean }) running = false;
  /** There is a conversation to go on with or to leave. */
  @property({ type: Boolean }) started = false;
  @query("textarea") private readonly box!: HTMLTextAreaElement;

  static override styles = [
    shared,
    css`
      :host {
        display: block;
      }

      form {
        display: grid;
        grid-template-columns: 1fr auto;
        gap: 0.5rem;
        padding: 0.5rem;
        border: 1px solid var(--line);
        border-radius: calc(var(--radius) + 4px);
        background: var(--surface);
        box-shadow: 0 4px 24px rgb(0 0 0 / 7%);
      }

      form:focus-within {
        border-color: var(--full);
      }

      textarea {
        min-height: 2.75rem;
        max-height: 9rem;
        padding: 0.55rem 0.6rem;
        border: 0;
        background: transparent;
        field-sizing: content;
        resize: none;
      }

      /* The form around it shows the focus. */
      textarea:focus-visible {
        outline: none;
      }

      form > button {
        align-self: end;
        min-width: 6.2rem;
        min-height: 2.75rem;
      }

      .more {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        margin-top: 0.25rem;
      }

      .hint {
        margin-left: auto;
        color: var(--muted);
        font-size: 0.75rem;
      }

      @media (max-width: 45rem) {
        .hint {
          display: none;
        }
      }
    `,
  ];

  override render() {
    const words = strings.ask;
    return html`
      <form @submit=${this.submit} @keydown=${this.key}>
        <label class="visually-hidden" for="question">${words.label}</label>
        <textarea
          id="question"
          rows="1"
          enterkeyhint="send"
          placeholder=${words.placeholder}
          aria-describedby="hint"
        ></textarea>
        <button class="primary" ?disabled=${!this.ready && !this.running}>
          ${this.running ? words.stop : this.lanes === 3 ? words.sendThree : words.send}
        </button>
      </form>
      <div class="more">
        <button
          class="quiet"
          type="button"
          ?disabled=${!this.ready || !this.started || this.running}
          @click=${this.tell("regenerate")}
        >
          ${words.regenerate}
        </button>
        <button
          class="quiet"
          type="button"
          ?disabled=${!this.started || this.running}
          @click=${this.startAnew}
        >
          ${words.newConversation}
        </button>
        <slot></slot>
        <span class="hint" id="hint">${words.hint}</span>
      </div>
    `;
  }

  /** Puts a question into the box and asks it. */
  ask(question: string): void {
    this.box.value = question;
    this.send();
  }

  private submit(event: Event): void {
    event.preventDefault();
    if (this.running) this.dispatchEvent(new CustomEvent("stop"));
    else this.send();
  }

  private send(): void {
    const question = this.box.value.trim();
    if (!this.ready || this.running || question === "") return;
    this.box.value = "";
    this.dispatchEvent(new Asked(question));
  }

  private startAnew(): void {
    this.dispatchEvent(new CustomEvent("new-conversation"));
    this.box.focus();
  }

  private tell(type: string): () => void {
    return () => this.dispatchEvent(new CustomEvent(type));
  }

  private key(event: KeyboardEvent): void {
    // Enter also ends an input method's word; that one is not ours.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.send();
    }
    if (event.key === "Escape" && this.running) this.dispatchEvent(new CustomEvent("stop"));
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-ask": Ask;
  }
}
