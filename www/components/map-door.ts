// The button that opens "Scan my text": what lies behind it is loaded then.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { PackInfo } from "../engine";
import type { Session } from "../session";
import { strings } from "../strings";
import type { Runner } from "./map/panel";
import { shared } from "./shared";

@customElement("hd-map-door")
export class MapDoor extends LitElement {
  /** Null until the pack is open: then there is nothing to scan with. */
  @property({ attribute: false }) pack: PackInfo | null = null;
  @property({ attribute: false }) session: Session | null = null;
  @property({ attribute: false }) runner: Runner | null = null;
  @property({ type: Boolean }) available = false;
  @state() private open = false;
  /** Closed again, the panel keeps what it has found. */
  private wasOpen = false;
  @state() private failed = false;

  static override styles = [
    shared,
    css`
      :host {
        display: block;
        padding-block: 1rem;
      }

      hd-map {
        margin-top: 0.5rem;
      }
    `,
  ];

  override render() {
    const words = strings.map;
    if (this.pack === null) return nothing;
    return html`<button
        class="quiet"
        type="button"
        aria-expanded=${this.open}
        @click=${this.toggle}
      >
        ${words.open}
      </button>
      ${this.failed ? html`<p role="alert">${strings.look.failed}</p>` : nothing}
      ${
        this.wasOpen
          ? html`<hd-map
              ?hidden=${!this.open}
              role="region"
              aria-label=${words.open}
              .pack=${this.pack}
              .session=${this.session}
              .runner=${this.runner}
              ?available=${this.available}
            ></hd-map>`
          : nothing
      }`;
  }

  private async toggle(): Promise<void> {
    try {
      await import("./map/panel");
      this.failed = false;
      this.wasOpen = true;
      this.open = !this.open;
    } catch {
      this.failed = true;
    }
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-map-door": MapDoor;
  }
}
