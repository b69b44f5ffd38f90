// The recorded comparison: what the page is about, before anything has been loaded or asked.
import { html } from "lit";
import { customElement, property } from "lit/decorators.js";
import { strings } from "../strings";
import { ExchangeView } from "./exchange";

@customElement("hd-recorded")
export class RecordedView extends ExchangeView {
  /** The machine it was recorded on, in words. */
  @property() on = "";

  protected override readonly where = strings.recorded.where;

  /** Shown once by itself, to whoever has not asked for less motion and has the page before them. */
  override async firstUpdated(): Promise<void> {
    const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (isStill || document.hidden) return;
    // How they part takes its room from the start.
    await this.markDepartures();
    // The page may have moved on meanwhile, or somebody pressed the button.
    if (this.isConnected && this.replayedMs === null) this.startReplay(false);
  }

  /** Before and after its replay too: what is read meanwhile, and what follows it, stays where it is. */
  protected override get isBeside(): boolean {
    return true;
  }

  protected override renderLabel() {
    return html`<p class="label">${strings.recorded.label(this.on)}</p>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-recorded": RecordedView;
  }
}
