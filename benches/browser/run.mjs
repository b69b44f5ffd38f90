// Measures engines in a browser. In: a built page, a pack, and, to compare, the peers and their models.
// Out: one JSON object on stdout; what is going on, and what went wrong, on stderr.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { exit, stderr, stdout } from "node:process";
import { parseArgs } from "node:util";
import { Engine } from "./engine.mjs";
import { compare, measureOurs } from "./measure.mjs";
import { serve } from "./serve.mjs";

const { values: options } = parseArgs({
  options: {
    adapter: { type: "string", default: "stock" },
    site: { type: "string" },
    pack: { type: "string" },
    plans: { type: "string", default: "full,half" },
    contexts: { type: "string", default: "16,512,2048" },
    prefill: { type: "string", default: "64,256,512" },
    tokens: { type: "string", default: "64" },
    runs: { type: "string", default: "3" },
    // node_modules with the peers; without it ours is measured alone.
    peers: { type: "string" },
    models: { type: "string" },
    "peer-prefill": { type: "string", default: "64,256" },
    "peer-tokens": { type: "string", default: "16" },
  },
});
const numbers = (text) => text.split(",").filter(Boolean).map(Number);
const { adapter } = options;
const plans = options.plans.split(",");
const runs = Number(options.runs);

const scripts = await readdir(join(options.site, "assets"));
const script = scripts.find((name) => /^worker-.*\.js$/.test(name));
const server = await serve({
  "/bench/": import.meta.dirname,
  "/site/": options.site,
  "/pack/": options.pack,
  ...(options.peers === undefined ? {} : { "/peers/": options.peers, "/models/": options.models }),
});
const engines = [];
try {
  if (script === undefined) throw new Error(`no worker lies in ${options.site}/assets`);
  const ours = await start("Halfdepth", "halfdepth", {
    script: `/site/assets/${script}`,
    manifest: "/pack/manifest.json",
    plans,
    ids: Array.from({ length: 16 }, (_, at) => at),
  });
  // A second visit: what was found out on the first one is known by then.
  const kernels = await ours.ask(60_000, "kernels");
  if (kernels !== null) await ours.visit();
  const measured = await measureOurs(ours, {
    plans,
    contexts: fitting(ours, "context", numbers(options.contexts), Number(options.tokens)),
    prompts: fitting(ours, "prompt", numbers(options.prefill), 1),
    tokens: Number(options.tokens),
    runs,
  });
  const { adapter: gpu, pack, loadMs, lastByteToFirstTokenMs } = ours.loaded;
  const alone = {
    browser: ours.browser.version(),
    adapter,
    gpu,
    pack: pack.name,
    source: pack.source,
    layers: Object.fromEntries(pack.plans.map(({ name, layers }) => [name, layers.length])),
    tokens: Number(options.tokens),
    runs,
    // Of the first visit.
    loadMs,
    lastByteToFirstTokenMs,
    kernels,
    wasmBytes: await ours.wasmBytes(),
    memory: await ours.memory(),
    ...measured,
  };
  const peers = options.peers === undefined ? null : await besidePeers(ours);
  stdout.write(`${JSON.stringify({ ...alone, peers })}\n`);
} catch (error) {
  stderr.write(`error: ${error.message}\n`);
  exit(1);
} finally {
  await Promise.allSettled(engines.map((engine) => engine.close()));
  server.close();
}

async function besidePeers(ours) {
  const contextOfPeers = Math.max(...numbers(options["peer-prefill"])) + 256;
  const wllama = { model: "/models/model.gguf", context: contextOfPeers };
  const transformers = { models: "/models" };
  const those = [
    ours,
    await start("wllama, WebGPU, Q4_0", "wllama", { ...wllama, gpu: true }),
    await start("wllama, CPU, Q4_0", "wllama", { ...wllama, gpu: false }),
    await start("transformers.js, WebGPU, q4", "transformers", { ...transformers, form: "q4" }),
    await start("transformers.js, WebGPU, q4f16", "transformers", {
      ...transformers,
      form: "q4f16",
    }),
  ];
  const tokens = Number(options["peer-tokens"]);
  const rows = await compare(those, {
    prompts: numbers(options["peer-prefill"]),
    tokens,
    runs,
  });
  for (const [at, row] of rows.entries()) {
    const { loadMs, version, threads } = those[at].loaded;
    Object.assign(row, { loadMs, version, threads, memory: await those[at].memory() });
    const onGpu = !row.name.includes("CPU");
    if (onGpu !== row.launchesPerToken > 0)
      throw new Error(`${row.name}: ${row.launchesPerToken} WebGPU launches a token`);
  }
  return { tokens, runs, rows };
}

/** Those of `lengths` that leave room for `more` tokens in the model, or in the largest lane; the others are named. */
function fitting(ours, what, lengths, more) {
  const positions = Math.min(ours.loaded.pack.context, 4096);
  return lengths.filter((length) => {
    const fits = length + more <= positions;
    if (!fits) stderr.write(`left out: a ${what} of ${length} tokens; a lane holds ${positions}\n`);
    return fits;
  });
}

async function start(name, module, settings) {
  stderr.write(`starting ${name}\n`);
  const engine = await Engine.start({ name, module, settings, adapter, url: server.url });
  engines.push(engine);
  return engine;
}
