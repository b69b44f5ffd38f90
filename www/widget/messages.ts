// What the widget in an iframe and the page around it say to each other. Both read it as hostile input.
import type { DoneDetail, ErrorDetail, LoadDetail } from "./shown";

export type FromFrame = { source: "halfdepth" } & (
  | { type: "ready" }
  /** CSS pixels that the widget takes. */
  | { type: "resize"; height: number }
  | { type: "load"; detail: LoadDetail }
  | { type: "done"; detail: DoneDetail }
  | { type: "error"; detail: ErrorDetail }
);

export type ToFrame = { target: "halfdepth" } &
  /** Asks at once where the model is loaded; else it stands in the box until the visitor loads it. */
  ({ type: "ask"; prompt: string } | { type: "stop" });

const MOST_TEXT = 8000;

/** Null for whatever is none of ours. */
export function readMessage(data: unknown): ToFrame | null {
  if (typeof data !== "object" || data === null) return null;
  const { target, type, prompt } = data as Record<string, unknown>;
  if (target !== "halfdepth") return null;
  if (type === "stop") return { target, type };
  if (type !== "ask" || typeof prompt !== "string" || prompt.length > MOST_TEXT) return null;
  return { target, type, prompt };
}

/** Origins that the frame may speak with: `parent=`, once for each. Anything but a whole http(s) origin is passed over. */
export function allowedParents(asked: URLSearchParams): ReadonlySet<string> {
  const origins = asked.getAll("parent").filter((text) => {
    if (!URL.canParse(text)) return false;
    const { origin, protocol } = new URL(text);
    return origin === text && /^https?:$/.test(protocol);
  });
  return new Set(origins);
}
