// ONNX Runtime on WebGPU. In: a folder in the Hugging Face layout and token ids. Out: when each token came.
import { AutoModelForCausalLM, BaseStreamer, Tensor, env, ones } from "@huggingface/transformers";

let model;

/** `form` is `q4` (f32 inside) or `q4f16`. */
export async function load({ models, form }) {
  const begun = performance.now();
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.useBrowserCache = false;
  env.useWasmCache = false;
  env.localModelPath = new URL(models, location.href).href;
  // Its own choice of build and of threads; only the address is ours.
  const runtime = "/peers/onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify";
  env.backends.onnx.wasm.wasmPaths = { mjs: `${runtime}.mjs`, wasm: `${runtime}.wasm` };
  model = await AutoModelForCausalLM.from_pretrained("onnx", { dtype: form, device: "webgpu" });
  return {
    loadMs: performance.now() - begun,
    version: env.version,
    threads: env.backends.onnx.wasm.numThreads,
  };
}

export async function run({ ids, newTokens }) {
  const streamer = new Times();
  const shape = [1, ids.length];
  const begun = performance.now();
  await model.generate({
    inputs: new Tensor("int64", BigInt64Array.from(ids, BigInt), shape),
    attention_mask: ones(shape),
    max_new_tokens: newTokens,
    min_new_tokens: newTokens,
    do_sample: false,
    streamer,
  });
  const [prompt, first, ...rest] = streamer.timesMs;
  if (prompt === undefined || rest.length !== newTokens - 1)
    throw new Error(`transformers.js wrote ${rest.length + 1} tokens`);
  return {
    firstTokenMs: first - begun,
    decodeMs: (rest.at(-1) ?? first) - first,
    passes: rest.length,
  };
}

/** When the prompt was handed over, then when each token came. */
class Times extends BaseStreamer {
  timesMs = [];

  put() {
    this.timesMs.push(performance.now());
  }

  end() {
    // The times are all there is.
  }
}
