// What the budget is of, and the address that says so: `budget.html?model=llama-2-70b&drop=40&bits=q4_0&context=4096`.
import { LLAMA_2_70B, modelNamed, type Shape } from "./shapes";
import { storageNamed } from "./storage";

export interface Choice {
  /** A name of MODELS; empty for one whose config.json was pasted. */
  model: string;
  /** Layers that are left out. */
  dropped: number;
  /** A name of STORAGES. */
  storage: string;
  /** Positions in the cache. */
  context: number;
  /** What the memory reads, in 10^9 bytes. */
  gigabytesPerSecond: number;
}

/** Longer conversations are asked for by hand. */
const USUAL_CONTEXT = 4096;
/** An RTX 3090. */
const USUAL_BANDWIDTH = 936;
export const BANDWIDTH = { min: 1, max: 100_000 };

export const DEFAULT_CHOICE: Choice = {
  ...usual(LLAMA_2_70B.name, LLAMA_2_70B.shape),
  storage: "q4_0",
  gigabytesPerSecond: USUAL_BANDWIDTH,
};

/** The article's own: half the layers, 4 bits for every weight and none for scales. */
export const ARTICLE_CHOICE: Choice = { ...DEFAULT_CHOICE, storage: "4.0" };

/** The powers of two that the model was trained for, and the whole of it. */
export function contextStops({ context }: Shape): number[] {
  const stops = [];
  for (let stop = 1; stop < context; stop *= 2) stops.push(stop);
  return [...stops, context];
}

/** Another model: as great a share of its layers, and a context that it has. */
export function withModel(choice: Choice, before: Shape, name: string, shape: Shape): Choice {
  const share = choice.dropped / before.layers;
  return {
    ...choice,
    model: name,
    dropped: Math.min(shape.layers - 1, Math.round(share * shape.layers)),
    context: closest(contextStops(shape), choice.context),
  };
}

/** The choice that an address makes. A value that cannot be used is left out, and named in `ignored`. */
export function readChoice(search: string): { choice: Choice; ignored: string[] } {
  const query = new URLSearchParams(search);
  const ignored: string[] = [];
  /** The value of a key, if it is there and can be used. */
  const value = <T>(key: string, read: (text: string) => T | null): T | null => {
    const text = query.get(key);
    const found = text === null ? null : read(text);
    if (text !== null && found === null) ignored.push(key);
    return found;
  };
  const model = value("model", modelNamed) ?? LLAMA_2_70B;
  const { shape } = model;
  const choice = { ...DEFAULT_CHOICE, ...usual(model.name, shape) };
  choice.dropped = value("drop", (text) => layers(text, shape.layers)) ?? choice.dropped;
  choice.storage = value("bits", storageNamed)?.name ?? choice.storage;
  const context = value("context", (text) => within(text, 1, shape.context));
  choice.context = context === null ? choice.context : closest(contextStops(shape), context);
  choice.gigabytesPerSecond = value("bandwidth", readBandwidth) ?? choice.gigabytesPerSecond;
  return { choice, ignored };
}

/** The query that makes a choice. A pasted model stays out of it. */
export function writeChoice(choice: Choice): string {
  if (choice.model === "") return "";
  const { model, dropped, storage, context, gigabytesPerSecond } = choice;
  const query = new URLSearchParams({ model, drop: String(dropped), bits: storage });
  query.set("context", String(context));
  if (gigabytesPerSecond !== USUAL_BANDWIDTH) query.set("bandwidth", String(gigabytesPerSecond));
  return `?${query.toString()}`;
}

export function readBandwidth(text: string): number | null {
  return within(text, BANDWIDTH.min, BANDWIDTH.max);
}

function usual(model: string, shape: Shape) {
  const context = closest(contextStops(shape), Math.min(shape.context, USUAL_CONTEXT));
  return { model, dropped: Math.floor(shape.layers / 2), context };
}

/** `40`, or `50%`, rounded down. */
function layers(text: string, all: number): number | null {
  const percent = /^(\d{1,3}(?:\.\d+)?)%$/.exec(text)?.[1];
  if (percent === undefined) return /^\d+$/.test(text) ? within(text, 0, all - 1) : null;
  return within(String(Math.floor((Number(percent) * all) / 100)), 0, all - 1);
}

function within(text: string, min: number, max: number): number | null {
  const value = text.trim() === "" ? NaN : Number(text);
  return value >= min && value <= max ? value : null;
}

function closest(stops: readonly number[], value: number): number {
  const away = (stop: number) => Math.abs(stop - value);
  return stops.reduce((best, stop) => (away(stop) < away(best) ? stop : best), stops[0] ?? 1);
}
