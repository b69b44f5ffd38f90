// Weights on their way into the GPU: the engine's memory stays small, and lanes need not wait. The page's own worker is driven
// by its own protocol (www/protocol.ts), without the page.
import { expect, test, type Page } from "@playwright/test";
import type { Memory } from "../../www/engine";
import type { FromWorker, TurnEvent } from "../../www/protocol";
import { serveRandomPack } from "./random-pack.mjs";

const LARGEST_WASM_BYTES = 64 << 20;

/** In the page, once `connect` has run. */
declare function ask(
  method: string,
  params: unknown,
  event?: (event: TurnEvent) => void,
): Promise<unknown>;

test.use({ bypassCSP: true });

test("a pack of 700 MB passes through less than 64 MB of wasm memory", async ({ page }) => {
  const pack = await serveRandomPack();
  try {
    await connect(page);
    const { memory, ms } = await page.evaluate(async (manifestUrl) => {
      await ask("open", { manifestUrl });
      const begun = performance.now();
      const memory = (await ask("load", null)) as Memory;
      return { memory, ms: performance.now() - begun };
    }, pack.manifestUrl);
    const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
    const [all, wasm] = [megabytes(pack.bytes), megabytes(memory.wasmBytes)];
    const seconds = (ms / 1000).toFixed(1);
    console.log(`${all} verified and handed to the device in ${seconds} s; wasm memory ${wasm}`);
    expect(pack.bytes).toBeGreaterThan(690e6);
    // Shards are padded to 256 bytes a section, and the tokenizer goes elsewhere: less than a thousandth.
    expect(memory.weightBytes).toBeGreaterThan(pack.bytes * 0.999);
    expect(memory.wasmBytes).toBeLessThan(LARGEST_WASM_BYTES);
  } finally {
    pack.close();
  }
});

const request = {
  messages: [{ role: "user", content: "Tell me a story." }],
  sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 0 },
  maxTokens: 4,
  stop: [],
};

test("a lane can be made before its weights, and answers once they are in", async ({ page }) => {
  await connect(page);
  const { early, tokens } = await page.evaluate(async (request) => {
    const manifestUrl = new URL("models/halfdepth-stories-12L/manifest.json", location.href).href;
    await ask("open", { manifestUrl });
    await ask("addLane", { plan: "half" });
    const early = await ask("turn", { lane: 0, request }).then(
      () => "answered",
      (thrown: unknown) => (thrown as Error).message,
    );
    await ask("load", null);
    let tokens = 0;
    await ask("turn", { lane: 0, request }, (event) => {
      if (event.kind === "step") tokens += event.step.tokens.length;
    });
    return { early, tokens };
  }, request);
  expect(early).toMatch(/^InvalidRequest: .*load the pack's other files first/);
  expect(tokens).toBeGreaterThan(0);
});

test("the first token follows the last byte", async ({ page }) => {
  await connect(page);
  const { lastByte, lane, firstToken } = await page.evaluate(async (request) => {
    const manifestUrl = new URL("models/halfdepth-stories-12L/manifest.json", location.href).href;
    await ask("open", { manifestUrl });
    const begun = performance.now();
    const now = () => performance.now() - begun;
    // As the page does it: at the same time.
    const [lane, lastByte] = await Promise.all([
      ask("addLane", { plan: "half" }).then(now),
      ask("load", null).then(now),
    ]);
    let firstToken = 0;
    await ask("turn", { lane: 0, request }, ({ kind }) => {
      if (kind === "step" && firstToken === 0) firstToken = now();
    });
    return { lastByte, lane, firstToken };
  }, request);
  const ms = (time: number) => `${time.toFixed(0)} ms`;
  console.log(
    `embedded model, half depth: last byte after ${ms(lastByte)}, lane ready after ${ms(lane)}, ` +
      `first token ${ms(firstToken - lastByte)} after the last byte`,
  );
  expect(firstToken).toBeGreaterThan(lastByte);
});

/** Starts the page's worker on a page where nothing else runs. */
async function connect(page: Page): Promise<void> {
  const started = page.waitForEvent("worker");
  await page.goto("./");
  const workerUrl = (await started).url();
  // An address that is refused before a worker is started; leaving the page has ended the first one.
  await page.goto("./?model=file:///nothing");
  await page.evaluate((workerUrl) => {
    const worker = new Worker(workerUrl, { type: "module" });
    let lastId = 0;
    const ask = (method: string, params: unknown, event?: (event: TurnEvent) => void) =>
      new Promise((resolve, reject) => {
        const id = (lastId += 1);
        worker.addEventListener("message", ({ data }: MessageEvent<FromWorker>) => {
          if (data.id !== id) return;
          if (data.kind === "result") resolve(data.value);
          else if (data.kind === "event") event?.(data.event as TurnEvent);
          else reject(new Error(`${data.error.name}: ${data.error.message}`));
        });
        worker.postMessage({ kind: "call", id, method, params });
      });
    Object.assign(globalThis, { ask });
  }, workerUrl);
}
