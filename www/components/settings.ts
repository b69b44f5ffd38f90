// The settings: fields in, a Settings value out. A field that holds nonsense says so and changes nothing.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { live } from "lit/directives/live.js";
import type { Sampling } from "../engine";
import {
  DEFAULT_SETTINGS,
  NUMBER_RULES,
  readNumber,
  readStop,
  showStop,
  type NumberField,
  type Settings,
} from "../settings";
import { strings } from "../strings";
import { shared } from "./shared";

export class SettingsChanged extends CustomEvent<Settings> {
  constructor(settings: Settings) {
    super("settings-changed", { detail: settings });
  }
}

const FIELDS = Object.keys(NUMBER_RULES) as NumberField[];

@customElement("hd-settings")
export class SettingsForm extends LitElement {
  @property({ attribute: false }) settings: Settings = DEFAULT_SETTINGS;
  /** Fields whose text is no value for them: the text, and why. */
  @state() private wrong: Partial<Record<NumberField, { text: string; why: string } | undefined>> =
    {};

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
        grid-template-columns: repeat(auto-fill, minmax(min(100%, 13rem), 1fr));
        gap: 0.9rem 1rem;
      }

      .wide {
        grid-column: 1 / -1;
      }

      label {
        display: block;
        font-size: 0.85rem;
        font-weight: 600;
      }

      small {
        display: block;
        color: var(--muted);
        font-size: 0.75rem;
        line-height: 1.35;
      }

      small.wrong {
        color: var(--warning);
        font-weight: 600;
      }

      textarea {
        display: block;
        min-height: 3.4rem;
        resize: vertical;
      }

      .check {
        display: grid;
        grid-template-columns: auto 1fr;
        gap: 0 0.6rem;
        align-items: center;
      }

      .check input {
        width: 1.1rem;
        height: 1.1rem;
        accent-color: var(--full);
      }

      .check small {
        grid-column: 2;
      }
    `,
  ];

  override render() {
    const words = strings.settings;
    const { settings } = this;
    return html`<div class="fields">
      <div class="wide">
        <label for="system">${words.system}</label>
        <textarea
          id="system"
          rows="2"
          aria-describedby="system-hint"
          .value=${settings.system}
          @change=${(event: Event) => {
            this.change({ system: textOf(event) });
          }}
        ></textarea>
        <small id="system-hint">${words.systemHint}</small>
      </div>
      ${FIELDS.map((field) => this.renderNumber(field))}
      <div>
        <label for="stop">${words.stop}</label>
        <textarea
          id="stop"
          rows="2"
          aria-describedby="stop-hint"
          .value=${showStop(settings.stop)}
          @change=${(event: Event) => {
            this.change({ stop: readStop(textOf(event)) });
          }}
        ></textarea>
        <small id="stop-hint">${words.stopHint}</small>
      </div>
      ${this.renderSwitch("sharedHistory", words.sharedHistory, words.sharedHistoryHint)}
      ${this.renderSwitch("together", words.together, words.togetherHint)}
      <div class="wide">
        <button type="button" @click=${this.reset}>${words.reset}</button>
      </div>
    </div>`;
  }

  private renderNumber(field: NumberField) {
    const words = strings.settings;
    const { min, max, step } = NUMBER_RULES[field];
    const wrong = this.wrong[field];
    return html`<div>
      <label for=${field}>${words.labels[field]}</label>
      <input
        id=${field}
        type="number"
        inputmode="decimal"
        min=${min}
        max=${max}
        step=${step}
        name=${field}
        .value=${live(wrong?.text ?? String(numberOf(this.settings, field)))}
        aria-describedby="${field}-hint"
        aria-invalid=${wrong !== undefined}
        @change=${(event: Event) => {
          this.changeNumber(field, textOf(event));
        }}
      />
      <small id="${field}-hint">${words.hints[field]}</small>
      ${wrong === undefined ? nothing : html`<small class="wrong" role="alert">${wrong.why}</small>`}
    </div>`;
  }

  private renderSwitch(field: "sharedHistory" | "together", label: string, hint: string) {
    return html`<div class="check">
      <input
        id=${field}
        type="checkbox"
        aria-describedby="${field}-hint"
        name=${field}
        .checked=${this.settings[field]}
        @change=${(event: Event) => {
          this.change({ [field]: (event.target as HTMLInputElement).checked });
        }}
      />
      <label for=${field}>${label}</label>
      <small id="${field}-hint">${hint}</small>
    </div>`;
  }

  private changeNumber(field: NumberField, text: string): void {
    const read = readNumber(field, text);
    this.wrong = {
      ...this.wrong,
      [field]: typeof read === "number" ? undefined : { text, why: read.wrong },
    };
    if (typeof read !== "number") return;
    if (field === "maxTokens") this.change({ maxTokens: read });
    else this.change({ sampling: { ...this.settings.sampling, [field]: read } satisfies Sampling });
  }

  private reset(): void {
    this.wrong = {};
    this.change(DEFAULT_SETTINGS);
  }

  private change(part: Partial<Settings>): void {
    this.dispatchEvent(new SettingsChanged({ ...this.settings, ...part }));
  }
}

function numberOf({ maxTokens, sampling }: Settings, field: NumberField): number {
  return field === "maxTokens" ? maxTokens : sampling[field];
}

function textOf(event: Event): string {
  return (event.target as HTMLInputElement | HTMLTextAreaElement).value;
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-settings": SettingsForm;
  }
}
