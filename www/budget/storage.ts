// In: a shape and a way to store weights. Out: its bytes, part by part, to the byte. As src/budget/storage.rs.
import type { Shape } from "./shapes";

export interface Storage {
  /** As it is typed for `halfdepth budget --bits` and shown. */
  name: string;
  partBytes: (shape: Shape) => PartBytes;
}

/** Bytes of a shape's parts in one storage. */
export interface PartBytes {
  embedding: number;
  /** Of one layer. */
  attention: number;
  /** Of one layer. */
  mlp: number;
  /** The final norm, and the head where it is not the embedding. */
  head: number;
}

/** Bytes of a matrix (rows, cols). */
type Coding = (rows: number, cols: number) => number;

interface PackFormat {
  weightsPerWord: number;
  hasScales: boolean;
}

// Columns that share one scale; rows are padded to a multiple of it.
const GROUP = 32;
// What WebGPU asks of an offset at which a buffer is bound: every section of a pack's file begins at a multiple.
const SECTION_ALIGNMENT = 256;

const PACK_Q4: PackFormat = { weightsPerWord: 8, hasScales: true };
const PACK_Q8: PackFormat = { weightsPerWord: 4, hasScales: true };

const BITS_16 = plain(16);
const BITS_32 = plain(32);
/** The widths that llama.cpp falls back to where a row does not divide: bits of a block of 32, and of one weight. */
const TO_Q5_0 = { of32: 8 * 22, ofOne: 16 };
const TO_Q8_0 = { of32: 8 * 34, ofOne: 16 };
const TO_F16 = { of32: 16 * 32, ofOne: 16 };

/** What `halfdepth pack` makes unless told otherwise. */
const PACK = pack("pack-q4", PACK_Q4, PACK_Q8);
/** What most models are published in. */
export const F16 = tensors("f16", BITS_16, BITS_16, BITS_16);
/** The least of formats in wide use: 4 bits and a 16-bit scale for 32. */
export const Q4_0 = gguf("q4_0", blocks(32, 8 * 18, TO_F16));
/** The article's. */
export const FOUR_BITS = nominal("4.0", 4);

/** All that are offered, in no order: how many bits a weight takes depends on the model. */
export const STORAGES: readonly Storage[] = [
  PACK,
  pack("pack-q4-all", PACK_Q4, PACK_Q4),
  pack("pack-q8", PACK_Q8, PACK_Q8),
  tensors("f32", BITS_32, BITS_32, BITS_32),
  F16,
  gguf("q8_0", blocks(32, 8 * 34, TO_Q8_0)),
  gguf("q6_k", blocks(256, 8 * 210, TO_Q8_0)),
  gguf("q4_k", blocks(256, 8 * 144, TO_Q5_0)),
  Q4_0,
  tensors("mlc-q4f16", blocks(32, 4 * 32 + 16), blocks(32, 4 * 32 + 16), BITS_16),
  tensors("nf4", nf4, BITS_16, BITS_16),
  tensors("nf4-dq", nf4DoubleQuantised, BITS_16, BITS_16),
  // A 16-bit scale and a 4-bit zero point for 128.
  tensors("awq-g128", blocks(128, 4 * 128 + 16 + 4), BITS_16, BITS_16),
  // A 16-bit scale for 128, were every weight in such a group.
  nominal("int4-g128", 4.125),
  FOUR_BITS,
];

export function storageNamed(name: string): Storage | null {
  return STORAGES.find((storage) => storage.name === name) ?? null;
}

/** This program's own files, padding included. */
function pack(name: string, layers: PackFormat, ends: PackFormat): Storage {
  return {
    name,
    partBytes: ({ hiddenSize, intermediateSize, vocabSize, tiedHead, ...shape }) => {
      const { queryRows, kvRows } = rowsOf(shape);
      const norm = section(hiddenSize);
      const table = packed(ends, vocabSize, hiddenSize);
      return {
        embedding: table,
        attention:
          norm +
          packed(layers, queryRows + 2 * kvRows, hiddenSize) +
          packed(layers, hiddenSize, queryRows),
        mlp:
          norm +
          packed(layers, 2 * intermediateSize, hiddenSize) +
          packed(layers, hiddenSize, intermediateSize),
        head: norm + (tiedHead ? 0 : table),
      };
    },
  };
}

/** Tensors by themselves: the layers' matrices, embedding and head, norms. */
function tensors(name: string, layers: Coding, ends: Coding, norms: Coding): Storage {
  return {
    name,
    partBytes: ({ hiddenSize, intermediateSize, vocabSize, tiedHead, ...shape }) => {
      const { queryRows, kvRows } = rowsOf(shape);
      const norm = norms(1, hiddenSize);
      const table = ends(vocabSize, hiddenSize);
      return {
        embedding: table,
        attention:
          layers(queryRows, hiddenSize) +
          2 * layers(kvRows, hiddenSize) +
          layers(hiddenSize, queryRows) +
          norm,
        mlp: 2 * layers(intermediateSize, hiddenSize) + layers(hiddenSize, intermediateSize) + norm,
        head: (tiedHead ? 0 : table) + norm,
      };
    },
  };
}

/** Every matrix has the one type (llama-quantize --pure). */
function gguf(name: string, coding: Coding): Storage {
  return tensors(name, coding, coding, BITS_32);
}

function nominal(name: string, bits: number): Storage {
  return tensors(name, plain(bits), plain(bits), plain(bits));
}

function plain(bits: number): Coding {
  return (rows, cols) => Math.round((rows * cols * bits) / 8);
}

/** Blocks of `weights` along a row in `bits`; rows that they do not divide end in a short block, or are stored otherwise. */
function blocks(
  weights: number,
  bits: number,
  otherwise: { of32: number; ofOne: number } | null = null,
): Coding {
  return (rows, cols) => {
    const ofRow = () => {
      if (cols % weights === 0 || otherwise === null) return divideUp(cols, weights) * bits;
      return cols % 32 === 0 ? (cols / 32) * otherwise.of32 : cols * otherwise.ofOne;
    };
    return divideUp(rows * ofRow(), 8);
  };
}

/** bitsandbytes: 4 bits, and a 32-bit maximum for each 64 of the flattened matrix. */
function nf4(rows: number, cols: number): number {
  return divideUp(rows * cols, 2) + 4 * divideUp(rows * cols, 64);
}

/** The maxima themselves in 8 bits, with 32 bits for each 256 of them and 32 for their mean. */
function nf4DoubleQuantised(rows: number, cols: number): number {
  const maxima = divideUp(rows * cols, 64);
  return divideUp(rows * cols, 2) + maxima + 4 * divideUp(maxima, 256) + 4;
}

/** Bytes of a matrix in a pack: a section of words, then one of scales, two to a word. */
function packed({ weightsPerWord, hasScales }: PackFormat, rows: number, cols: number): number {
  const groups = rows * divideUp(cols, GROUP);
  const words = (groups * GROUP) / weightsPerWord;
  return section(words) + section(hasScales ? divideUp(groups, 2) : 0);
}

/** Bytes of so many 32-bit words, padded. */
function section(words: number): number {
  return divideUp(4 * words, SECTION_ALIGNMENT) * SECTION_ALIGNMENT;
}

/** Rows of the query projection, and of each of key's and value's. */
export function rowsOf({ heads, kvHeads, headDim }: Pick<Shape, "heads" | "kvHeads" | "headDim">) {
  return { queryRows: heads * headDim, kvRows: kvHeads * headDim };
}

/** Whole numbers below 2^53: the remainder is exact where a quotient need not be. */
export function divideUp(value: number, by: number): number {
  const rest = value % by;
  return (value - rest) / by + (rest === 0 ? 0 : 1);
}
