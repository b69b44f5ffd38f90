// In: a shape, how many of its layers run, how they are stored. Out: parameters, bytes, operations a token, and the bound on
// speed. As src/budget/mod.rs, held to it by tests/unit/budget. Nothing is measured here.
import type { Shape } from "./shapes";
import { divideUp, rowsOf, type Storage } from "./storage";

/** The parameters of a shape, part by part. */
export interface Parameters {
  embedding: number;
  /** q, k, v and output of one layer, and the norm before them. */
  attention: number;
  /** gate, up and down of one layer, and the norm before them. */
  mlp: number;
  finalNorm: number;
  /** 0 where the embedding is the head. */
  head: number;
}

/** Of one model at one depth in one storage. */
export interface Budget {
  /** Layers that run. */
  layers: number;
  /** A tied head counts once. */
  parameters: number;
  weightBytes: number;
  /** Scales and padding included. */
  bitsPerWeight: number;
  /** Of one token at the end of the context. */
  flopsPerToken: number;
  /** Keys and values of one position. */
  cacheBytesPerPosition: number;
  /** Keys and values of the context. */
  cacheBytes: number;
  /** Weights and cache. */
  memoryBytes: number;
  /** What decoding one token at the end of the context reads: every weight that takes part, and the cache. */
  readBytesPerToken: number;
}

export interface Asked {
  shape: Shape;
  layers: number;
  storage: Storage;
  /** Positions in the cache. */
  context: number;
  /** Of a number in the cache. */
  cacheNumberBytes?: 2 | 4;
}

export function parametersOf({
  hiddenSize,
  intermediateSize,
  vocabSize,
  tiedHead,
  ...shape
}: Shape): Parameters {
  const { queryRows, kvRows } = rowsOf(shape);
  return {
    embedding: vocabSize * hiddenSize,
    attention: 2 * (queryRows + kvRows) * hiddenSize + hiddenSize,
    mlp: 3 * intermediateSize * hiddenSize + hiddenSize,
    finalNorm: hiddenSize,
    head: tiedHead ? 0 : vocabSize * hiddenSize,
  };
}

/** Of a model of this depth; a tied head counts once. */
export function parameterCount(shape: Shape, layers: number): number {
  const { embedding, attention, mlp, finalNorm, head } = parametersOf(shape);
  return embedding + layers * (attention + mlp) + finalNorm + head;
}

export function budget({ shape, layers, storage, context, cacheNumberBytes = 2 }: Asked): Budget {
  const parameters = parameterCount(shape, layers);
  const bytes = storage.partBytes(shape);
  const layerBytes = layers * (bytes.attention + bytes.mlp);
  const weightBytes = bytes.embedding + layerBytes + bytes.head;
  // One row of the embedding is looked up; the whole of it is read only where it is the head.
  const head = bytes.head + (shape.tiedHead ? bytes.embedding : 0);
  const row = divideUp(bytes.embedding, shape.vocabSize);
  const cacheBytesPerPosition = layers * 2 * rowsOf(shape).kvRows * cacheNumberBytes;
  const cacheBytes = cacheBytesPerPosition * context;
  return {
    layers,
    parameters,
    weightBytes,
    bitsPerWeight: (8 * weightBytes) / parameters,
    flopsPerToken: flopsPerToken(shape, layers, context),
    cacheBytesPerPosition,
    cacheBytes,
    memoryBytes: weightBytes + cacheBytes,
    readBytesPerToken: layerBytes + head + row + cacheBytes,
  };
}

/** The most tokens a second that one sequence can be decoded at, when every byte comes from memory once. */
export function tokensPerSecond({ readBytesPerToken }: Budget, bytesPerSecond: number): number {
  return bytesPerSecond / readBytesPerToken;
}

/** Two for every weight that a matrix product takes, and two each for every product of a query with a key and of a share with a
 * value. Norms, rotation and activations are left out: below a thousandth in any Llama. */
export function flopsPerToken(shape: Shape, layers: number, context: number): number {
  const { attention, mlp } = parametersOf(shape);
  const { hiddenSize, vocabSize } = shape;
  const matrices = layers * (attention + mlp - 2 * hiddenSize);
  // The head is a product also where its weights are the embedding's; looking up a row of the embedding is none.
  const head = vocabSize * hiddenSize;
  return 2 * (matrices + head) + 4 * layers * rowsOf(shape).queryRows * context;
}
