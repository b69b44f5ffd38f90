// What stands in the way of asking: a model that loads, waits to be allowed, was stopped, or failed; and the way out.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property } from "lit/decorators.js";
import type { PackInfo } from "../engine";
import * as format from "../format";
import type { ErrorShape, Opened } from "../protocol";
import type { SessionStage } from "../session";
import { strings } from "../strings";
import { shared } from "./shared";

export type LoadState =
  | { kind: "loading"; stage: SessionStage }
  | { kind: "consent"; opened: Opened }
  | { kind: "cancelled" }
  | { kind: "ready" }
  | { kind: "failed"; error: ErrorShape };

/** What the visitor wants done about it. */
export class StatusAction extends CustomEvent<"cancel" | "load" | "consent"> {
  constructor(action: "cancel" | "load" | "consent") {
    super("status-action", { detail: action });
  }
}

@customElement("hd-status")
export class Status extends LitElement {
  @property({ attribute: false }) load: LoadState | null = null;
  @property({ attribute: false }) pack: PackInfo | null = null;
  @property({ type: Number }) weightBytes = 0;
  /** The browser computes on the CPU what it says is a GPU. */
  @property({ type: Boolean }) software = false;
  /** Exchanges stand on the page and outlive the model that made them. */
  @property({ type: Boolean }) conversation = false;
  /** The page was given another model than the built-in one. */
  @property({ type: Boolean }) foreign = false;

  static override styles = [
    shared,
    css`
      /* Room for the progress of loading and for what is said after it, so that nothing below jumps. */
      :host {
        display: block;
        min-height: 3.4rem;
      }

      :host([conversation]) {
        min-height: 0;
      }

      .loading h2 {
        font: 600 0.95rem/1.35 var(--sans);
      }

      .loading .facts {
        flex: 1;
        min-width: 0;
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }

      @media (max-width: 45rem) {
        .loading .facts {
          flex-basis: 100%;
          order: 1;
        }

        :host {
          min-height: 6.2rem;
        }
      }

      .software {
        color: var(--warning);
        font-size: 0.85rem;
      }

      .ready {
        text-wrap: pretty;
      }

      .card {
        display: grid;
        gap: 0.6rem;
        padding: 1.1rem 1.2rem;
        border: 1px solid var(--line);
        border-radius: var(--radius);
        background: var(--surface);
        overflow-wrap: anywhere;
      }

      .card.failed {
        border-color: color-mix(in srgb, var(--warning) 40%, transparent);
        background: var(--warning-surface);
      }

      h2 {
        font: 600 1.15rem/1.35 var(--serif);
      }

      .row {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        justify-content: space-between;
        gap: 0.25rem 1rem;
      }

      .facts {
        color: var(--muted);
        font-size: 0.9rem;
        font-variant-numeric: tabular-nums;
      }

      progress {
        width: 100%;
        height: 0.3rem;
        border: 0;
        border-radius: 99px;
        appearance: none;
        background: var(--line);
        overflow: hidden;
      }

      progress::-webkit-progress-bar {
        background: var(--line);
      }

      progress::-webkit-progress-value {
        background: var(--full);
      }

      progress::-moz-progress-bar {
        background: var(--full);
      }

      ul {
        padding-left: 1.2rem;
      }

      .actions {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 0.5rem 1rem;
      }

      a {
        color: var(--full);
      }
    `,
  ];

  override render() {
    switch (this.load?.kind) {
      case "loading":
        return this.renderLoading(this.load.stage);
      case "consent":
        return this.renderConsent(this.load.opened);
      case "cancelled":
        return this.renderCancelled();
      case "failed":
        return this.renderFailed(this.load.error);
      case "ready":
        return this.renderReady();
      default:
        return nothing;
    }
  }

  private renderReady() {
    if (this.pack === null) return nothing;
    const ready = strings.ready(this.pack, format.bytes(this.weightBytes));
    return html`
      ${this.conversation ? nothing : html`<p class="ready facts">${ready}</p>`}
      ${this.software ? html`<p class="software">${strings.softwareGpu}</p>` : nothing}
    `;
  }

  private renderLoading(stage: SessionStage) {
    const words = strings.loading;
    const files = stage.stage === "files" ? stage.progress : null;
    return html`<section class="loading" data-stage=${stage.stage}>
      <div class="row">
        <h2>${words.title}</h2>
        <span class="facts">
          <span class="doing">${doing(stage)}</span>${
            files === null
              ? nothing
              : html` · ${words.bytes(files.bytesDone, files.bytes)} ·
                ${words.fileCount(files.filesDone, files.files)}`
          }
        </span>
        <button class="quiet" type="button" @click=${this.act("cancel")}>${words.cancel}</button>
      </div>
      ${
        files === null
          ? html`<progress
              max="1"
              value=${stage.stage === "lanes" ? 1 : 0}
              aria-hidden="true"
            ></progress>`
          : html`<progress
              aria-label=${words.progressLabel}
              max=${Math.max(1, files.bytes)}
              .value=${files.bytesDone}
            ></progress>`
      }
    </section>`;
  }

  private renderConsent(opened: Opened) {
    const words = strings.loading;
    return html`<section class="card">
      <h2>${words.consentTitle(opened.pack)}</h2>
      <p>${strings.about.other(opened.pack)}</p>
      <p>${words.consent(opened)}</p>
      <div class="actions">
        <button class="primary" type="button" @click=${this.act("consent")}>${words.load}</button>
        <button type="button" @click=${this.act("cancel")}>${words.cancel}</button>
      </div>
    </section>`;
  }

  private renderCancelled() {
    const words = strings.loading;
    return html`<section class="card">
      <h2>${words.cancelledTitle}</h2>
      <p class="facts">${words.cancelled}</p>
      <div class="actions">
        <button class="primary" type="button" @click=${this.act("load")}>${words.load}</button>
      </div>
    </section>`;
  }

  private renderFailed({ name, message }: ErrorShape) {
    const words = strings.errors;
    const lost = name === "DeviceLost" || name === "EngineError";
    return html`<section class="card failed" role="alert" data-error=${name}>
      <h2>${words.titles[name]}</h2>
      <p>${message}</p>
      ${name === "WebGpuUnavailable" ? renderBrowsers() : nothing}
      ${this.conversation ? html`<p>${words.kept}</p>` : nothing}
      <div class="actions">
        ${
          name === "InvalidAddress"
            ? nothing
            : html`<button class="primary" type="button" @click=${this.act("load")}>
                ${lost ? words.reload : words.retry}
              </button>`
        }
        ${this.foreign ? html`<a href="?">${words.openDefault}</a>` : nothing}
      </div>
    </section>`;
  }

  private act(action: StatusAction["detail"]): () => void {
    return () => this.dispatchEvent(new StatusAction(action));
  }
}

function renderBrowsers() {
  const words = strings.errors;
  return html`
    <p>${words.webgpuBrowsersTitle}:</p>
    <ul>
      ${words.webgpuBrowsers.map((browser) => html`<li>${browser}</li>`)}
    </ul>
    <p>${words.webgpuAdvice}</p>
  `;
}

function doing(stage: SessionStage): string {
  const words = strings.loading;
  switch (stage.stage) {
    case "lanes":
      return words.lanes(stage.plan);
    case "files":
      return stage.progress.retrying ? words.retrying : words.files(stage.progress);
    default:
      return words[stage.stage];
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-status": Status;
  }
}
