// What is looked up about a settled exchange on demand: how far the second lane agrees with the first one's answer, token by token,
// and what the first would have said at every depth. Loaded when it is first asked for.
import { css, html, LitElement, nothing, type PropertyValues } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { decidedAfter, loudness, type Agreement, type Depths } from "../agreement";
import * as format from "../format";
import { strings } from "../strings";
import type { Exchange } from "../turns";
import type { Findings, Lens, Looked } from "./looking";
import { shared } from "./shared";
import { figures } from "./table";

/** A token is looked at whose lens has not been read. */
export class LensAsked extends CustomEvent<{ token: number }> {
  constructor(token: number) {
    super("lens-asked", { detail: { token } });
  }
}

@customElement("hd-look")
export class Look extends LitElement {
  @property({ attribute: false }) exchange: Exchange | null = null;
  @property({ attribute: false, hasChanged: () => true }) findings: Findings = {};
  /** The lanes may be asked. */
  @property({ type: Boolean }) free = false;
  /** The token that is looked at; arrows move it. */
  @state() private at = 0;

  static override styles = [
    shared,
    figures,
    css`
      :host {
        display: grid;
        gap: 0.6rem;
        margin-top: 0.75rem;
        font-size: 0.9rem;
      }

      p {
        text-wrap: pretty;
      }

      .fine {
        color: var(--muted);
        font-size: 0.8rem;
      }

      .tokens {
        display: flex;
        flex-wrap: wrap;
        align-items: flex-start;
        padding: 0.6rem 0.8rem;
        border: 1px solid var(--line);
        border-radius: var(--radius);
        background: var(--surface);
        font: 1rem/1.7 var(--serif);
        overflow-wrap: anywhere;
      }

      .tokens button {
        min-height: 0;
        padding: 0 0 1px;
        border: 0;
        border-bottom: 0 solid color-mix(in srgb, var(--half) 75%, transparent);
        border-radius: 2px;
        background: none;
        white-space: pre-wrap;
      }

      .tokens button:hover:not(:disabled) {
        border-color: color-mix(in srgb, var(--half) 75%, transparent);
        color: var(--half);
      }

      .tokens .loud-1 {
        border-bottom-width: 1px;
      }

      .tokens .loud-2 {
        border-bottom-width: 3px;
      }

      .tokens .loud-3 {
        border-bottom-width: 5px;
      }

      .tokens .loud-4 {
        border-bottom-width: 8px;
      }

      .tokens .differs {
        background: var(--mark);
      }

      .tokens [aria-pressed="true"] {
        outline: 2px solid var(--ink);
        outline-offset: 1px;
      }

      .scroll {
        overflow-x: auto;
      }

      table {
        width: 100%;
      }

      caption {
        padding-bottom: 0.3rem;
        color: var(--muted);
        text-align: left;
      }

      td.said {
        font-family: var(--serif);
        white-space: pre-wrap;
      }

      tr.final td.said {
        background: var(--mark);
      }
    `,
  ];

  override render() {
    const { agreement, depths } = this.findings;
    return html`
      ${agreement === undefined ? nothing : renderLooked(agreement, strings.look.scoring)}
      ${agreement?.kind === "done" ? renderAgreement(agreement.value) : nothing}
      ${depths === undefined ? nothing : renderLooked(depths, strings.look.readingDepths)}
      ${this.renderTokens()}
    `;
  }

  override willUpdate(changed: PropertyValues<this>): void {
    if (changed.has("exchange")) this.at = 0;
  }

  /** The lens of the token that is looked at is read once the lanes are free: who goes on meanwhile is shown the last alone. What
   * failed is not asked again by itself. */
  override updated(): void {
    const { depths, lensAt } = this.findings;
    if (!this.free || depths?.kind !== "done" || lensAt === this.at) return;
    this.dispatchEvent(new LensAsked(this.at));
  }

  private renderTokens() {
    const { agreement, depths, lens } = this.findings;
    const scored = agreement?.kind === "done" ? agreement.value : null;
    const read = depths?.kind === "done" ? depths.value : null;
    const tokens = scored?.tokens ?? read?.tokens ?? [];
    const at = Math.min(this.at, tokens.length - 1);
    const token = tokens[at];
    if (token === undefined) return nothing;
    const words = strings.look;
    const decided = read === null ? [] : decidedAfter(read.rows);
    const layers = (read?.rows.length ?? 0) + 1;
    const look = (index: number) => {
      if (scored === null) return `loud-${Math.floor((4 * (decided[index] ?? 0)) / layers)}`;
      const { kl = 0, agrees = true } = scored.tokens[index] ?? {};
      return `loud-${loudness(kl)} ${agrees ? "" : "differs"}`;
    };
    const tell = (index: number) => {
      const { text = "", expected = "", found = "", kl = 0 } = tokens[index] ?? {};
      if (scored === null) return words.decided(text, decided[index] ?? 0, layers);
      return words.token(text, expected, found, kl);
    };
    // Tokens are set as text: the layout of a template's own lines must not show between their spaces.
    return html`
      <div
        class="tokens"
        role="toolbar"
        aria-label=${words.tokens}
        @keydown=${(event: KeyboardEvent) => {
          this.move(event, tokens.length);
        }}
      >
        ${tokens.map(
          ({ text, ids }, index) =>
            html`<button
              type="button"
              class=${look(index)}
              title=${tell(index)}
              data-ids=${ids.join(" ")}
              tabindex=${index === at ? 0 : -1}
              aria-pressed=${index === at}
              @click=${() => (this.at = index)}
              .textContent=${shownToken(text)}
            ></button>`,
        )}
      </div>
      <p class="fine">${scored === null ? words.depthLegend : words.legend}</p>
      <p role="status">
        ${words.place(at, tokens.length)} ${tell(at)}
        ${scored !== null && read !== null ? words.decided("", decided[at] ?? 0, layers) : nothing}
      </p>
      ${read === null ? nothing : this.renderLens(at)}
      ${read === null ? nothing : renderDepths(read, at, lensOf(lens, at))}
    `;
  }

  /** How far the reading of this token is. */
  private renderLens(at: number) {
    const { lens, lensAt } = this.findings;
    if (lens === undefined || lensAt !== at) return nothing;
    const isOver = lens.kind === "stopped" || lens.kind === "failed";
    const again = () => this.dispatchEvent(new LensAsked(at));
    return html`${renderLooked(lens, strings.look.readingLens)}${
      isOver
        ? html`<button class="quiet" type="button" ?disabled=${!this.free} @click=${again}>
            ${strings.look.again}
          </button>`
        : nothing
    }`;
  }

  private move(event: KeyboardEvent, count: number): void {
    const to = { ArrowLeft: this.at - 1, ArrowRight: this.at + 1, Home: 0, End: count - 1 }[
      event.key
    ];
    if (to === undefined) return;
    event.preventDefault();
    this.at = Math.max(0, Math.min(count - 1, to));
    void this.updateComplete.then(() => {
      this.renderRoot.querySelector<HTMLElement>("[tabindex='0']")?.focus();
    });
  }
}

function renderLooked(looked: Looked<unknown>, running: (done: number, of: number) => string) {
  const words = strings.look;
  switch (looked.kind) {
    case "running":
      return html`<p role="status">${running(looked.done, looked.of)}</p>`;
    case "stopped":
      return html`<p role="status">${words.stopped}</p>`;
    case "failed":
      return html`<p role="status">${looked.why}</p>`;
    case "done":
      return nothing;
  }
}

function renderAgreement({ tokens, agreed, meanKl, first }: Agreement) {
  const words = strings.look;
  const where = first === null ? undefined : tokens[first];
  return html`<p role="status" data-agreed=${agreed} data-tokens=${tokens.length} data-kl=${meanKl}>
    ${words.agreement(agreed, tokens.length, meanKl)}
    ${
      first === null || where === undefined
        ? nothing
        : words.firstDisagreement(first + 1, where.expected, where.found)
    }
  </p>`;
}

/** What has been read at this token; null before it has been. */
function lensOf(lens: Findings["lens"], token: number): Lens["readings"] | null {
  return lens?.kind === "done" && lens.value.token === token ? lens.value.readings : null;
}

/** By depth: what the head makes of the stream there. What only the lens tells is left open until it is read. */
function renderDepths({ rows, said }: Depths, token: number, lens: Lens["readings"] | null) {
  const words = strings.look;
  const known = [null, ...rows.map((each) => each[token]?.found.text ?? ""), said[token] ?? ""];
  const depths = known.map((says, depth) => {
    const reading = lens?.[depth];
    const compared = rows[depth - 1]?.[token];
    const isEnd = depth === known.length - 1;
    return {
      says: reading?.top[0]?.text ?? says,
      isFinal: reading === undefined ? isEnd || compared?.agrees === true : reading.rank === 1,
      probability: reading?.probability,
      rank: reading?.rank,
      kl: reading?.kl ?? (isEnd ? 0 : compared?.kl),
    };
  });
  const open = "·";
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${words.depthTable}>
    <table>
      <caption>
        ${words.depthCaption}
      </caption>
      <thead>
        <tr>
          <th scope="col">${words.after}</th>
          <th scope="col">${words.says}</th>
          <th scope="col">${words.probability(shownToken(said[token] ?? ""))}</th>
          <th scope="col">${words.rank}</th>
          <th scope="col">${words.klColumn}</th>
        </tr>
      </thead>
      <tbody>
        ${depths.map(
          ({ says, isFinal, probability, rank, kl }, depth) =>
            html`<tr class=${isFinal ? "final" : ""}>
              <th scope="row">${depth}</th>
              <td class="said" .textContent=${says === null ? open : shownToken(says)}></td>
              <td>${probability === undefined ? open : format.percent(probability)}</td>
              <td>${rank === undefined ? open : format.count(rank)}</td>
              <td>${kl === undefined ? open : format.nats(kl)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

/** A token of nothing that shows still has to be seen. */
function shownToken(text: string): string {
  if (text.trim() === "") return text.replaceAll("\n", "⏎").replaceAll(" ", "␣") || "·";
  return text.replaceAll("\n", "⏎");
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-look": Look;
  }
}
