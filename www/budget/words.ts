// Every word of the budget's page, in one place; apart from www/strings.ts, so that the first page does not load them.
import type { Claims } from "./article";
import { percent, power, rate, size, whole, withPoint } from "./format";

export const words = {
  title: "What the layers weigh",
  lead: "How much memory and work a Llama takes when layers are left out and its weights are stored in fewer bits. Reckoned from its shape alone: no weight is loaded, nothing is measured.",
  back: "Back to the two lanes",

  controls: {
    label: "The model and how it is cut",
    model: "Model",
    pasted: "Another one: paste its config.json",
    paste: "config.json of a Llama, from its folder on Hugging Face",
    pasteHint: "The whole file, from { to }. It stays in this browser.",
    none: "Paste a configuration, and its figures stand here.",
    pasteReady: (layers: number, parameters: string) =>
      `Read: ${layers} layers, ${parameters} parameters.`,
    dropped: "Layers left out",
    droppedValue: (dropped: number, layers: number) =>
      `${dropped} of ${layers} (${Math.round((100 * dropped) / layers)} %)`,
    bits: "Bits a weight",
    bitsValue: (name: string, bits: number) => `${withPoint(bits, 2)}: ${name}`,
    context: "Context",
    contextValue: (positions: number) =>
      positions === 1 ? "1 position" : `${whole(positions)} positions`,
    bandwidth: "Memory bandwidth, GB/s",
    bandwidthHint: "936 is an RTX 3090. What it bounds is below.",
    bandwidthWrong: (min: number, max: number) =>
      `Give a number from ${min} to ${whole(max)}; 936 is an RTX 3090.`,
    article: "Set as in the article",
  },

  /** Which tensors are stored how. */
  notes: {
    "pack-q4": "This page's own files: layers in 4 bits, embedding and head in 8, groups of 32.",
    "pack-q4-all": "This page's own files: everything in 4 bits, groups of 32.",
    "pack-q8": "This page's own files: everything in 8 bits, groups of 32.",
    f32: "Every number in 32 bits.",
    f16: "Every number in 16 bits, as most models are published; bf16 alike.",
    q8_0: "GGUF: every matrix, norms in 32 bits.",
    q6_k: "GGUF: every matrix, norms in 32 bits.",
    q4_k: "GGUF: every matrix, norms in 32 bits. Mixes such as Q4_K_M take more.",
    q4_0: "GGUF: every matrix, norms in 32 bits.",
    "mlc-q4f16": "MLC's q4f16_1: every matrix in groups of 32.",
    nf4: "bitsandbytes NF4 for the layers' matrices; embedding and head in 16 bits.",
    "nf4-dq":
      "bitsandbytes NF4 with double quantisation for the layers' matrices; embedding and head in 16 bits.",
    "awq-g128":
      "AWQ or GPTQ, groups of 128 with zero points, for the layers' matrices; embedding and head in 16 bits.",
    "int4-g128": "Nominal: every weight in 4 bits, with one 16-bit scale for 128.",
    "4.0": "Nominal: every weight in 4 bits and no scales. No format does that.",
  } as Readonly<Record<string, string>>,

  bars: {
    label: "Memory",
    full: (layers: number) => `All ${layers} layers, 16 bits`,
    stored: (layers: number, storage: string) => `All ${layers} layers, ${storage}`,
    cut: (kept: number, layers: number, storage: string) =>
      `${kept} of ${layers} layers, ${storage}`,
    cache: (cache: string) => `+ ${cache} of cache`,
    headline: (before: string, after: string, times: number) => {
      if (before === after) return `${after}: nothing is saved`;
      const factor = times > 1 ? times : 1 / times;
      const shown = withPoint(factor, factor < 10 ? 2 : 1);
      return `${before} → ${after}: ${shown} times ${times > 1 ? "less" : "as much"}`;
    },
    legend: "Solid: weights. Pale: keys and values of the context, in 16 bits.",
  },

  figures: {
    caption: (storage: string) => `In ${storage}`,
    figure: "Figure",
    all: (layers: number) => `All ${layers} layers`,
    kept: (layers: number) => (layers === 1 ? "1 layer" : `${layers} layers`),
    share: (share: number) => `${percent(share)} of all`,
    times: (times: number) => `${withPoint(times, 2)} times as many`,
    parameters: "Parameters",
    weightBytes: "Bytes of weights",
    bits: "Bits a weight, scales included",
    cache16: "Cache, 16 bits",
    cache32: "Cache, 32 bits",
    memory: "Weights and cache",
    flops: "Operations a token",
    read: "Bytes read a token",
    bound: (gigabytesPerSecond: number) => `Most tokens/s at ${whole(gigabytesPerSecond)} GB/s`,
    bytes: size,
    exactly: (bytes: number) => whole(bytes),
    flopsOf: (flops: number) => power(flops, 3),
    how: "How these are reckoned",
    formulas: [
      "Parameters: embedding + layers × (4 attention matrices + 3 MLP matrices + 2 norms) + last norm + head. A head that is the embedding counts once.",
      "Bytes of weights: tensor by tensor with their scales, to the byte; of this page's own files with their padding. Names of tensors, tokenizer and manifest are left out.",
      "Cache: layers × 2 × key-value heads × width of a head × bytes of a number, for each position.",
      "Operations a token: 2 × (weights of the layers' matrices + weights of the head) + 4 × layers × heads × width of a head × context.",
      "Bytes read a token: every layer that runs, the head, one row of the embedding, and the cache in 16 bits.",
      "Most tokens/s: bandwidth over the bytes read, for one answer at a time. Without guessing ahead nothing decodes faster.",
      "`halfdepth budget` on the command line reckons the same.",
    ],
  },

  cards: {
    caption: "Which card it fits, and the most tokens/s there",
    card: "Card or computer",
    memory: "Memory",
    memoryOf: (gib: number, bytesPerSecond: number) =>
      `${gib} GiB, ${whole(Math.round(bytesPerSecond / 1e9))} GB/s`,
    no: "does not fit",
    upTo: (perSecond: number) => `≤ ${rate(perSecond)}`,
    note: "Fits: weights and cache take at most nine tenths of the memory. Memory and bandwidth are as commonly listed.",
  },

  article: {
    title: "140 GB → 17.5 GB: what is true of it",
    intro:
      "The article on “The Unreasonable Ineffectiveness of the Deeper Layers” says of Llama 2 70B: 140 GB and 3 × 10¹⁰ operations a token become 17.5 GB and 1.5 × 10¹⁰, with half of the layers and 4 bits a weight.",
    caption: "Llama 2 70B",
    figure: "Figure",
    said: "Said",
    reckoned: "Reckoned",
    rows: {
      full: "All layers, 16 bits",
      half: "Half of them, 4 bits and no scales",
      usual: "Half of them, 4.5 bits as in use",
      flops: "Operations a token, all layers",
      halfFlops: "Operations a token, half of them",
    },
    /** With the digits that they were said with. */
    saidBytes: (bytes: number) => `${bytes / 1e9} GB`,
    notSaid: "–",
    holds: "Holds",
    holdsNot: "Does not hold",
    left: "Is not in these figures",
    memory: ({ bytes: { reckoned }, usualHalfBytes }: Claims) =>
      `The memory. 140 = 70 × 10⁹ weights of 2 bytes, divided by 4 (16 to 4 bits) and by 2 (layers). Counted out it is ${size(reckoned[0])} and ${size(reckoned[1])}. But that is 4 bits a weight without any scale, which no format does; in those that people use, about 4.5, it is ${size(usualHalfBytes)}.`,
    ratio: ({ flops: { reckoned } }: Claims) =>
      `The halving of the work: half the layers take ${percent(reckoned[1] / reckoned[0])} of the operations.`,
    card: (cacheBytes: number) =>
      `One card instead of several. With ${size(cacheBytes)} of cache for 4,096 positions it fits a card of 24 GB, and not one of 16 GB.`,
    flops: ({ flops: { reckoned, claimed } }: Claims) =>
      `${power(claimed[0], 0)} operations a token. Two for every weight make ${power(reckoned[0], 3)}, ${withPoint(reckoned[0] / claimed[0], 1)} times as many; no usual way of counting gives ${power(claimed[0], 0)}.`,
    small: (name: string, share: number) =>
      `Half for every model. Embedding and head stay whole: ${name} keeps ${percent(share)} of its parameters at half depth.`,
    quality:
      "What is still worth reading. The paper saw multiple choice hold up to about half of the layers in Llama 2, with healing; 35 % in Mistral 7B, 20 % in Qwen. Reasoning and free text fall sooner, most of all in small models. The two lanes show it.",
  },

  ignored: (keys: readonly string[]) =>
    `The address says something of ${keys.map((key) => `“${key}”`).join(", ")} that cannot be used; the usual value stands in.`,

  config: {
    empty: "Nothing is pasted yet.",
    tooLong: (characters: number, most: number) =>
      `That is ${whole(characters)} characters, more than the ${whole(most)} a configuration may have. Is it the right file?`,
    noJson: "That is not JSON. Paste the whole of config.json, from { to }.",
    noObject: "That is JSON, but not an object. Paste the whole of config.json, from { to }.",
    missing: (field: string) => `“${field}” is missing. Paste the whole config.json of a Llama.`,
    noSize: (field: string, found: string) =>
      `“${field}” should be a whole number, not negative, and is ${found}.`,
    noFlag: (field: string, found: string) =>
      `“${field}” should be true or false, and is ${found}.`,
    headsDoNotDivide: (heads: number, hidden: number) =>
      `“num_attention_heads” is ${heads}, which does not divide “hidden_size” = ${hidden}, and “head_dim” is not given.`,
    kvHeadsDoNotDivide: (kvHeads: number, heads: number) =>
      `“num_key_value_heads” is ${kvHeads}, which does not divide the ${heads} of “num_attention_heads”.`,
    oddHead: (headDim: number) => `“head_dim” is ${headDim}, and should be a multiple of 4.`,
    outOfRange: (field: string, found: number, most: number) =>
      `“${field}” is ${whole(found)}; it should lie between 1 and ${whole(most)}.`,
    unsupported: (field: string, found: string) =>
      `“${field}” is ${found}: not a plain Llama, and these formulas are for plain Llamas (grouped-query attention, SiLU, no biases).`,
    quantised:
      "“quantization_config” is there: this is a quantised copy. Paste the original model's config.json, and choose the bits here.",
  },
};
