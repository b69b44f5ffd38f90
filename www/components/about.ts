// What the visitor looks at, and what it does not prove.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property } from "lit/decorators.js";
import type { Opened } from "../protocol";
import { strings } from "../strings";
import { shared } from "./shared";

@customElement("hd-about")
export class About extends LitElement {
  @property({ attribute: false }) opened: Opened | null = null;
  @property({ type: Boolean }) foreign = false;

  static override styles = [
    shared,
    css`
      :host {
        display: block;
        padding-block: 1.5rem 3rem;
        color: var(--muted);
        font-size: 0.9rem;
      }

      h2 {
        color: var(--ink);
        font: 600 1.05rem/1.4 var(--serif);
      }

      div {
        columns: 2 24rem;
        column-gap: 2rem;
      }

      p {
        padding-top: 0.6rem;
        break-inside: avoid;
        overflow-wrap: anywhere;
      }

      a {
        color: var(--full);
      }
    `,
  ];

  override render() {
    const words = strings.about;
    const { opened } = this;
    return html`
      <h2>${words.title}</h2>
      <div>
        ${this.foreign ? nothing : html`<p>${words.builtIn}</p>`}
        <p>${words.claim}</p>
        ${opened === null ? nothing : html`<p>${words.other(opened.pack)}</p>`}
        <p>
          ${words.measure} ${words.local}
          ${opened === null ? nothing : words.adapter(opened.adapter)}
        </p>
      </div>
      <p><a href="./budget.html">${words.budget}</a></p>
    `;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-about": About;
  }
}
