// llama.cpp in wasm, on WebGPU or on the CPU. In: a GGUF file and how many tokens. Out: its own times.
import { Wllama } from "@wllama/wllama";

let wllama;

/** `gpu` false runs everything on the CPU. What is not named here is its default. */
export async function load({ model, gpu, context }) {
  const begun = performance.now();
  wllama = new Wllama(
    { default: "/peers/@wllama/wllama/esm/wasm/wllama.wasm" },
    { suppressNativeLog: true },
  );
  await wllama.loadModelFromUrl(new URL(model, location.href).href, {
    useCache: false,
    n_ctx: context,
    n_parallel: 1,
    // On a software GPU a batch of 256 takes longer than the 30 s after which it gives up; a token's share is the same.
    ...(gpu ? { n_batch: 64, n_ubatch: 64 } : { n_gpu_layers: 0 }),
  });
  return {
    loadMs: performance.now() - begun,
    version: Wllama.getLibllamaVersion(),
    threads: wllama.getNumThreads(),
  };
}

/** Its chunks come late and several at a time, so its own clock is read. */
export async function run({ ids, newTokens }) {
  const answer = await wllama.createCompletion({
    // A letter is a token of the made-up vocabulary: it takes text only.
    prompt: ids.map((id) => String.fromCharCode(97 + (id % 26))).join(""),
    max_tokens: newTokens,
    temperature: 0,
    ignore_eos: true,
    cache_prompt: false,
  });
  const { prompt_n, prompt_ms, predicted_n, predicted_ms } = answer.timings;
  if (prompt_n !== ids.length || predicted_n !== newTokens)
    throw new Error(`wllama read ${prompt_n} tokens and wrote ${predicted_n}`);
  return { firstTokenMs: prompt_ms, decodeMs: predicted_ms, passes: predicted_n - 1 };
}
