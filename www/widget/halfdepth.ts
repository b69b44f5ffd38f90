// <half-depth>: a question, two answers, one with half the layers. Until it is clicked it shows a recording and loads nothing but
// that, and the manifest that says how large the model is. docs/widget.md lists everything that authors may use.
import { manifestAddress, packBytes, packFiles } from "../manifest";
import { replayMs, textAt } from "../turns";
import { readRecording, type Recording } from "./recording";
import type {
  DoneDetail,
  ErrorDetail,
  Lanes,
  LoadDetail,
  ProgressDetail,
  Question,
  Shown,
  TokenDetail,
} from "./shown";
import { View, type Controls } from "./view";
import { size, words } from "./words";

export type {
  AnswerDetail,
  DoneDetail,
  ErrorDetail,
  LoadDetail,
  ProgressDetail,
  TokenDetail,
} from "./shown";

/** Put in by the build: what the engine weighs before a host compresses it. */
declare const __ENGINE_BYTES__: number;

/** Everything a `<half-depth>` tells. All of it bubbles and leaves shadow trees. */
export interface HalfDepthEventMap {
  /** The model is ready. */
  "halfdepth-load": CustomEvent<LoadDetail>;
  "halfdepth-progress": CustomEvent<ProgressDetail>;
  /** New text in a lane. */
  "halfdepth-token": CustomEvent<TokenDetail>;
  /** Both lanes have answered, or were stopped. */
  "halfdepth-done": CustomEvent<DoneDetail>;
  "halfdepth-error": CustomEvent<ErrorDetail>;
}

export type HalfDepthState = "poster" | "loading" | "ready" | "answering" | "unavailable";

// Whoever imports this where there is no document (a server that renders pages) gets a class that nobody constructs.
const Base =
  (globalThis.HTMLElement as typeof HTMLElement | undefined) ??
  // eslint-disable-next-line @typescript-eslint/no-extraneous-class -- stands in for a class
  (class {} as unknown as typeof HTMLElement);

const MOST_BYTES = 4 << 20;
const NEAR = "200px";

export class HalfDepthElement extends Base {
  static readonly observedAttributes = ["model", "plans", "prompt", "recorded"];

  private view: View | null = null;
  private recording: Recording | null = null;
  /** The last live comparison. */
  private shown: Shown | null = null;
  /** Of the model; null until its manifest has said so. */
  private bytes: number | null = null;
  private hasGpu: boolean | null = null;
  private error: string | null = null;
  private lanes: Lanes | null = null;
  private loading: AbortController | null = null;
  /** Whoever calls `load` meanwhile waits for the same. */
  private arriving = Promise.resolve();
  private progress: (ProgressDetail & { words: string }) | null = null;
  private frame = 0;
  private replayedMs: number | null = null;
  private seen: IntersectionObserver | null = null;
  /** What attributes asked for last; older answers are dropped. */
  private lookups = new AbortController();

  /** The address of a pack's folder or manifest. */
  get model(): string {
    return this.getAttribute("model") ?? "";
  }

  set model(value: string) {
    this.setAttribute("model", value);
  }

  get prompt(): string {
    return this.getAttribute("prompt") ?? "";
  }

  set prompt(value: string) {
    this.setAttribute("prompt", value);
  }

  /** Names of the lanes' plans. */
  get plans(): readonly string[] {
    const names = (this.getAttribute("plans") ?? "").split(",").map((name) => name.trim());
    return names.filter((name) => name !== "").slice(0, 2);
  }

  set plans(value: readonly string[]) {
    this.setAttribute("plans", value.join(","));
  }

  /** Longest answer. */
  get maxTokens(): number {
    return this.whole("max-tokens", 1, 100_000) ?? 128;
  }

  set maxTokens(value: number) {
    this.setAttribute("max-tokens", String(value));
  }

  /** 0 takes the likeliest token each time. */
  get temperature(): number {
    const value = this.number("temperature");
    return value !== null && value >= 0 && value <= 5 ? value : 0;
  }

  set temperature(value: number) {
    this.setAttribute("temperature", String(value));
  }

  get seed(): number {
    return this.whole("seed", 0, Number.MAX_SAFE_INTEGER) ?? 1;
  }

  set seed(value: number) {
    this.setAttribute("seed", String(value));
  }

  /** The address of a recording. */
  get recorded(): string {
    return this.getAttribute("recorded") ?? "";
  }

  set recorded(value: string) {
    this.setAttribute("recorded", value);
  }

  /** What it is at. */
  get state(): HalfDepthState {
    if (this.lanes !== null) return this.lanes.running ? "answering" : "ready";
    if (this.loading !== null) return "loading";
    return this.hasGpu === false ? "unavailable" : "poster";
  }

  /** Loads the model, if need be, and asks both lanes. Resolves when both have answered or were stopped. */
  async ask(prompt: string = this.prompt): Promise<DoneDetail | null> {
    await this.load();
    const { lanes } = this;
    if (lanes === null || lanes.running || prompt.trim() === "") return null;
    if (this.view !== null) this.view.prompt = prompt;
    this.endReplay();
    this.error = null;
    this.view?.hush();
    const { maxTokens, temperature, seed } = this;
    const question: Question = { prompt, maxTokens, temperature, seed };
    try {
      const asking = lanes.ask(question);
      this.refresh();
      const done = await asking;
      this.tell("halfdepth-done", done);
      return done;
    } catch (thrown) {
      if (lanes.lost) this.unload();
      this.fail(thrown);
      return null;
    } finally {
      this.refresh();
    }
  }

  /** Downloads and prepares the model. A script that calls it says itself, beforehand, how much that is. */
  load(): Promise<void> {
    const manifestUrl = this.manifestUrl();
    if (this.loading !== null) return this.arriving;
    if (this.lanes !== null || !this.isConnected) return Promise.resolve();
    if (manifestUrl === null || this.hasGpu === false) return Promise.resolve();
    this.loading = new AbortController();
    return (this.arriving = this.open(manifestUrl, this.loading));
  }

  private async open(manifestUrl: string, loading: AbortController): Promise<void> {
    this.error = null;
    this.progress = { loaded: 0, total: 0, words: words.starting };
    this.refresh();
    try {
      const { open } = await import("./lanes").catch(() => {
        throw new Error(words.chunk);
      });
      loading.signal.throwIfAborted();
      const lanes = await open({
        manifestUrl,
        plans: this.plans,
        signal: loading.signal,
        onProgress: (progress, said) => {
          this.progress = { ...progress, words: said };
          if (progress.total > 0) this.tell("halfdepth-progress", progress);
          this.refresh();
        },
        onShown: (shown) => {
          this.shown = shown;
          this.refresh();
        },
        onSpoken: (sentences) => this.view?.speak(sentences),
        onToken: (token) => {
          this.tell("halfdepth-token", token);
        },
      });
      if (loading.signal.aborted) {
        lanes.close();
        return;
      }
      this.lanes = lanes;
      this.tell("halfdepth-load", lanes.loaded);
    } catch (thrown) {
      if (!loading.signal.aborted) this.fail(thrown);
    } finally {
      if (this.loading === loading) this.loading = null;
      this.refresh();
    }
  }

  /** Stops loading, or answering. */
  stop(): void {
    this.loading?.abort();
    this.loading = null;
    this.lanes?.stop();
    this.refresh();
  }

  /** Gives the GPU back; what was answered stays. */
  unload(): void {
    this.stop();
    this.lanes?.close();
    this.lanes = null;
    this.refresh();
  }

  /** Shows the answers once more, side by side at the pace at which they came. */
  replay(): void {
    const shown = this.current();
    if (shown === null || this.state === "answering") return;
    const lastMs = replayMs({ answers: shown.lanes });
    let startMs: number | undefined;
    const step = (nowMs: number) => {
      startMs ??= nowMs;
      this.replayedMs = nowMs - startMs;
      if (this.replayedMs > lastMs) {
        this.endReplay();
        return;
      }
      this.frame = requestAnimationFrame(step);
      this.refresh();
    };
    this.endReplay();
    this.frame = requestAnimationFrame(step);
  }

  connectedCallback(): void {
    // An element that is moved comes twice, and so may a page that runs this twice.
    this.view ??= new View(this.shadowRoot ?? this.attachShadow({ mode: "open" }), {
      load: () => void this.press(),
      cancel: () => {
        this.stop();
      },
      ask: (prompt) => void this.ask(prompt),
      stop: () => {
        this.stop();
      },
      replay: () => {
        if (this.replayedMs === null) this.replay();
        else this.endReplay();
      },
    });
    this.look();
  }

  disconnectedCallback(): void {
    this.seen?.disconnect();
    this.seen = null;
    this.lookups.abort();
    // What is only moved is back before this runs.
    queueMicrotask(() => {
      if (this.isConnected) return;
      this.endReplay();
      this.unload();
    });
  }

  attributeChangedCallback(name: string, before: string | null, now: string | null): void {
    if (before === now || this.view === null || !this.isConnected) return;
    if (name === "prompt") this.view.prompt = this.prompt;
    if (name === "model" || name === "plans") this.unload();
    if (name === "model") {
      this.bytes = this.shown = null;
    }
    if (name !== "prompt") this.look();
  }

  /** Reads what the attributes name: the recording at once, the manifest when the widget comes into view. */
  private look(): void {
    this.lookups.abort();
    const { signal } = (this.lookups = new AbortController());
    if (this.view !== null) this.view.prompt = this.prompt;
    this.error = null;
    this.hasGpu = "gpu" in navigator ? this.hasGpu : false;
    if (this.hasGpu !== false && this.manifestUrl() === null) this.error = words.noModel;
    this.refresh();
    const recorded = this.readRecorded(signal);
    this.seen?.disconnect();
    this.seen = new IntersectionObserver(
      (entries) => {
        if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
        this.seen?.disconnect();
        void recorded.then(() => this.lookCloser(signal));
      },
      { rootMargin: NEAR },
    );
    this.seen.observe(this);
  }

  private async readRecorded(signal: AbortSignal): Promise<void> {
    const text = this.recorded.trim();
    this.recording = null;
    if (text === "") return;
    try {
      const url = new URL(text, document.baseURI);
      if (!/^https?:$/.test(url.protocol)) throw new Error(url.protocol);
      const recording = readRecording(await fetchJson(url.href, signal));
      if (recording === null) throw new Error(url.href);
      if (!signal.aborted) this.recording = recording;
    } catch {
      if (!signal.aborted) this.error ??= words.noRecording;
    }
    this.refresh();
  }

  /** In view: a size is about to be named, and a recording is worth playing. */
  private async lookCloser(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!isStill && !document.hidden && this.shown === null && this.recording !== null)
      this.replay();
    if (this.hasGpu === null) {
      // A browser may know WebGPU and have no GPU to give.
      const adapter = await navigator.gpu.requestAdapter().catch(() => null);
      this.hasGpu = adapter !== null;
      this.refresh();
    }
    if (this.hasGpu) await this.readSize(signal);
  }

  private async readSize(signal: AbortSignal): Promise<void> {
    const manifestUrl = this.manifestUrl();
    if (manifestUrl === null || this.bytes !== null) return;
    this.error = null;
    try {
      const files = packFiles(await fetchJson(manifestUrl, signal));
      if (signal.aborted) return;
      if (files === null) this.fail(new Error(words.noManifest(manifestUrl)));
      else this.bytes = packBytes(files);
    } catch {
      if (!signal.aborted) this.fail(new Error(words.unreachable(manifestUrl)));
    }
    this.refresh();
  }

  /** The button: before the size is known, it looks for it once more; else it names it, and loads. */
  private async press(): Promise<void> {
    if (this.bytes === null) await this.readSize(this.lookups.signal);
    else await this.ask(this.view?.prompt);
  }

  private manifestUrl(): string | null {
    const text = this.model.trim();
    const address = text === "" ? "unreadable" : manifestAddress(text, document.baseURI);
    return address instanceof URL ? address.href : null;
  }

  private current(): Shown | null {
    return this.shown ?? this.recording?.shown ?? null;
  }

  private endReplay(): void {
    cancelAnimationFrame(this.frame);
    this.replayedMs = null;
    this.refresh();
  }

  private fail(thrown: unknown): void {
    const { name, message } = thrown instanceof Error ? thrown : new Error(String(thrown));
    if (name === "Aborted" || name === "AbortError") return;
    this.error = message;
    this.tell("halfdepth-error", { name, message });
  }

  private refresh(): void {
    const { view } = this;
    if (view === null) return;
    const shown = this.current();
    view.control(this.controls(shown));
    const ms = this.replayedMs;
    const texts =
      ms === null || shown === null
        ? null
        : ([textAt(shown.lanes[0], ms), textAt(shown.lanes[1], ms)] as const);
    view.show(shown, texts);
  }

  private controls(shown: Shown | null): Controls {
    const { state, bytes, error, progress, recording } = this;
    const isPoster = state === "poster";
    const isRecorded = this.shown === null && recording !== null;
    const on = recording?.on ?? "";
    const offer = bytes === null ? null : words.load(size(bytes + engineBytes()));
    const canReplay = shown !== null && state !== "answering" && state !== "loading";
    const replay = this.replayedMs === null ? words.replay : words.endReplay;
    const noGpu = state === "unavailable" ? words.noGpu : null;
    return {
      load: !isPoster
        ? null
        : (offer ?? (error !== null && this.manifestUrl() !== null ? words.again : null)),
      sizes: isPoster && bytes !== null ? words.sizes(size(bytes), size(engineBytes())) : null,
      progress: state === "loading" ? progress : null,
      canAsk: state === "ready" || state === "answering",
      isRunning: state === "answering",
      note: error ?? (state === "loading" ? (progress?.words ?? null) : noGpu),
      isError: error !== null,
      label: isRecorded ? (isPoster ? words.recorded : words.recordedOnly)(on) : null,
      replay: canReplay ? replay : null,
      ownContent: shown === null,
    };
  }

  private number(name: string): number | null {
    const text = this.getAttribute(name)?.trim() ?? "";
    const value = Number(text);
    return text !== "" && Number.isFinite(value) ? value : null;
  }

  private whole(name: string, least: number, most: number): number | null {
    const value = this.number(name);
    return value !== null && Number.isInteger(value) && value >= least && value <= most
      ? value
      : null;
  }

  private tell<K extends keyof HalfDepthEventMap>(
    type: K,
    detail: HalfDepthEventMap[K]["detail"],
  ): void {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
  }
}

async function fetchJson(url: string, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(url, { signal });
  if (!response.ok) throw new Error(String(response.status));
  const text = await response.text();
  if (text.length > MOST_BYTES) throw new Error("too large");
  return JSON.parse(text) as unknown;
}

function engineBytes(): number {
  return typeof __ENGINE_BYTES__ === "number" ? __ENGINE_BYTES__ : 0;
}

// A page may run this twice, in two versions even; the first one stands.
if (typeof customElements !== "undefined" && customElements.get("half-depth") === undefined) {
  customElements.define("half-depth", HalfDepthElement);
}

declare global {
  interface HTMLElementTagNameMap {
    "half-depth": HalfDepthElement;
  }
  // eslint-disable-next-line @typescript-eslint/no-empty-object-type -- merges the names into the DOM's own
  interface HTMLElementEventMap extends HalfDepthEventMap {}
}
