// "Scan my text": the visitor's own text, the map of how far each block of layers turns the stream on it, the best block for every
// length to be left out by the second lane, and the loss without so many layers. Loaded when it is first opened.
import { css, html, LitElement, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { wholePlan, without } from "../../change";
import type { PackInfo, SamplesRequest } from "../../engine";
import type { ErrorShape } from "../../protocol";
import { bestBlocks, curve, scan, WINDOW, type Curve, type Scan } from "../../scan";
import type { Session } from "../../session";
import { strings } from "../../strings";
import { PlanChanged } from "../depth";
import { shared } from "../shared";
import { figures } from "../table";
import "./curve";
import "./heat-map";

/** A text was scanned: where the block of n layers begins that turns it least, n from 1. */
export class Scanned extends CustomEvent<{ best: readonly number[] }> {
  constructor(best: readonly number[]) {
    super("scanned", { detail: { best }, bubbles: true, composed: true });
  }
}

/** Sees to it that nothing else is asked of the lanes meanwhile. Gives what the work failed with. */
export type Runner = (work: (signal: AbortSignal) => Promise<void>) => Promise<ErrorShape | null>;

/** Far more than anybody scans in a page; a slip of the finger must not fill the memory. */
const TEXT_MAX_BYTES = 8_000_000;

const FIELDS = {
  samples: { start: 16, max: 4096 },
  tokens: { start: 64, max: 4096 },
  seed: { start: 0, max: 2 ** 32 - 1 },
  windows: { start: 8, max: 4096 },
} as const;
type Field = keyof typeof FIELDS;

@customElement("hd-map")
export class MapPanel extends LitElement {
  @property({ attribute: false }) pack: PackInfo | null = null;
  @property({ attribute: false }) session: Session | null = null;
  @property({ attribute: false }) runner: Runner | null = null;
  /** The lanes may be asked just now. */
  @property({ type: Boolean }) available = false;
  @state() private text = "";
  @state() private file: { name: string; text: string } | null = null;
  @state() private numbers: Record<Field, number> = {
    samples: FIELDS.samples.start,
    tokens: FIELDS.tokens.start,
    seed: FIELDS.seed.start,
    windows: FIELDS.windows.start,
  };
  @state() private scan: Scan | null = null;
  @state() private curve: Curve | null = null;
  /** What is being done, or what came of it. */
  @state() private said = "";
  @state() private wrong = "";
  /** Which of the two is under way, and how far it is. */
  @state() private running: { done: number; of: number } | null = null;
  private stopper: AbortController | null = null;
  /** What the map on show was made of. */
  private scanned: { ids: number[] } | null = null;

  static override styles = [
    shared,
    figures,
    css`
      :host {
        display: grid;
        gap: 0.9rem;
        min-width: 0;
        padding: 1rem;
        border: 1px solid var(--line);
        border-radius: var(--radius);
        background: var(--surface);
      }

      form {
        display: grid;
        gap: 0.75rem;
      }

      label {
        display: grid;
        gap: 0.2rem;
        font-size: 0.85rem;
      }

      textarea {
        min-height: 6rem;
        resize: vertical;
      }

      .fields,
      .buttons {
        display: flex;
        flex-wrap: wrap;
        align-items: end;
        gap: 0.6rem 0.9rem;
      }

      .fields label {
        width: 8rem;
      }

      input[type="file"] {
        width: auto;
        max-width: 100%;
        border: 0;
        padding: 0;
      }

      .note {
        color: var(--muted);
        font-size: 0.85rem;
        text-wrap: pretty;
      }

      .wrong {
        color: var(--warning);
        font-size: 0.9rem;
      }

      progress {
        width: 100%;
        accent-color: var(--full);
      }

      .both {
        display: grid;
        gap: 1rem 2rem;
      }

      @media (min-width: 55rem) {
        .both {
          grid-template-columns: minmax(0, 1fr) minmax(0, 1fr);
        }
      }

      h3 {
        font: 600 1rem/1.4 var(--serif);
      }

      .blocks {
        max-height: 30rem;
        overflow: auto;
      }

      table {
        width: 100%;
      }

      td button {
        min-height: 1.9rem;
        padding: 0.1rem 0.6rem;
      }
    `,
  ];

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.stopper?.abort();
  }

  override render() {
    const words = strings.map;
    return html`
      <p class="note">${words.lead}</p>
      ${this.renderForm()}
      ${this.wrong === "" ? nothing : html`<p class="wrong" role="alert">${this.wrong}</p>`}
      ${
        this.running === null
          ? nothing
          : html`<progress
              aria-label=${words.progress}
              max=${this.running.of}
              .value=${this.running.done}
            ></progress>`
      }
      <p class="note" role="status" ?hidden=${this.said === ""}>${this.said}</p>
      ${this.scan === null || this.scan.done === 0 ? nothing : this.renderScan(this.scan)}
    `;
  }

  private renderForm() {
    const words = strings.map;
    const { file } = this;
    return html`<form novalidate @submit=${this.start}>
      <label>
        ${words.text}
        <textarea
          dir="auto"
          ?disabled=${file !== null}
          .value=${this.text}
          @input=${({ target }: Event) => {
            this.text = (target as HTMLTextAreaElement).value;
          }}
        ></textarea>
      </label>
      <div class="buttons">
        <label>
          ${words.file}
          <input type="file" accept=".txt,.md,text/*" @change=${this.read} />
        </label>
        ${
          file === null
            ? nothing
            : html`<span class="note">${words.fileRead(file.name, file.text.length)}</span>
                <button class="quiet" type="button" @click=${() => (this.file = null)}>
                  ${words.fileRemove}
                </button>`
        }
      </div>
      <div class="fields">
        ${(["samples", "tokens", "seed"] as const).map((field) => this.renderField(field))}
        ${
          this.running === null
            ? html`<button class="primary" ?disabled=${!this.ready}>${words.start}</button>`
            : html`<button type="button" @click=${() => this.stopper?.abort()}>
                ${strings.ask.stop}
              </button>`
        }
      </div>
    </form>`;
  }

  private renderField(field: Field) {
    return html`<label>
      ${strings.map.fields[field]}
      <input
        type="number"
        inputmode="numeric"
        min=${field === "seed" ? 0 : 1}
        max=${FIELDS[field].max}
        step="1"
        .value=${String(this.numbers[field])}
        @change=${({ target }: Event) => {
          const value = (target as HTMLInputElement).valueAsNumber;
          this.numbers = { ...this.numbers, [field]: value };
        }}
      />
    </label>`;
  }

  private renderScan(found: Scan) {
    const words = strings.map;
    const isDone = this.scanned !== null;
    return html`<div class="both">
        <hd-heat-map .scan=${found}></hd-heat-map>
        ${isDone ? this.renderBlocks(found) : nothing}
      </div>
      ${
        isDone
          ? html`<section>
              <h3>${words.curveTitle}</h3>
              <p class="note">${words.curveLead(WINDOW)}</p>
              <div class="fields">
                ${this.renderField("windows")}
                <button type="button" ?disabled=${!this.ready} @click=${this.measure}>
                  ${words.curveStart}
                </button>
              </div>
              <hd-curve
                .curve=${this.curve}
                layers=${found.distance.length}
                vocabSize=${this.pack?.vocabSize ?? 0}
              ></hd-curve>
            </section>`
          : nothing
      }`;
  }

  private renderBlocks(found: Scan) {
    const words = strings.map;
    return html`<div class="blocks" tabindex="0" role="region" aria-label=${words.blocks}>
      <table>
        <thead>
          <tr>
            <th scope="col">${words.rowHead}</th>
            <th scope="col">${words.bestBlock}</th>
            <th scope="col">${words.distance}</th>
            <th scope="col"><span class="visually-hidden">${words.applyHead}</span></th>
          </tr>
        </thead>
        <tbody>
          ${bestBlocks(found).map((first, index) => {
            const dropped = index + 1;
            return html`<tr>
              <th scope="row">${dropped}</th>
              <td>${words.block(first, dropped)}</td>
              <td>${(found.distance[index]?.[first] ?? 0).toFixed(4)}</td>
              <td>
                <button
                  type="button"
                  aria-label=${words.applyLabel(first, dropped)}
                  @click=${() => {
                    this.apply(first, dropped);
                  }}
                >
                  ${words.apply}
                </button>
              </td>
            </tr>`;
          })}
        </tbody>
      </table>
    </div>`;
  }

  private get ready(): boolean {
    return this.available && this.session !== null && this.running === null;
  }

  private apply(first: number, dropped: number): void {
    const layers = without(this.pack?.layers ?? 0, first, dropped);
    this.dispatchEvent(new PlanChanged({ layers, muteAttention: [], muteMlp: [] }));
    this.said = strings.map.applied(first, dropped);
  }

  private async read({ target }: Event): Promise<void> {
    const input = target as HTMLInputElement;
    const [file] = input.files ?? [];
    this.wrong = "";
    if (file === undefined) return;
    const words = strings.map;
    if (file.size > TEXT_MAX_BYTES) {
      this.wrong = words.tooLarge(file.name, file.size, TEXT_MAX_BYTES);
      return;
    }
    try {
      // Refused where it is no UTF-8: what cannot be read is not scanned as something else.
      const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
      this.file = { name: file.name, text };
    } catch {
      this.wrong = words.noText(file.name);
    } finally {
      input.value = "";
    }
  }

  private async start(event: Event): Promise<void> {
    event.preventDefault();
    const { session, pack } = this;
    if (session === null || pack === null || !this.ready) return;
    const plan = wholePlan(pack);
    if (plan === null || !this.checkNumbers(["samples", "tokens", "seed"])) return;
    const words = strings.map;
    await this.work(async (signal) => {
      const ids = await session.tokenize(this.file?.text ?? this.text);
      const request = this.request(ids.length, pack);
      if (request === null) return;
      this.scanned = null;
      this.curve = null;
      const found = await scan(session, plan, ids, request, signal, (soFar) => {
        this.scan = soFar;
        this.running = soFar;
        this.said = words.scanning(soFar.done, soFar.of);
      });
      this.scanned = { ids };
      this.said = words.scanned(request.samples, request.tokens, ids.length);
      this.dispatchEvent(new Scanned(bestBlocks(found)));
    });
  }

  /** As many samples as were asked for, or as the text has; null where it has none, which is told. */
  private request(found: number, pack: PackInfo): SamplesRequest | null {
    const { samples, tokens, seed } = this.numbers;
    const words = strings.map;
    if (tokens > pack.context) this.wrong = words.beyondContext(pack.context);
    else if (found < tokens) this.wrong = words.tooShort(found, tokens);
    else return { samples: Math.min(samples, Math.floor(found / tokens)), tokens, seed };
    return null;
  }

  private async measure(): Promise<void> {
    const { session, pack, scan: found, scanned } = this;
    if (session === null || pack === null || found === null || scanned === null) return;
    const plan = wholePlan(pack);
    if (plan === null || !this.checkNumbers(["windows"])) return;
    const words = strings.map;
    await this.work(async (signal) => {
      try {
        await curve(session, scanned.ids, {
          ...{ pack, plan, signal, windows: this.numbers.windows, best: bestBlocks(found) },
          tell: (soFar, done, of) => {
            this.curve = { ...soFar };
            this.running = { done, of };
            this.said = words.measuring(done, of);
          },
        });
        const tokens = Math.min(scanned.ids.length, this.numbers.windows * WINDOW);
        this.said = words.measured(tokens);
      } finally {
        // Whatever came of it, the lane is to be found as it was; it is told elsewhere if that fails.
        await session.rest(plan).catch(() => undefined);
      }
    });
  }

  private checkNumbers(fields: readonly Field[]): boolean {
    const isWrong = (field: Field) => {
      const value = this.numbers[field];
      const least = field === "seed" ? 0 : 1;
      return !Number.isInteger(value) || value < least || value > FIELDS[field].max;
    };
    const wrong = fields.find(isWrong);
    this.wrong =
      wrong === undefined
        ? ""
        : `${strings.map.fields[wrong]}: ${strings.settings.range(wrong === "seed" ? 0 : 1, FIELDS[wrong].max, true)}`;
    return wrong === undefined;
  }

  private async work(doIt: (signal: AbortSignal) => Promise<void>): Promise<void> {
    if (this.runner === null) return;
    this.wrong = "";
    this.said = "";
    this.running = { done: 0, of: 1 };
    const stopper = (this.stopper = new AbortController());
    const error = await this.runner((signal) => doIt(AbortSignal.any([signal, stopper.signal])));
    if (error !== null) this.wrong = error.message;
    else if (this.running.done < this.running.of && this.wrong === "")
      this.said = strings.map.stopped;
    this.running = null;
    this.stopper = null;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-map": MapPanel;
  }
}
