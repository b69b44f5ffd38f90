// The widget as a page of its own, for an iframe: embed.html?model=…&prompt=…&parent=https://blog.example. What the address says
// becomes attributes; what the frame's parent may say, and hears, is in www/widget/messages.ts.
import { HalfDepthElement } from "./halfdepth";
import { allowedParents, readMessage, type FromFrame } from "./messages";

const ATTRIBUTES = ["model", "prompt", "plans", "max-tokens", "temperature", "seed", "recorded"];

const asked = new URLSearchParams(location.search);
const parents = allowedParents(asked);
const widget = new HalfDepthElement();
for (const name of [...ATTRIBUTES, "theme"]) {
  const value = asked.get(name);
  if (value !== null) widget.setAttribute(name, value);
}

/** The browser delivers it only where the parent has that very origin. */
function tell(message: FromFrame): void {
  if (window.parent === window) return;
  for (const origin of parents) window.parent.postMessage(message, origin);
}

addEventListener("message", (event) => {
  // Any window may write to any other: only the frame's own parent is heard, and only from where the address allows.
  if (event.source !== window.parent || !parents.has(event.origin)) return;
  const message = readMessage(event.data);
  if (message?.type === "stop") widget.stop();
  if (message?.type !== "ask") return;
  widget.prompt = message.prompt;
  // What nobody has loaded yet waits for the visitor's own click.
  if (widget.state === "ready") void widget.ask();
});

widget.addEventListener("halfdepth-load", ({ detail }) => {
  tell({ source: "halfdepth", type: "load", detail });
});
widget.addEventListener("halfdepth-done", ({ detail }) => {
  tell({ source: "halfdepth", type: "done", detail });
});
widget.addEventListener("halfdepth-error", ({ detail }) => {
  tell({ source: "halfdepth", type: "error", detail });
});

document.body.append(widget);
new ResizeObserver(() => {
  tell({ source: "halfdepth", type: "resize", height: Math.ceil(widget.offsetHeight) });
}).observe(widget);
tell({ source: "halfdepth", type: "ready" });
