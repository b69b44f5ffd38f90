// llama.cpp in wasm, on WebGPU or on the CPU. In: a GGUF file and token ids. Out: when each token came.
import { Wllama, LoggerWithoutDebug } from "@wllama/wllama";

let wllama;

/** `gpu` false runs everything on the CPU, with as many threads as there are cores. */
export async function load({ model, gpu, context }) {
  const begun = performance.now();
  const paths = { default: "/peers/@wllama/wllama/esm/wasm/wllama.wasm" };
  wllama = new Wllama(paths, { suppressNativeLog: false });
  await wllama.loadModelFromUrl(new URL(model, location.href).href, {
    useCache: false,
    n_ctx: context,
    n_threads: globalThis.THREADS ?? navigator.hardwareConcurrency,
    n_parallel: 1,
    // A batch holds the longest prompt, so that it is read at once.
    n_batch: gpu ? 64 : 512,
    n_ubatch: gpu ? 64: 512,
    // All layers, as is its default; flash attention where it has it, as is its default too.
    ...(gpu ? {} : { n_gpu_layers: 0 }),
  });
  return {
    loadMs: performance.now() - begun,
    version: Wllama.getLibllamaVersion(),
    threads: wllama.getNumThreads(),
  };
}

export async function run({ ids, newTokens }) {
  const tokenTimesMs = [];
  const begun = performance.now();
  const answer = await wllama.createCompletion({
    prompt: globalThis.TEXT ? ids.map((id) => String.fromCharCode(97 + (id % 26))).join("") : ids,
    max_tokens: newTokens,
    temperature: 0,
    ignore_eos: true,
    cache_prompt: false,
    stream: true,
  });
  let timings;
  for await (const chunk of answer) {
    timings = chunk.timings ?? timings;
    if (chunk.choices[0]?.text) tokenTimesMs.push(performance.now() - begun);
  }
  return { tokenTimesMs, own: timings };
}
