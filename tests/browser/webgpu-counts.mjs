// Puts count-webgpu.js into the page's workers and reads it back. For demo-check.mjs and the tests beside it.
import { readFile } from "node:fs/promises";

/** What Chromium needs to offer WebGPU without a screen or a GPU. */
export const chromiumFlags = [
  "--headless=new",
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  // A GPU in software on busy cores is slow, not hung; the watchdog would take its devices away.
  "--disable-gpu-watchdog",
  "--disable-background-networking",
  "--no-first-run",
];

/** Every dedicated worker that pages of `context` start from now on counts its WebGPU calls. */
export async function countWebGpu(context) {
  const counter = await readFile(new URL("count-webgpu.js", import.meta.url), "utf8");
  await context.addInitScript((script) => {
    const Original = globalThis.Worker;
    globalThis.Worker = class extends Original {
      constructor(url, options) {
        const real = JSON.stringify(new URL(url, document.baseURI).href);
        const counting = JSON.stringify(blob(script));
        // Static imports run in order, and messages wait until both have run: the real worker misses none.
        const wrapper =
          options?.type === "module"
            ? `import ${counting};\nimport ${real};`
            : `importScripts(${counting}, ${real});`;
        super(blob(wrapper), options);
      }
    };
    function blob(text) {
      return URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    }
  }, counter);
}

/** What the page's workers have counted so far: see `lanes` and `turns` in count-webgpu.js. */
export async function readLog(page) {
  const logs = await Promise.all(
    page.workers().map((worker) => worker.evaluate(() => globalThis.webgpuLog)),
  );
  // A worker that the page has given up is no longer listed, so the last one is the page's.
  return logs.filter((log) => log !== undefined).at(-1) ?? { lanes: [], turns: [] };
}

/**
 * What one turn cost while it decoded: from the end of its first step (which waits for the prompt) to the end of its
 * last step. A last one that ended early counts only if there is no other, because it has launched tokens that nobody
 * gets; one that ended at the limit counts, because what it gives may have been launched ahead, before it. Null for a
 * turn of one step.
 */
export function whileDecoding(turn) {
  const [first, ...later] = turn.steps;
  const whole = later.filter(({ finish }) => finish === null || finish === "max-tokens");
  const counted = whole.length > 0 ? whole : later;
  const last = counted.at(-1);
  if (last === undefined) return null;
  const tokens = counted.reduce((sum, step) => sum + step.tokens, 0);
  if (tokens === 0) return null;
  const spent = Object.fromEntries(
    Object.entries(last.counts).map(([name, count]) => [name, count - first.counts[name]]),
  );
  return { tokens, ...spent };
}
