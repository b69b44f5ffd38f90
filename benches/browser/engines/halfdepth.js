// Our own engine, as the page runs it: the built worker, spoken to by the messages of www/protocol.ts.
// In: the worker's address, a pack's, token ids. Out: when each token came, and what the worker measured.

let worker;
let lastId = 0;
const pending = new Map(); // call id -> { resolve, reject, event }
const lanes = new Map(); // plan -> lane

/** Loads the pack as the page does, lanes while the weights arrive, and asks the first lane for one token. */
export async function load({ script, manifest, plans, ids }) {
  const begun = performance.now();
  worker = new Worker(script, { type: "module" });
  worker.onmessage = ({ data }) => receive(data);
  worker.onerror = (event) => fail(new Error(event.message || "the worker cannot be loaded"));
  const manifestUrl = new URL(manifest, location.href).href;
  const opened = await call("open", { manifestUrl });
  let lastByteAt = begun;
  const files = call("load", null, ({ stage, progress }) => {
    if (stage === "files" && progress.bytesDone < progress.bytes) lastByteAt = performance.now();
  });
  const makeLanes = async () => {
    for (const plan of plans) await addLane(plan);
  };
  await Promise.all([files, makeLanes()]);
  const loadedAt = performance.now();
  const { firstTokenAt } = await turn(plans[0], ids, 1);
  return {
    loadMs: loadedAt - begun,
    lastByteToFirstTokenMs: firstTokenAt - lastByteAt,
    adapter: opened.adapter,
    pack: opened.pack,
  };
}

/** The kernels that the page has found quickest and remembers for the next visit, once it has; it looks while nobody asks. */
export async function kernels() {
  for (let waited = 0; waited < 40; waited++) {
    const cache = await caches.open("halfdepth-kernels-1");
    const [known] = await cache.matchAll();
    if (known !== undefined) return known.text();
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  return null;
}

/** Batches are begun before the last one is read: what came with the first has a head start, and is not counted. */
export async function run({ plan, ids, newTokens }) {
  const { begun, firstTokenAt, steps, stats } = await turn(plan, ids, newTokens);
  const from = steps.length > 2 ? 1 : 0;
  const counted = steps.slice(from + 1);
  const sum = (name) => counted.reduce((total, step) => total + step[name], 0);
  return {
    firstTokenMs: firstTokenAt - begun,
    decodeMs: steps.at(-1).at - steps[from].at,
    passes: sum("tokens"),
    cpuMs: sum("cpuMs"),
    reusedTokens: stats.reusedTokens,
  };
}

export function readBandwidth(bytes) {
  return call("readBandwidth", { bytes });
}

async function addLane(plan) {
  const { lane } = await call("addLane", { plan });
  lanes.set(plan, lane);
}

async function turn(plan, ids, newTokens) {
  const seen = { begun: performance.now(), firstTokenAt: 0, steps: [] };
  const request = {
    ids,
    sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 0 },
    maxTokens: newTokens,
    stop: [],
    ignoreEnd: true,
  };
  await call("turn", { lane: lanes.get(plan), request }, ({ kind, step }) => {
    if (kind !== "step" || step.tokens.length === 0) return;
    const at = performance.now();
    if (seen.steps.length === 0) seen.firstTokenAt = at;
    seen.steps.push({ at, tokens: step.tokens.length, cpuMs: step.cpuMs });
    seen.stats = step.stats;
  });
  return seen;
}

function call(method, params, event = () => undefined) {
  const id = (lastId += 1);
  return new Promise((resolve, reject) => {
    pending.set(id, { resolve, reject, event });
    worker.postMessage({ kind: "call", id, method, params });
  });
}

function receive({ kind, id, event, value, error }) {
  const waiting = pending.get(id);
  if (kind === "event") return waiting.event(event);
  pending.delete(id);
  if (kind === "result") waiting.resolve(value);
  else waiting.reject(new Error(`${error.name}: ${error.message}`));
}

function fail(error) {
  for (const { reject } of pending.values()) reject(error);
  pending.clear();
}
