// An answer that the second lane drafted for the first: which words were its own, and whether it was worth it.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property } from "lit/decorators.js";
import { cut, gain, same, type Draft, type Drafted, type DraftPiece } from "../draft";
import type { SpeculationStats } from "../engine";
import * as format from "../format";
import { strings } from "../strings";
import type { Exchange } from "../turns";
import { shared } from "./shared";

@customElement("hd-draft")
export class DraftView extends LitElement {
  @property({ attribute: false }) draft: Draft | null = null;
  @property({ attribute: false }) exchange: Exchange | null = null;

  static override styles = [
    shared,
    css`
      :host {
        display: block;
      }

      section {
        margin-top: 0.75rem;
        padding: 0.9rem 1rem;
        border: 1px solid var(--line);
        border-radius: var(--radius);
        background: var(--surface);
      }

      h3 {
        font: 600 0.85rem/1.4 var(--sans);
      }

      .text {
        margin: 0.5rem 0;
        overflow-wrap: anywhere;
        font: 1.08rem/1.6 var(--serif);
      }

      /* A span: the layout of the template's own lines must not show. */
      .words {
        white-space: pre-wrap;
      }

      mark {
        background: color-mix(in srgb, var(--half) 16%, transparent);
        color: inherit;
        /* A colour alone is not for everyone. */
        border-bottom: 2px solid var(--half);
      }

      .say {
        color: var(--muted);
        font-size: 0.85rem;
        text-wrap: pretty;
      }

      .figure {
        font-weight: 600;
      }
    `,
  ];

  override render() {
    const { draft } = this;
    const words = strings.draft;
    if (draft === null) return nothing;
    if (draft.kind === "failed") return html`<p class="say" role="status">${draft.why}</p>`;
    return html`<section aria-label=${words.title} data-draft=${draft.kind}>
      <h3>${words.title}</h3>
      <p class="text">
        <span class="words" dir="auto">${draft.pieces.map(renderPiece)}</span>
      </p>
      ${draft.speculation === null ? nothing : this.renderFigures(draft, draft.speculation)}
    </section>`;
  }

  private renderFigures(draft: Drafted, speculation: SpeculationStats) {
    const words = strings.draft;
    const { drafted, accepted, rounds, on } = speculation;
    const { speedUp } = gain(speculation);
    const answer = this.exchange?.answers[0];
    const alike = answer === undefined ? null : same(draft, answer);
    return html`<p
        class="say figure"
        data-drafted=${drafted}
        data-accepted=${accepted}
        data-rounds=${rounds}
      >
        ${words.kept(accepted, drafted, rounds)}
        ${speedUp === null ? nothing : words.speed(format.ratio(speedUp), speedUp)}
      </p>
      ${on ? nothing : html`<p class="say">${words.givenUp}</p>`}
      ${
        draft.kind !== "done" || alike === null
          ? nothing
          : html`<p class="say" data-alike=${alike.alike} data-of=${alike.of}>
              ${words.same(alike)}
            </p>`
      }
      <p class="say" role="status">${draft.kind === "stopped" ? words.stopped : nothing}</p>
      <p class="say">${words.how}</p>`;
  }
}

function renderPiece(piece: DraftPiece) {
  const [drafted, own] = cut(piece);
  return html`${drafted === "" ? nothing : html`<mark>${drafted}</mark>`}${own}`;
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-draft": DraftView;
  }
}
