// The widget's elements, made once, and what stands in them. Whatever text comes in is put in as text.
import type { Shown, ShownLane } from "./shown";
import { style } from "./style";
import { laneWords, rate, words } from "./words";

/** What can be done just now, and what is said about it. */
export interface Controls {
  /** Label of the button that loads; null where it cannot be pressed. */
  load: string | null;
  /** Under that button. */
  sizes: string | null;
  /** Loading: bytes so far; null where nothing loads. */
  progress: { loaded: number; total: number } | null;
  canAsk: boolean;
  isRunning: boolean;
  note: string | null;
  isError: boolean;
  /** Where what is shown comes from. */
  label: string | null;
  /** Null where there is nothing to replay. */
  replay: string | null;
  /** The element's own content instead of a comparison. */
  ownContent: boolean;
}

export interface Actions {
  load(): void;
  cancel(): void;
  ask(prompt: string): void;
  stop(): void;
  replay(): void;
}

interface LaneParts {
  lane: HTMLElement;
  title: HTMLElement;
  strip: HTMLElement;
  written: HTMLElement;
  rest: HTMLElement;
  note: HTMLElement;
  speed: HTMLElement;
}

export class View {
  private readonly question = make("p", "question", "question");
  private readonly lanes = make("div", "lanes", "lanes");
  private readonly parts = [laneParts("first"), laneParts("second")] as const;
  private readonly verdict = make("p", "verdict", "verdict");
  private readonly label = make("p", "label", "label");
  private readonly form = make("form", "", "form");
  private readonly box = make("textarea", "", "input");
  private readonly send = make("button", "primary", "button ask-button");
  private readonly load = make("button", "primary", "button load-button");
  private readonly cancel = make("button", "", "button cancel-button");
  private readonly replay = make("button", "", "button replay-button");
  private readonly sizes = make("p", "small", "sizes");
  private readonly progress = make("progress", "", "progress");
  private readonly note = make("p", "small", "note");
  private readonly said = make("div", "said", "");
  private readonly own = document.createElement("slot");
  private isRunning = false;

  constructor(root: ShadowRoot, actions: Actions) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(style);
    root.adoptedStyleSheets = [sheet];
    const frame = make("section", "frame", "frame");
    frame.setAttribute("aria-label", words.label);
    this.lanes.append(...this.parts.map(({ lane }) => lane));
    this.box.setAttribute("aria-label", words.question);
    this.box.rows = 1;
    this.form.append(this.box, this.send);
    this.form.noValidate = true;
    this.load.type = this.cancel.type = this.replay.type = "button";
    this.cancel.textContent = words.cancel;
    this.progress.setAttribute("aria-label", words.progress);
    this.note.role = "status";
    this.said.role = "log";
    const controls = make("div", "controls", "controls");
    controls.append(this.load, this.cancel, this.replay);
    frame.append(
      ...[slot("header"), this.own, this.question, this.lanes, this.verdict, this.label],
      ...[this.form, controls, this.sizes, this.progress, this.note, this.said, slot("footer")],
    );
    root.append(frame);
    this.listen(actions);
  }

  get prompt(): string {
    return this.box.value;
  }

  set prompt(prompt: string) {
    this.box.value = prompt;
  }

  control(controls: Controls): void {
    this.isRunning = controls.isRunning;
    put(this.load, controls.load);
    put(this.sizes, controls.sizes);
    put(this.label, controls.label);
    put(this.replay, controls.replay);
    put(this.note, controls.note);
    this.note.classList.toggle("error", controls.isError);
    this.form.hidden = !controls.canAsk;
    this.send.textContent = controls.isRunning ? words.stop : words.ask;
    this.cancel.hidden = this.progress.hidden = controls.progress === null;
    this.progress.max = Math.max(1, controls.progress?.total ?? 0);
    this.progress.value = controls.progress?.loaded ?? 0;
    this.own.hidden = !controls.ownContent;
  }

  /** `texts`: what the replay has reached of each lane. */
  show(shown: Shown | null, texts: readonly [string, string] | null = null): void {
    this.lanes.hidden = this.question.hidden = shown === null;
    this.lanes.classList.toggle("replaying", texts !== null);
    put(this.verdict, shown?.verdict ?? null);
    if (shown === null) return;
    this.question.textContent = shown.question;
    for (const [nth, parts] of this.parts.entries()) {
      const lane = shown.lanes[nth as 0 | 1];
      showLane(parts, lane, shown.layers, texts?.[nth] ?? null);
    }
  }

  speak(sentences: readonly string[]): void {
    const said = sentences.map((sentence) => {
      const line = document.createElement("p");
      line.textContent = sentence;
      return line;
    });
    this.said.append(...said);
  }

  hush(): void {
    this.said.replaceChildren();
  }

  private listen(actions: Actions): void {
    const submit = () => {
      if (this.isRunning) actions.stop();
      else actions.ask(this.box.value);
    };
    this.load.addEventListener("click", actions.load);
    this.cancel.addEventListener("click", actions.cancel);
    this.replay.addEventListener("click", actions.replay);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      submit();
    });
    this.box.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.isRunning) actions.stop();
      // While a word is being composed, Enter takes the word.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!this.isRunning) submit();
    });
  }
}

function laneParts(which: "first" | "second"): LaneParts {
  const lane = make("div", `lane ${which}`, `lane lane-${which}`);
  const title = make("p", "title", "lane-title");
  const strip = make("div", "strip", "strip");
  const answer = make("div", "answer", "answer");
  const written = make("span", "words", "");
  const rest = make("span", "words rest", "");
  const note = make("p", "note", "lane-note");
  const speed = make("p", "speed", "speed");
  lane.role = "group";
  strip.role = "img";
  written.dir = "auto";
  rest.ariaHidden = "true";
  answer.append(written, rest, note);
  lane.append(title, strip, answer, speed);
  return { lane, title, strip, written, rest, note, speed };
}

function showLane(
  parts: LaneParts,
  lane: ShownLane,
  layers: number,
  replayed: string | null,
): void {
  const { kept, isHealed, text, nodes, state, tokensPerSecond } = lane;
  const part =
    kept.length === layers ? laneWords.full(layers) : laneWords.part(kept.length, layers);
  const title = isHealed ? laneWords.healed(part) : part;
  parts.title.textContent = title;
  parts.lane.setAttribute("aria-label", laneWords.region(title));
  parts.lane.dataset.state = replayed === null ? state : "writing";
  showStrip(parts.strip, kept, layers);
  const hasNodes = replayed === null && nodes !== undefined;
  parts.written.classList.toggle("markup", hasNodes);
  if (hasNodes) parts.written.replaceChildren(nodes.cloneNode(true));
  else parts.written.textContent = replayed ?? text;
  // What the replay has not reached yet takes its room, so that nothing jumps.
  parts.rest.textContent = replayed === null ? "" : text.slice(replayed.length);
  const still = { waiting: words.waiting, reading: words.reading, writing: null, done: null };
  put(parts.note, replayed === null ? (lane.note ?? still[state]) : null);
  parts.speed.textContent =
    tokensPerSecond === null || replayed !== null ? "" : words.speed(rate(tokensPerSecond));
}

function showStrip(strip: HTMLElement, kept: readonly number[], layers: number): void {
  const label = laneWords.strip(kept, layers);
  if (strip.getAttribute("aria-label") === label) return;
  strip.setAttribute("aria-label", label);
  const isKept = new Set(kept);
  const bars = Array.from({ length: layers }, (_, layer) => {
    const bar = document.createElement("i");
    if (isKept.has(layer)) bar.className = "kept";
    return bar;
  });
  strip.replaceChildren(...bars);
}

function make<K extends keyof HTMLElementTagNameMap>(
  name: K,
  className: string,
  part: string,
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  if (className !== "") element.className = className;
  if (part !== "") element.setAttribute("part", part);
  return element;
}

function slot(name: string): HTMLSlotElement {
  const element = document.createElement("slot");
  element.name = name;
  return element;
}

function put(element: HTMLElement, text: string | null): void {
  element.hidden = text === null;
  // A live region speaks again when its text is set again.
  if (text !== null && element.textContent !== text) element.textContent = text;
}
