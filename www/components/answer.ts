// One lane's answer to one question: the text as it comes, what was measured, and copying it.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import * as format from "../format";
import type { Cost } from "../cost";
import type { Range as TextRange } from "../departures";
import { looksLikeMarkdown } from "../looks";
import { needsReload, type ErrorShape } from "../protocol";
import { strings } from "../strings";
import type { Answer } from "../turns";
import { Marks } from "./marks";
import { shared } from "./shared";

// How long a button says that it has copied.
const COPIED_MS = 1600;

@customElement("hd-answer")
export class AnswerView extends LitElement {
  /** Grows in place while the lane writes, so every assignment counts as a change. */
  @property({ attribute: false, hasChanged: () => true }) answer: Answer | null = null;
  @property() heading = "";
  @property({ type: Boolean }) together = false;
  /** The text as the replay has it; null outside a replay. */
  @property({ attribute: false }) replayed: string | null = null;
  /** How the text departs from the other lane's, in a sentence or two. */
  @property({ attribute: false }) departure: string | null = null;
  /** Of one token half-way through the answer; null while the pack is not open. */
  @property({ attribute: false }) cost: Cost | null = null;
  /** Of what the device reads at the best; null while that has not been measured. */
  @property({ attribute: false }) shareOfLimit: number | null = null;
  @state() private copied: "no" | "yes" | "failed" = "no";
  /** Null until an answer looks like markdown: most visits need none. */
  @state() private toNodes: ((text: string) => DocumentFragment) | null = null;
  private readonly marks = new Marks();
  private copiedTimer: ReturnType<typeof setTimeout> | undefined;

  static override styles = [
    shared,
    css`
      :host {
        container-type: inline-size;
        display: flex;
        flex-direction: column;
        gap: 0.75rem;
        min-width: 0;
        padding: 0.9rem 1rem;
        border: 1px solid var(--line);
        border-top: 3px solid var(--lane);
        border-radius: var(--radius);
        background: var(--surface);
      }

      .head {
        display: flex;
        align-items: center;
        justify-content: space-between;
        min-height: 2rem;
        color: var(--lane);
      }

      h3 {
        font: 600 0.85rem/1.4 var(--sans);
      }

      .text {
        flex: 1;
        min-height: 4.8em;
        overflow-wrap: anywhere;
        font: 1.08rem/1.6 var(--serif);
      }

      /* A span: the layout of the template's own lines must not show. */
      .words {
        white-space: pre-wrap;
      }

      .words.markdown {
        white-space: normal;
      }

      .markdown > * + * {
        margin-top: 0.6em;
      }

      .markdown :is(ul, ol) {
        padding-left: 1.4em;
      }

      .markdown :is(pre, code) {
        font:
          0.85em/1.5 ui-monospace,
          monospace;
        white-space: pre-wrap;
      }

      .markdown pre {
        padding: 0.6em 0.8em;
        border-radius: 6px;
        background: var(--paper);
      }

      .markdown blockquote {
        margin-inline: 0;
        padding-left: 0.8em;
        border-left: 3px solid var(--line);
        color: var(--muted);
      }

      .markdown table {
        border-collapse: collapse;
      }

      .markdown :is(th, td) {
        padding: 0.2em 0.6em 0.2em 0;
        border-bottom: 1px solid var(--line);
        text-align: left;
      }

      ::highlight(departed) {
        text-decoration: underline;
        text-decoration-color: color-mix(in srgb, var(--half) 60%, transparent);
      }

      ::highlight(departs-first) {
        background-color: var(--mark);
        color: var(--ink);
        text-decoration: none;
      }

      .departure {
        text-wrap: pretty;
      }

      details {
        color: var(--muted);
        font-size: 0.75rem;
      }

      summary {
        cursor: pointer;
      }

      details ul {
        padding-left: 1.2em;
      }

      .rest {
        visibility: hidden;
      }

      .note {
        color: var(--muted);
        font: 0.9rem/1.5 var(--sans);
      }

      .error {
        color: var(--warning);
      }

      .cursor {
        display: inline-block;
        width: 0.5em;
        height: 1.05em;
        margin-right: -0.5em;
        background: var(--lane);
        vertical-align: -0.15em;
      }

      dl {
        display: grid;
        grid-template-columns: 1.3fr 1fr;
        align-items: end;
        gap: 0.5rem 0.75rem;
        padding-top: 0.75rem;
        border-top: 1px solid var(--line);
        font-variant-numeric: tabular-nums;
      }

      dt {
        color: var(--muted);
        font-size: 0.75rem;
      }

      dd {
        font-size: 0.9rem;
        white-space: nowrap;
      }

      .decode dd {
        font-size: 1.35rem;
        font-weight: 600;
        line-height: 1.2;
      }

      .decode small {
        color: var(--muted);
        font-size: 0.75rem;
        font-weight: 400;
      }

      @container (min-width: 26rem) {
        dl {
          grid-template-columns: 1.4fr 1fr 1fr 1fr;
        }
      }

      .fine {
        color: var(--muted);
        font-size: 0.75rem;
      }

      /* What is not to be seen yet takes its room: nothing jumps at the end. */
      :host([replaying]) :is(.head button, dl, .fine, .note, details) {
        visibility: hidden;
      }

      @media (max-width: 45rem) {
        :host([beside]) {
          padding: 0.5rem 0.6rem;
        }

        :host([beside]) .text {
          font-size: 0.9rem;
        }

        :host([beside]) :is(h3, .note) {
          font-size: 0.78rem;
        }

        :host([beside]) dl {
          grid-template-columns: 1fr;
        }

        :host([beside]) :is(.head button, .fine, details, .decode ~ div) {
          display: none;
        }
      }

      @media (prefers-reduced-motion: no-preference) {
        .cursor {
          animation: blink 1s steps(2) infinite;
        }

        @keyframes blink {
          to {
            opacity: 0;
          }
        }
      }
    `,
  ];

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearTimeout(this.copiedTimer);
    this.marks.clear();
  }

  /** The text as it stands to be read, its markdown taken away. */
  get said(): string {
    return this.renderRoot.querySelector(".words")?.textContent ?? "";
  }

  /** Marks parts of `said`; to be called again whenever the text has changed. */
  mark(departed: readonly TextRange[], first: TextRange | null): void {
    const words = this.renderRoot.querySelector(".words");
    if (words !== null) this.marks.show(words, departed, first);
  }

  override render() {
    const { answer } = this;
    if (answer === null) return nothing;
    const text = this.replayed ?? answer.text;
    const writing = answer.state === "running" || this.replayed !== null;
    const finish = strings.finish(answer);
    return html`
      <div class="head">
        <h3>${this.heading}</h3>
        ${answer.state === "done" && answer.text !== "" ? this.renderCopy() : nothing}
      </div>
      <div class="text" aria-busy=${writing}>
        ${this.renderText(text)}${this.renderState(answer, text, writing)}${this.renderRest(answer, text)}
      </div>
      ${finish === null ? nothing : html`<p class="note">${finish}</p>`}
      ${answer.error === null ? nothing : html`<p class="note error">${shownError(answer.error)}</p>`}
      ${this.departure === null ? nothing : html`<p class="note departure">${this.departure}</p>`}
      ${answer.stats === null ? nothing : this.renderStats(answer)}
    `;
  }

  private renderText(text: string) {
    const isMarkdown = looksLikeMarkdown(text);
    if (isMarkdown && this.toNodes !== null) {
      return html`<div class="words markdown" dir="auto">${this.toNodes(text)}</div>`;
    }
    if (isMarkdown) {
      // It stands as it came until then, and for good where the file cannot be had.
      void import("../markdown").then(
        ({ toNodes }) => (this.toNodes = toNodes),
        () => undefined,
      );
    }
    return html`<span class="words" dir="auto">${text}</span>`;
  }

  private renderState(answer: Answer, text: string, writing: boolean) {
    if (writing && text !== "") return html`<span class="cursor"></span>`;
    if (this.replayed !== null || text !== "") return nothing;
    if (answer.state === "done") {
      const silent = answer.finish === "end-token";
      return silent ? html`<span class="note">${strings.lane.empty}</span>` : nothing;
    }
    const { waiting, waitingTogether, reading } = strings.lane;
    const still = this.together ? waitingTogether : waiting;
    return html`<span class="note">${answer.state === "running" ? reading : still}</span>`;
  }

  /** What the replay has not reached yet takes its room, so that nothing jumps. */
  private renderRest(answer: Answer, text: string) {
    if (this.replayed === null || looksLikeMarkdown(answer.text)) return nothing;
    return html`<span class="words rest" aria-hidden="true"
      >${answer.text.slice(text.length)}</span
    >`;
  }

  private renderCopy() {
    const { copy, copied, copyFailed, copyLabel } = strings.lane;
    const says = { no: copy, yes: copied, failed: copyFailed }[this.copied];
    return html`<button
      class="quiet"
      type="button"
      aria-label=${copyLabel(this.heading)}
      @click=${this.copy}
    >
      <span aria-live="polite">${says}</span>
    </button>`;
  }

  private renderStats(answer: Answer) {
    const { stats, started } = answer;
    if (stats === null) return nothing;
    const words = strings.stats;
    const left = started === null ? null : started.contextLeft - stats.generatedTokens;
    const fine = [
      ...(stats.reusedTokens > 0 ? [words.reused(stats.reusedTokens)] : []),
      ...(left === null ? [] : [words.contextLeft(left)]),
    ];
    return html`
      <dl>
        <div class="decode">
          <dt>${words.decode}</dt>
          <dd>
            ${format.tokensPerSecond(stats.decodeTokensPerSecond)}
            <small>${words.decodeUnit}</small>
          </dd>
        </div>
        <div>
          <dt>${words.firstToken}</dt>
          <dd>${format.milliseconds(stats.timeToFirstTokenMs)}</dd>
        </div>
        <div>
          <dt>${words.prefill}</dt>
          <dd>${words.prefillRate(format.tokensPerSecond(stats.prefillTokensPerSecond))}</dd>
        </div>
        <div>
          <dt>${words.tokens}</dt>
          <dd>${words.tokensOf(answer)}</dd>
        </div>
      </dl>
      ${this.renderCost()}
      ${fine.length === 0 ? nothing : html`<p class="fine">${fine.join(" · ")}</p>`}
    `;
  }

  private renderCost() {
    const { cost, shareOfLimit } = this;
    if (cost === null) return nothing;
    const words = strings.stats;
    const share = shareOfLimit === null ? words.notMeasured : format.percent(shareOfLimit);
    return html`<details>
      <summary>
        ${words.read}: ${format.bytes(cost.bytes)} · ${words.compute}: ${format.flops(cost.flops)} ·
        ${words.share}: <span data-share=${shareOfLimit ?? ""}>${share}</span>
      </summary>
      <p class="fine">${words.how}:</p>
      <ul class="fine">
        ${words.formulas.map((formula) => html`<li>${formula}</li>`)}
      </ul>
    </details>`;
  }

  private async copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.answer?.text ?? "");
      this.copied = "yes";
    } catch {
      // Refused by the visitor, or the page is not secure.
      this.copied = "failed";
    }
    clearTimeout(this.copiedTimer);
    this.copiedTimer = setTimeout(() => (this.copied = "no"), COPIED_MS);
  }
}

/** What a reload repairs is told once, above the question box; here its name will do. */
function shownError({ name, message }: ErrorShape): string {
  return needsReload(name) ? `${strings.errors.titles[name]}.` : message;
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-answer": AnswerView;
  }
}
