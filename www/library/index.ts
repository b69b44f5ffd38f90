// The library: `import { Halfdepth } from "halfdepth"`. docs/library.md tells how it is used.
import { packUrl } from "../address";
import { fetchManifest, openStore, storedBytes } from "../download";
import type { Adapter, PackInfo, PlanInfo } from "../engine";
import { packFiles } from "../manifest";
import { HalfdepthError, type LoadStage, type Opened } from "../protocol";
import { strings } from "../strings";
import { choosePlans } from "../turns";
import { borrow, engineState, type Borrowed } from "./engine";
import { completions, type Completions } from "./chat";
import { readSampling, type MessageInput, type SamplingInput } from "./request";
import { LanguageModelSession } from "./session";
import { refuseWithoutWebGpu } from "./webgpu";

export type { Adapter, LaneStats, Message, PackInfo, PlanFigures, PlanInfo } from "../engine";
export { HalfdepthError, type ErrorName, type LoadStage, type Opened } from "../protocol";
export type * from "./chat";
export type { MessageInput, SamplingInput, TextPart } from "./request";
export {
  LanguageModelSession,
  type CloneOptions,
  type PromptInput,
  type PromptOptions,
  type SessionEventMap,
} from "./session";

export type Availability = "unavailable" | "downloadable" | "downloading" | "available";

export interface ModelOptions {
  /** The address of a pack's folder, or of its manifest.json; relative to the page. */
  model: string;
}

export interface LoadOptions extends ModelOptions {
  /** The plans whose lanes are to be ready at once; left out, all layers. Others are made when they are first asked. */
  plans?: readonly string[] | undefined;
  /** As in the Prompt API: `monitor(m) { m.addEventListener("downloadprogress", …) }`. */
  monitor?: ((monitor: Monitor) => void) | undefined;
  signal?: AbortSignal | undefined;
  /** Asked with what is still to be downloaded, before any of it is. Left out, nobody is asked. */
  consent?: ((opened: Opened) => boolean | Promise<boolean>) | undefined;
  onStage?: ((stage: LoadStage) => void) | undefined;
}

export interface CreateOptions extends SamplingInput {
  /** Left out, the first of the plans that were loaded. */
  plan?: string | undefined;
  initialPrompts?: readonly MessageInput[] | undefined;
  monitor?: ((monitor: Monitor) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** How far a download is: `loaded` runs from 0 to 1, as in the Prompt API. */
export class DownloadProgressEvent extends Event {
  readonly lengthComputable = true;
  readonly total = 1;

  constructor(
    readonly loaded: number,
    readonly loadedBytes: number,
    readonly totalBytes: number,
  ) {
    super("downloadprogress");
  }
}

/** Dispatches `downloadprogress`. */
export class Monitor extends EventTarget {
  ondownloadprogress: ((event: DownloadProgressEvent) => unknown) | null = null;

  constructor() {
    super();
    super.addEventListener("downloadprogress", (event) => {
      if (event instanceof DownloadProgressEvent) this.ondownloadprogress?.(event);
    });
  }

  override addEventListener(
    type: "downloadprogress",
    listener: (event: DownloadProgressEvent) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(
    type: string,
    listener:
      ((event: DownloadProgressEvent) => unknown) | EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void {
    super.addEventListener(type, listener as EventListener, options);
  }
}

/** A loaded pack. Others on the page that load the same pack share its engine. */
export class Halfdepth {
  /** `chat.completions.create`, as OpenAI's clients have it. */
  readonly chat: { readonly completions: Completions };
  private borrowed: Borrowed | null;
  private readonly opened: Opened;
  private readonly firstPlan: string;
  private readonly life = new AbortController();

  private constructor(borrowed: Borrowed, firstPlan: string) {
    this.borrowed = borrowed;
    this.opened = borrowed.opened;
    this.firstPlan = firstPlan;
    this.chat = {
      completions: completions({
        borrowed: () => this.held(),
        plans: this.plans.map(({ name }) => name),
        contextWindow: this.contextWindow,
      }),
    };
  }

  /** What stands between the page and an answer of this model. Downloads a manifest at most. */
  static async availability({ model }: ModelOptions): Promise<Availability> {
    const manifest = manifestUrl(model);
    const state = engineState(manifest);
    if (state !== "none") return state === "ready" ? "available" : "downloading";
    try {
      refuseWithoutWebGpu();
      if ((await navigator.gpu.requestAdapter()) === null) return "unavailable";
      const bytes = await fetchManifest(manifest, AbortSignal.timeout(60_000));
      const files = packFiles(JSON.parse(new TextDecoder().decode(bytes)));
      if (files === null) return "unavailable";
      // Undefined, whatever the library's types say, on pages that are not served over https.
      const store = await openStore(globalThis.caches);
      const listed = files.map((file) => ({ ...file, role: "layer" as const, layer: null }));
      const missing = files.reduce((sum, { bytes }) => sum + bytes, 0);
      return (await storedBytes(listed, store)) < missing ? "downloadable" : "available";
    } catch {
      return "unavailable";
    }
  }

  static async load(options: LoadOptions): Promise<Halfdepth> {
    const { model, plans: asked, monitor, signal, consent, onStage } = options;
    const manifest = manifestUrl(model);
    signal?.throwIfAborted();
    refuseWithoutWebGpu();
    const progress = monitored(monitor);
    let first = "";
    const borrowed = await borrow(manifest, {
      signal,
      consent,
      onStage: (stage) => {
        onStage?.(stage);
        if (stage.stage === "files") progress(stage.progress.bytesDone, stage.progress.bytes);
      },
      plans: ({ pack }) => {
        const plans = lanes(pack, asked);
        first = plans[0] ?? "";
        return plans;
      },
    });
    progress(borrowed.opened.bytes, borrowed.opened.bytes);
    return new Halfdepth(borrowed, first);
  }

  get pack(): PackInfo {
    return this.opened.pack;
  }

  get adapter(): Adapter {
    return this.opened.adapter;
  }

  get plans(): readonly PlanInfo[] {
    return this.opened.pack.plans;
  }

  get contextWindow(): number {
    return Math.min(this.opened.pack.context, LARGEST_CONTEXT);
  }

  /** The model is loaded, so it is there. */
  availability(): Promise<Availability> {
    return Promise.resolve(this.borrowed === null ? "downloadable" : "available");
  }

  async create(options: CreateOptions = {}): Promise<LanguageModelSession> {
    const { plan = this.firstPlan, initialPrompts, monitor, signal } = options;
    const borrowed = this.held();
    signal?.throwIfAborted();
    if (!this.plans.some(({ name }) => name === plan)) throw noPlan(plan, this.pack);
    const asked = readSampling(options, this.contextWindow);
    // Whoever waits for an event gets it: everything is here.
    monitored(monitor)(this.opened.bytes, this.opened.bytes);
    const { contextWindow } = this;
    const session = new LanguageModelSession({ borrowed, plan, contextWindow, asked });
    const end = () => {
      session.destroy();
    };
    // As in the Prompt API, the signal that a session is created with ends it, too.
    signal?.addEventListener("abort", end, { once: true });
    this.life.signal.addEventListener("abort", end, { once: true });
    if (initialPrompts !== undefined) await session.append(initialPrompts);
    return session;
  }

  /** Tokens of a text, without the chat template's marks. */
  tokenize(text: string): Promise<number[]> {
    return this.held().tokenize(text);
  }

  /** Ends its sessions and gives the engine back; the last user on the page frees the GPU. */
  destroy(): void {
    this.life.abort();
    this.borrowed?.release();
    this.borrowed = null;
  }

  [Symbol.dispose](): void {
    this.destroy();
  }

  private held(): Borrowed {
    if (this.borrowed === null) {
      throw new DOMException(strings.library.destroyed, "InvalidStateError");
    }
    return this.borrowed;
  }
}

// What the engine grants a lane at most: crates/wasm/src/engine.rs.
const LARGEST_CONTEXT = 4096;

function manifestUrl(model: string): string {
  // Types vanish at run time.
  if (typeof model !== "string" || model.trim() === "") {
    throw new HalfdepthError("InvalidAddress", strings.library.noModel);
  }
  return packUrl(model, document.baseURI);
}

function lanes(pack: PackInfo, asked: readonly string[] | undefined): readonly string[] {
  const chosen = choosePlans(pack.plans);
  if (chosen === null) throw new HalfdepthError("PackError", strings.engine.noPlans);
  if (asked === undefined || asked.length === 0) return [chosen.first.name];
  const names = new Set(pack.plans.map(({ name }) => name));
  for (const plan of asked) if (!names.has(plan)) throw noPlan(plan, pack);
  return [...new Set(asked)];
}

function noPlan(plan: string, { plans }: PackInfo): HalfdepthError {
  const names = plans.map(({ name }) => name);
  return new HalfdepthError("InvalidRequest", strings.library.noPlan(plan, names));
}

/** Tells each step once, the last one too. */
function monitored(monitor: ((monitor: Monitor) => void) | undefined) {
  if (monitor === undefined) return () => undefined;
  const target = new Monitor();
  monitor(target);
  let last = -1;
  return (done: number, of: number) => {
    const loaded = of === 0 ? 1 : done / of;
    if (loaded <= last) return;
    last = loaded;
    target.dispatchEvent(new DownloadProgressEvent(loaded, done, of));
  };
}
