// A pack of random weights in the shape of Llama 3.2 1B, made while it is sent: nothing lies on a disk. For tests of loading.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { Readable } from "node:stream";

const shipped = new URL("../../models/halfdepth-stories-12L/", import.meta.url);

// docs/format.md: what the shape makes of each shard.
const shape = { hidden: 2048, intermediate: 8192, layers: 16, heads: 32, kvHeads: 8, headDim: 64 };
const vocabulary = 128_256;
const section = (bytes) => Math.ceil(bytes / 256) * 256;
const norm = section(4 * shape.hidden);
const q4 = (rows, cols) => section((rows * cols) / 2) + section((rows * cols) / 16);
const qkvRows = (shape.heads + 2 * shape.kvHeads) * shape.headDim;
const layerBytes =
  2 * norm +
  q4(qkvRows, shape.hidden) +
  q4(shape.hidden, shape.heads * shape.headDim) +
  q4(2 * shape.intermediate, shape.hidden) +
  q4(shape.hidden, shape.intermediate);

const BLOCK_BYTES = 1 << 20;

/** The content of a shard: one block of random bytes of its own, over and over. */
function* content(seed, bytes) {
  const block = Buffer.alloc(BLOCK_BYTES);
  let state = seed + 1;
  for (let at = 0; at < block.length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    // Without the highest two bits: so every scale and every norm is finite.
    block[at] = (state >>> 24) & 0x3f;
  }
  for (let left = bytes; left > 0; left -= BLOCK_BYTES)
    yield block.subarray(0, Math.min(left, BLOCK_BYTES));
}

/** Serves the pack on a port of this machine; `lastByteAt` says when the last file had been sent. */
export async function serveRandomPack() {
  const manifest = JSON.parse(await readFile(new URL("manifest.json", shipped), "utf8"));
  const files = new Map();
  const shard = (formats, bytes) => {
    const seed = files.size;
    const hash = createHash("sha256");
    for (const block of content(seed, bytes)) hash.update(block);
    const sha256 = hash.digest("hex");
    files.set(`${sha256}.bin`, { bytes, read: () => content(seed, bytes) });
    return { file: `${sha256}.bin`, bytes, sha256, formats };
  };
  const matrices = { qkv: "q4", output: "q4", gate_up: "q4", down: "q4" };
  const layers = Array.from({ length: shape.layers }, (_, original) => ({
    original,
    ...shard(matrices, layerBytes),
  }));
  const all = layers.map((_, layer) => layer);
  Object.assign(manifest, {
    version: 2,
    name: "random weights",
    config: {
      ...manifest.config,
      hidden_size: shape.hidden,
      intermediate_size: shape.intermediate,
      layers: shape.layers,
      heads: shape.heads,
      kv_heads: shape.kvHeads,
      head_dim: shape.headDim,
      vocab_size: vocabulary,
    },
    formats: { layers: "q4", embedding: "q4", head: "q4" },
    embedding: shard({ embedding: "q4" }, q4(vocabulary, shape.hidden)),
    head: shard({ head: null }, norm),
    layers,
    replacements: [],
    heads: [],
    plans: [
      { name: "full", title: "Full depth", layers: all, figures: [] },
      { name: "half", title: "Half depth", layers: all.slice(0, 8), figures: [] },
    ],
    evaluation: [],
  });
  // The tokenizer of the pack that ships: its ids are few, but all of them are in the vocabulary.
  const tokenizer = await readFile(new URL(manifest.tokenizer.file, shipped));
  const small = new Map([
    ["manifest.json", Buffer.from(JSON.stringify(manifest))],
    [manifest.tokenizer.file, tokenizer],
  ]);

  const server = createServer((request, response) => {
    const name = (request.url ?? "").slice(1);
    response.setHeader("access-control-allow-origin", "*");
    const file = files.get(name);
    if (file !== undefined) {
      response.setHeader("content-length", file.bytes);
      Readable.from(file.read()).pipe(response);
    } else if (small.has(name)) {
      response.end(small.get(name));
    } else {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  let bytes = tokenizer.length;
  for (const file of files.values()) bytes += file.bytes;
  return {
    manifestUrl: `http://127.0.0.1:${String(server.address().port)}/manifest.json`,
    bytes,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
