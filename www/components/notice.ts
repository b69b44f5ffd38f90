// What an address brought along: a comparison that is asked again here, or why it cannot be.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property } from "lit/decorators.js";
import type { Read } from "../link";
import { strings } from "../strings";
import { shared } from "./shared";

@customElement("hd-notice")
export class Notice extends LitElement {
  @property({ attribute: false }) read: Read = { kind: "none" };
  /** Whether the answers are those that were shared; null while nobody knows. */
  @property({ attribute: false }) same: boolean | null = null;
  /** Plans that were asked for and that the pack lacks. */
  @property({ attribute: false }) unknownPlans: readonly string[] = [];
  /** Plans with changed layers that the model does not have. */
  @property({ attribute: false }) unfitPlans: readonly string[] = [];
  /** The page without what the address asks. */
  @property() home = "";

  static override styles = [
    shared,
    css`
      :host {
        display: block;
      }

      div {
        display: grid;
        gap: 0.25rem;
        margin-top: 1rem;
        padding: 0.7rem 1rem;
        border-left: 3px solid var(--full);
        background: var(--surface);
        font-size: 0.9rem;
        overflow-wrap: anywhere;
      }

      div.invalid {
        border-color: var(--warning);
        background: var(--warning-surface);
      }

      a {
        color: var(--full);
      }

      .quoted {
        color: var(--muted);
        white-space: pre-wrap;
      }
    `,
  ];

  override render() {
    const { read } = this;
    const words = strings.link;
    const wrong = [
      ...(this.unknownPlans.length === 0 ? [] : [words.unknownPlans(this.unknownPlans)]),
      ...(this.unfitPlans.length === 0 ? [] : [words.unfit(this.unfitPlans)]),
    ];
    const lacks = wrong.map((why) => html`<p>${why}</p>`);
    switch (read.kind) {
      case "invalid":
        return html`<div class="invalid" role="status"><p>${words.ignored(read.why)}</p></div>`;
      case "plans":
        return wrong.length === 0 ? nothing : html`<div role="status">${lacks}</div>`;
      case "shared": {
        const { questions, settings } = read.shared;
        const said = words.settings(settings);
        return html`<div role="status">
          <p>${words.opened(questions.length)} ${said} <a href=${this.home}>${words.own}</a></p>
          ${
            settings.system === ""
              ? nothing
              : html`<p class="quoted" dir="auto">${words.system(settings.system)}</p>`
          }
          ${lacks}
          ${
            this.same === null
              ? nothing
              : html`<p data-same=${this.same}>${this.same ? words.same : words.differs}</p>`
          }
        </div>`;
      }
      default:
        return nothing;
    }
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-notice": Notice;
  }
}
