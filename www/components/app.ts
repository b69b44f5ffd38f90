// The page: loads the model, holds the conversation, and hands both to the components that show them.
import { html, LitElement, nothing } from "lit";
import { customElement, query, state } from "lit/decorators.js";
import { manifestUrl } from "../address";
import { Client } from "../client";
import type { PlanChange } from "../engine";
import { needsReload, toErrorShape, type Opened } from "../protocol";
import { History, indexedDbKeeper } from "../history";
import { Lanes } from "../lanes";
import { fingerprint, read, type Read } from "../link";
import { recorded } from "../recorded";
import { report } from "../report";
import { Sentences } from "../sentences";
import { Session } from "../session";
import { DEFAULT_SETTINGS, type Settings } from "../settings";
import { strings } from "../strings";
import {
  Conversation,
  LANES,
  type Change,
  type Exchange,
  type LaneIndex,
  thirdPlans,
  type Plans,
} from "../turns";
import { onHidden } from "../visibility";
import "./about";
import { type Ask, type Asked } from "./ask";
import "./ask";
import type { LookAsked } from "./exchange";
import "./exchange";
import "./lane-head";
import { layout } from "./layout";
import "./map-door";
import type { Runner, Scanned } from "./map/panel";
import type { PlanChosen, PlanChanged } from "./lane-head";
import { Looking } from "./looking";
import { Measuring } from "./measuring";
import "./notice";
import "./recorded";
import "./settings";
import type { SettingsChanged } from "./settings";
import { shared } from "./shared";
import { sharerOf } from "./sharing";
import "./status";
import { arrivedLayers, foreign, home, refuseWithoutWebGpu } from "./surroundings";
import type { LoadState, StatusAction } from "./status";

// Up to here a model loads without asking: about what a page with a few pictures weighs.
const CONSENT_ABOVE_BYTES = 25_000_000;

@customElement("hd-app")
export class App extends LitElement {
  @state() private load: LoadState = { kind: "loading", stage: { stage: "engine" } };
  @state() private settings: Settings = DEFAULT_SETTINGS;
  @state() private settingsOpen = false;
  /** What the address asks. */
  @state() private address: Read = { kind: "none" };
  /** Whether the answers are those that were shared. */
  @state() private same: boolean | null = null;
  /** Sentences for the screen reader. */
  @state() private spoken: readonly string[] = [];
  @query("hd-ask") private readonly box!: Ask;

  private session: Session | null = null;
  /** The pack as last opened: it outlives the session, so that the lanes keep their heads while it loads again. */
  private opened: Opened | null = null;
  private readonly lanes = new Lanes();
  private loading: AbortController | null = null;
  private agree: (yes: boolean) => void = () => undefined;
  /** Stands in for the built-in model before it has been asked anything. */
  private readonly recorded = foreign() ? null : recorded();
  private readonly conversation = new Conversation(
    (change) => {
      this.followed(change);
    },
    () => document.hidden,
  );
  private unwatch: () => void = () => undefined;
  /** Null while a link is shown: what it asks takes no room from the visitor's own conversation. */
  private history: History | null = null;
  /** Layers of the whole model, as an earlier visit knew them. */
  private keptLayers = 0;
  /** The browser refused to keep the conversation. */
  @state() private unkept = false;
  private readonly measuring = new Measuring(this);
  private readonly looking = new Looking(this);
  /** Of the text that was scanned last; see `Depth`. */
  @state() private bestBlocks: readonly number[] | null = null;
  private readonly runner: Runner = async (work) => {
    const error = await this.looking.run(work);
    this.watchForLoss(error);
    return error;
  };
  /** A shared comparison that still waits for the model. */
  private unasked: (Read & { kind: "shared" }) | null = null;
  private readonly sharer = sharerOf({
    session: () => this.session,
    upTo: (exchange) => this.upTo(exchange),
    measurement: (exchange) => this.measuring.of(exchange),
  });
  private readonly voices = [new Sentences(), new Sentences(), new Sentences()] as const;

  static override styles = [shared, layout];

  override connectedCallback(): void {
    super.connectedCallback();
    this.readAddress();
    void this.recall();
    addEventListener("hashchange", reload);
    this.unwatch = onHidden(() => {
      this.conversation.wasHidden();
    });
    void this.start();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    removeEventListener("hashchange", reload);
    this.unwatch();
    this.loading?.abort();
    this.conversation.stop();
    this.measuring.stop();
    this.looking.stop();
    this.session?.close();
  }

  override render() {
    return html`
      <header>
        <h1>${strings.title}</h1>
        <p class="lead">${strings.lead}</p>
      </header>
      <main>
        ${this.shownPlans === null ? nothing : this.renderLanes(this.shownPlans)}
        <hd-notice
          .read=${this.address}
          .same=${this.same}
          .unknownPlans=${this.lanes.unknown}
          .unfitPlans=${this.lanes.unfit}
          home=${home()}
        ></hd-notice>
        <hd-status
          .load=${this.load}
          .pack=${this.opened?.pack ?? null}
          weightBytes=${this.session?.memory.weightBytes ?? 0}
          ?conversation=${this.conversation.exchanges.length > 0}
          ?software=${this.opened?.adapter.fallback === true}
          ?foreign=${foreign()}
          @status-action=${this.act}
        ></hd-status>
        ${this.conversation.exchanges.length > 0 ? this.renderExchanges() : this.renderInvitation()}
        ${this.unkept ? html`<p class="unkept" role="status">${strings.history.notKept}</p>` : nothing}
        ${this.renderComposer()}
        <hd-map-door
          .pack=${this.opened?.pack ?? null}
          .session=${this.session}
          .runner=${this.runner}
          ?available=${this.session !== null && !this.occupied}
          @plan-changed=${({ detail }: PlanChanged) => {
            this.changePlan(1, detail.change);
          }}
          @scanned=${({ detail }: Scanned) => (this.bestBlocks = detail.best)}
        ></hd-map-door>
        <div class="visually-hidden" role="log" aria-live="polite">
          ${this.spoken.map((sentence) => html`<p>${sentence}</p>`)}
        </div>
      </main>
      <footer>
        <hd-about .opened=${this.opened} ?foreign=${foreign()}></hd-about>
      </footer>
    `;
  }

  private renderLanes(plans: Plans) {
    const { layers } = this;
    return html`
      <div class="lanes">
        ${plans.map((plan, at) => {
          const lane = LANES[at] ?? 0;
          return html`<hd-lane-head
            class="lane-${lane}"
            data-lane=${lane}
            .lane=${lane}
            .plan=${plan}
            .choices=${this.session === null ? [] : this.lanes.choices}
            ?changeable=${this.session !== null}
            .bestBlocks=${this.bestBlocks}
            ?pending=${this.load.kind === "loading"}
            layers=${layers}
            weightBytes=${this.session?.memory.weightBytes ?? 0}
            laneBytes=${this.session?.laneBytes(plan.name) ?? 0}
            .arrived=${arrivedLayers(this.load, this.opened)}
            ?busy=${this.busy(lane)}
            ?locked=${this.occupied}
            @plan-chosen=${({ detail }: PlanChosen) => {
              this.lanes.choose(lane, detail.plan);
              this.requestUpdate();
            }}
            @plan-changed=${({ detail }: PlanChanged) => {
              this.changePlan(lane, detail.change);
            }}
          ></hd-lane-head>`;
        })}
      </div>
    `;
  }

  private renderExchanges() {
    const { layers } = this;
    return html`<div class="exchanges">
      ${this.conversation.exchanges.map(
        (exchange) =>
          html`<hd-exchange
            .exchange=${exchange}
            layers=${layers}
            .pack=${this.opened?.pack ?? null}
            .measurement=${this.measuring.of(exchange)}
            .bytesPerSecond=${this.measuring.bytesPerSecond}
            ?joinable=${this.mayJoin(exchange)}
            ?measurable=${this.session !== null && !this.occupied}
            @measure=${() => this.measure(exchange)}
            .findings=${this.looking.of(exchange)}
            @look-asked=${({ detail }: LookAsked) => this.look(exchange, detail)}
            .sharer=${this.session === null ? null : this.sharer}
          ></hd-exchange>`,
      )}
    </div>`;
  }

  /** What may be asked, and, of the built-in model, what came of it elsewhere. */
  private renderInvitation() {
    const { examples, examplesLabel } = strings.ask;
    return html`${
        this.recorded === null
          ? nothing
          : html`<hd-recorded
              class="recorded"
              .exchange=${this.recorded.exchange}
              layers=${this.recorded.layers}
              on=${this.recorded.on}
            ></hd-recorded>`
      }
      <div class="examples" role="group" aria-label=${examplesLabel}>
        ${examples.map(
          (example) =>
            html`<button
              type="button"
              ?disabled=${this.load.kind !== "ready"}
              @click=${() => {
                this.box.ask(example);
              }}
            >
              ${example}
            </button>`,
        )}
      </div>`;
  }

  private changePlan(lane: LaneIndex, change: PlanChange | null): void {
    this.lanes.change(lane, change);
    this.requestUpdate();
  }

  private renderComposer() {
    return html`<div class="composer">
      ${
        this.settingsOpen
          ? html`<hd-settings
              id="settings"
              .settings=${this.settings}
              @settings-changed=${(event: SettingsChanged) => {
                this.settings = event.detail;
              }}
            ></hd-settings>`
          : nothing
      }
      <hd-ask
        lanes=${this.plans?.length ?? 2}
        ?ready=${this.load.kind === "ready"}
        ?running=${this.occupied}
        ?started=${this.conversation.exchanges.length > 0}
        @asked=${this.asked}
        @stop=${() => {
          this.conversation.stop();
          this.measuring.stop();
          this.looking.stop();
        }}
        @regenerate=${this.regenerate}
        @new-conversation=${this.startAnew}
      >
        <button
          class="quiet"
          type="button"
          aria-expanded=${this.settingsOpen}
          aria-controls="settings"
          @click=${() => (this.settingsOpen = !this.settingsOpen)}
        >
          ${strings.settings.title}
        </button>
        ${this.renderThirdLane()}
      </hd-ask>
    </div>`;
  }

  /** A pack with more than two plans may answer in three lanes. */
  private renderThirdLane() {
    const { plans } = this;
    const [other] = thirdPlans(this.lanes.choices, plans ?? []);
    if (plans === null || other === undefined) return nothing;
    const isOn = plans.length === 3;
    return html`<button
      class="quiet"
      type="button"
      aria-pressed=${isOn}
      ?disabled=${this.session === null || this.occupied}
      @click=${() => {
        this.lanes.third(isOn ? null : other.name);
        this.requestUpdate();
      }}
    >
      ${strings.lane.third}
    </button>`;
  }

  override updated(): void {
    // For whoever drives or measures the page: what it is at.
    document.documentElement.dataset.phase = this.phase();
  }

  private phase(): string {
    if (this.load.kind !== "ready") return this.load.kind;
    if (this.measuring.isRunning) return "measuring";
    if (this.looking.isRunning) return "looking";
    const busy = LANES.filter((lane) => this.busy(lane));
    if (busy.length > 1) return "both";
    return busy[0] === undefined ? "idle" : `lane-${busy[0]}`;
  }

  /** The lanes answer, draft or are measured. */
  private get occupied(): boolean {
    return this.conversation.running || this.measuring.isRunning || this.looking.isRunning;
  }

  private busy(lane: LaneIndex): boolean {
    return this.conversation.exchanges.at(-1)?.answers.at(lane)?.state === "running";
  }

  private async start(): Promise<void> {
    this.loading?.abort();
    this.session?.close();
    this.session = null;
    const loading = (this.loading = new AbortController());
    this.load = { kind: "loading", stage: { stage: "engine" } };
    try {
      const manifest = manifestUrl(location.search, location.href);
      refuseWithoutWebGpu();
      const worker = new Worker(new URL("../worker.ts", import.meta.url), { type: "module" });
      const session = await Session.load(new Client(worker), {
        manifestUrl: manifest,
        signal: loading.signal,
        askedPlans: this.lanes.asked,
        onStage: (stage) => {
          this.load = { kind: "loading", stage };
        },
        consent: (opened) => this.consent(opened, loading.signal),
      });
      this.session = session;
      this.load = { kind: "ready" };
      this.say([strings.speak.loaded]);
      this.writeReport();
      void this.askShared();
    } catch (thrown) {
      // A later start has taken over.
      if (this.loading !== loading) return;
      const error = toErrorShape(thrown);
      this.load = error.name === "Aborted" ? { kind: "cancelled" } : { kind: "failed", error };
    }
  }

  private async consent(opened: Opened, signal: AbortSignal): Promise<boolean> {
    this.opened = opened;
    this.lanes.open(opened.pack);
    if (opened.bytes - opened.storedBytes <= CONSENT_ABOVE_BYTES) return true;
    this.load = { kind: "consent", opened };
    return new Promise((resolve) => {
      this.agree = resolve;
      signal.addEventListener("abort", () => {
        resolve(false);
      });
    });
  }

  private act({ detail }: StatusAction): void {
    if (detail === "cancel") this.loading?.abort();
    else if (detail === "consent") this.agree(true);
    else void this.start();
  }

  private get plans(): Plans | null {
    return this.lanes.plans;
  }

  private readAddress(): void {
    this.address = read(location.href);
    if (this.address.kind === "shared") {
      this.unasked = this.address;
      this.settings = this.address.shared.settings;
      this.lanes.ask(this.address.shared.plans, this.address.shared.changes);
    } else if (this.address.kind === "plans") {
      this.lanes.ask(this.address.plans, this.address.changes);
    }
  }

  /** The visitor's conversation with this pack. */
  private ownHistory(): History | null {
    try {
      return new History(indexedDbKeeper(), manifestUrl(location.search, location.href));
    } catch {
      return null; // no address of a pack, as will be told
    }
  }

  private async recall(): Promise<void> {
    if (this.address.kind === "shared") return;
    this.history = this.ownHistory();
    const kept = await this.history?.recall();
    if (kept == null || this.conversation.exchanges.length > 0) return;
    this.keptLayers = kept.layers;
    this.conversation.restore(kept.exchanges);
    this.requestUpdate();
  }

  private async keep(): Promise<void> {
    const { exchanges } = this.conversation;
    const kept = await this.history?.keep({ exchanges, layers: this.layers });
    if (kept === false) this.unkept = true;
  }

  /** Of the whole model; 0 before anything is known of it. */
  private get layers(): number {
    return this.opened?.pack.layers ?? (this.keptLayers || (this.recorded?.layers ?? 0));
  }

  /** Asks what was shared, question by question, unless the visitor stops it. */
  private async askShared(): Promise<void> {
    const { unasked, session, plans } = this;
    if (unasked === null || session === null || plans === null) return;
    this.unasked = null;
    const { questions, settings, fingerprints } = unasked.shared;
    for (const { text, seed } of questions) {
      const sampling = { ...settings.sampling, seed };
      await this.conversation.ask(text, plans, { ...settings, sampling }, session);
      const last = this.conversation.exchanges.at(-1);
      if (last === undefined || wasStopped(last)) return;
    }
    const made = this.conversation.exchanges.at(-1)?.answers.map(({ text }) => fingerprint(text));
    if (fingerprints.length > 0) this.same = fingerprints.join() === made?.join();
  }

  /** Leaves what the address asked behind, so that a reload does not bring it back. */
  private startAnew(): void {
    this.conversation.clear();
    if (this.address.kind !== "shared") return;
    this.address = { kind: "none" };
    this.same = null;
    this.history = this.ownHistory();
    history.replaceState(null, "", location.pathname + location.search);
  }

  private async measure(exchange: Exchange): Promise<void> {
    const { session } = this;
    if (session === null || this.occupied) return;
    const before = this.upTo(exchange).slice(0, -1);
    this.watchForLoss(await this.measuring.run(session, exchange, before));
  }

  private async look(exchange: Exchange, ask: LookAsked["detail"]): Promise<void> {
    const { session } = this;
    if (session === null || this.occupied) return;
    const before = this.upTo(exchange).slice(0, -1);
    this.watchForLoss(await this.looking.look(session, exchange, before, ask));
    if (ask.what !== "third") return;
    this.writeReport();
    void this.keep();
  }

  /** Before the pack is open, the plans that the recording has. */
  private get shownPlans(): Plans | null {
    if (this.plans !== null || this.recorded === null) return this.plans;
    const [first, second] = this.recorded.exchange.answers;
    return [first.plan, second.plan];
  }

  /** A third lane that has answered a later question did so without this one: it joins no more. */
  private mayJoin(exchange: Exchange): boolean {
    const { exchanges } = this.conversation;
    const later = exchanges.slice(exchanges.indexOf(exchange) + 1);
    return later.every(({ answers }) => answers.length === 2);
  }

  private upTo(exchange: Exchange): readonly Exchange[] {
    const { exchanges } = this.conversation;
    return exchanges.slice(0, exchanges.indexOf(exchange) + 1);
  }

  private asked({ detail }: Asked): void {
    if (this.session === null || this.plans === null || this.occupied) return;
    void this.conversation.ask(detail.question, this.plans, this.settings, this.session);
  }

  private regenerate(): void {
    if (this.session === null || this.plans === null || this.occupied) return;
    void this.conversation.regenerate(this.plans, this.settings, this.session);
  }

  private followed(change: Change): void {
    this.requestUpdate();
    switch (change.kind) {
      case "asked":
        this.spoken = [];
        void this.keep();
        void this.scrollToLast();
        break;
      case "began":
        this.say([
          strings.speak.begins(strings.lane.title(change.answer.plan, this.layers, change.lane)),
        ]);
        break;
      case "text":
        this.say(this.voices[change.lane].push(change.text));
        break;
      case "ended":
        this.say(this.voices[change.lane].finish());
        this.writeReport();
        void this.keep();
        this.watchForLoss(change.answer.error);
        break;
      case "settled":
        this.say([wasStopped(change.exchange) ? strings.speak.stopped : strings.speak.done]);
        this.writeReport();
        break;
      case "cleared":
        this.spoken = [];
        this.writeReport();
        void this.keep();
        break;
    }
  }

  /** A dead engine takes its session along; the conversation stays. */
  private watchForLoss(error: ReturnType<typeof toErrorShape> | null): void {
    if (error === null || !needsReload(error.name)) return;
    this.session?.close();
    this.session = null;
    this.load = { kind: "failed", error };
  }

  private async scrollToLast(): Promise<void> {
    await this.updateComplete;
    const last = [...this.renderRoot.querySelectorAll("hd-exchange")].at(-1);
    last?.scrollIntoView({ block: "start" });
  }

  private say(sentences: readonly string[]): void {
    if (sentences.length > 0) this.spoken = [...this.spoken, ...sentences];
  }

  private writeReport(): void {
    const element = document.getElementById("report");
    if (element === null || this.session === null) return;
    const last = this.conversation.exchanges.at(-1);
    element.textContent = JSON.stringify(report(this.session, last, navigator.userAgent));
  }
}

function wasStopped({ answers }: Exchange): boolean {
  return answers.some(({ finish }) => finish === "stopped" || finish === "failed");
}

/** Another link was put into the address bar: only its fragment differs, so the browser itself would do nothing. */
function reload(): void {
  location.reload();
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-app": App;
  }
}
