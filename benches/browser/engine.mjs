// One engine in a browser of its own. Every wait has a limit and says what it waited for.
import { readLog, whileDecoding } from "../../tests/browser/webgpu-counts.mjs";
import { launch } from "./launch.mjs";
import { peakMemory } from "./processes.mjs";

// A software GPU compiles shaders for minutes, and reads a long prompt for as long.
const loadingMs = 600_000;
const runningMs = 600_000;
const askingMs = 30_000;

export class Engine {
  /** `module` is a file of engines/; `settings` go to its `load`. */
  static async start({ name, module, settings, adapter, url }) {
    const { browser, page } = await within(
      askingMs,
      `starting a browser for ${name}`,
      launch(adapter),
    );
    const engine = new Engine(name, browser, page);
    try {
      page.on("pageerror", (error) => engine.fail(new Error(`${name}: ${error.message}`)));
      page.on("crash", () => engine.fail(new Error(`the page of ${name} crashed`)));
      engine.visit = async () => {
        await page.goto(`${url}/bench/engine.html?engine=${module}`, { timeout: askingMs });
        await page.waitForFunction(() => globalThis.engine, null, { timeout: askingMs });
        return engine.ask(loadingMs, "load", settings);
      };
      engine.loaded = await engine.visit();
      return engine;
    } catch (error) {
      await engine.close();
      throw error;
    }
  }

  constructor(name, browser, page) {
    this.name = name;
    this.browser = browser;
    this.page = page;
    this.failed = new Promise((_, reject) => (this.fail = reject));
    // Nobody may be waiting when it fails.
    this.failed.catch(() => undefined);
  }

  run(request) {
    return this.ask(runningMs, "run", request);
  }

  ask(limitMs, method, given) {
    const asked = this.page.evaluate(
      ([method, given]) => globalThis.engine[method](given),
      [method, given],
    );
    return within(limitMs, `${this.name}: ${method}`, Promise.race([asked, this.failed]));
  }

  /** Running totals of WebGPU calls, on the page and in its first worker: the others may be threads that never answer. */
  async counts() {
    const read = () => globalThis.webgpuLog?.counts ?? null;
    const asked = [this.page.evaluate(read), this.page.workers()[0]?.evaluate(read)];
    const [page, worker] = await within(askingMs, `the counts of ${this.name}`, Promise.all(asked));
    const launches = (page?.launches ?? 0) + (worker?.launches ?? 0);
    const submits = (page?.submits ?? 0) + (worker?.submits ?? 0);
    return { launches, submits };
  }

  /** What the last turn of our own engine cost while it decoded. */
  async lastTurn() {
    const { turns } = await within(askingMs, "the counts of the turn", readLog(this.page));
    return whileDecoding(turns.at(-1));
  }

  wasmBytes() {
    const read = () => globalThis.wasmMemory?.buffer.byteLength ?? null;
    return within(askingMs, "the size of wasm memory", this.page.workers()[0].evaluate(read));
  }

  memory() {
    return within(askingMs, `the memory of ${this.name}`, peakMemory(this.browser));
  }

  async close() {
    await within(askingMs, `closing the browser of ${this.name}`, this.browser.close());
  }
}

async function within(limitMs, what, work) {
  let timer;
  const late = new Promise((_, reject) => {
    const error = new Error(`after ${limitMs / 1000} s still waiting for: ${what}`);
    timer = setTimeout(() => reject(error), limitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
