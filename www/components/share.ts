// What can be taken away from a comparison: a link that asks it again, a picture, a report for programs.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { Link } from "../link";
import { fileName, save } from "../save";
import { strings } from "../strings";
import type { Exchange } from "../turns";
import { shared } from "./shared";

/** Whoever knows the whole page makes what is taken away. */
export interface Sharer {
  /** Null where the question is too long. */
  link(exchange: Exchange): Link | null;
  picture(exchange: Exchange): Promise<Blob>;
  report(exchange: Exchange): Blob;
}

@customElement("hd-share")
export class Share extends LitElement {
  @property({ attribute: false }) sharer: Sharer | null = null;
  @property({ attribute: false }) exchange: Exchange | null = null;
  @state() private link: Link | null = null;
  /** What came of the last button. */
  @state() private said = "";

  static override styles = [
    shared,
    css`
      :host {
        display: block;
        min-width: 0;
      }

      .buttons {
        display: flex;
        flex-wrap: wrap;
        gap: 0.25rem;
      }

      .made {
        display: grid;
        gap: 0.35rem;
        margin-top: 0.5rem;
      }

      input {
        color: var(--muted);
        font-size: 0.85rem;
      }

      p {
        color: var(--muted);
        font-size: 0.85rem;
      }
    `,
  ];

  override render() {
    const words = strings.share;
    return html`
      <div class="buttons" role="group" aria-label=${words.label}>
        <button class="quiet" type="button" @click=${this.copyLink}>${words.link}</button>
        <button class="quiet" type="button" @click=${this.savePicture}>${words.picture}</button>
        <button class="quiet" type="button" @click=${this.saveReport}>${words.report}</button>
      </div>
      <div class="made" aria-live="polite">
        ${
          this.link === null
            ? nothing
            : html`<input
                readonly
                aria-label=${words.linkShown}
                .value=${this.link.address}
                @focus=${(event: Event) => {
                  (event.target as HTMLInputElement).select();
                }}
              />`
        }
        ${this.said === "" ? nothing : html`<p>${this.said}</p>`}
      </div>
    `;
  }

  private async copyLink(): Promise<void> {
    const { sharer, exchange } = this;
    if (sharer === null || exchange === null) return;
    const words = strings.share;
    this.link = sharer.link(exchange);
    if (this.link === null) {
      this.said = words.tooLong;
      return;
    }
    const carries = this.link.whole ? words.whole : words.part;
    try {
      await navigator.clipboard.writeText(this.link.address);
      this.said = `${words.linkCopied}. ${carries}`;
    } catch {
      // Refused by the visitor, or the page is not secure: it stands there to be copied by hand.
      this.said = carries;
    }
  }

  private async savePicture(): Promise<void> {
    const { sharer, exchange } = this;
    if (sharer === null || exchange === null) return;
    this.link = null;
    this.said = "";
    try {
      save(await sharer.picture(exchange), fileName(["halfdepth", exchange.question], "png"));
    } catch {
      this.said = strings.share.pictureFailed;
    }
  }

  private saveReport(): void {
    const { sharer, exchange } = this;
    if (sharer === null || exchange === null) return;
    this.link = null;
    this.said = "";
    save(sharer.report(exchange), fileName(["halfdepth", exchange.question], "json"));
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-share": Share;
  }
}
