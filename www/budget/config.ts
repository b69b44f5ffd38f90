// A pasted config.json, in Hugging Face's form, to a shape; or why not. The rules are those of src/config/, as far as sizes go:
// how positions are rotated costs nothing that is reckoned here.
import { words } from "./words";
import type { Shape } from "./shapes";

export type ReadConfig = { shape: Shape } | { wrong: string };

// Real ones have two kilobytes; per-layer lists of the largest models ten.
const LONGEST = 1 << 20;
const FAMILIES = ["llama", "mistral"];
// Above the largest published Llama by a factor of four or more: no product of sizes loses a digit.
const MOST: Readonly<Record<keyof Omit<Shape, "tiedHead">, number>> = {
  hiddenSize: 1 << 16,
  intermediateSize: 1 << 18,
  layers: 1 << 10,
  heads: 1 << 10,
  kvHeads: 1 << 10,
  headDim: 256,
  vocabSize: 1 << 20,
  context: 1 << 24,
};
const FIELDS: Readonly<Record<keyof typeof MOST, string>> = {
  hiddenSize: "hidden_size",
  intermediateSize: "intermediate_size",
  layers: "num_hidden_layers",
  heads: "num_attention_heads",
  kvHeads: "num_key_value_heads",
  headDim: "head_dim",
  vocabSize: "vocab_size",
  context: "max_position_embeddings",
};

export function readConfig(text: string): ReadConfig {
  try {
    return { shape: shapeOf(parse(text)) };
  } catch (thrown) {
    if (thrown instanceof Wrong) return { wrong: thrown.message };
    throw thrown;
  }
}

class Wrong extends Error {}

/** `null` counts as absent. */
class Fields {
  constructor(private readonly map: Readonly<Record<string, unknown>>) {}

  get(field: string): unknown {
    return Object.hasOwn(this.map, field) ? (this.map[field] ?? undefined) : undefined;
  }

  size(field: string): number {
    const size = this.optionalSize(field);
    if (size === undefined) throw new Wrong(words.config.missing(field));
    return size;
  }

  optionalSize(field: string): number | undefined {
    const value = this.get(field);
    if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= 0))
      return value as number | undefined;
    throw new Wrong(words.config.noSize(field, brief(value)));
  }

  optionalFlag(field: string): boolean | undefined {
    const value = this.get(field);
    if (value === undefined || typeof value === "boolean") return value;
    throw new Wrong(words.config.noFlag(field, brief(value)));
  }
}

function parse(text: string): Fields {
  if (text.trim() === "") throw new Wrong(words.config.empty);
  if (text.length > LONGEST) throw new Wrong(words.config.tooLong(text.length, LONGEST));
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Wrong(words.config.noJson);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Wrong(words.config.noObject);
  return new Fields(value as Record<string, unknown>);
}

function shapeOf(config: Fields): Shape {
  refuseUnsupported(config);
  const hiddenSize = config.size(FIELDS.hiddenSize);
  const heads = config.size(FIELDS.heads);
  const headDim = config.optionalSize(FIELDS.headDim) ?? hiddenSize / heads;
  if (heads > 0 && !Number.isInteger(headDim))
    throw new Wrong(words.config.headsDoNotDivide(heads, hiddenSize));
  const shape: Shape = {
    layers: config.size(FIELDS.layers),
    hiddenSize,
    intermediateSize: config.size(FIELDS.intermediateSize),
    heads,
    kvHeads: config.optionalSize(FIELDS.kvHeads) ?? heads,
    headDim,
    vocabSize: config.size(FIELDS.vocabSize),
    context: config.size(FIELDS.context),
    tiedHead: config.optionalFlag("tie_word_embeddings") ?? false,
  };
  for (const key of Object.keys(MOST) as (keyof typeof MOST)[]) {
    const found = shape[key];
    if (!(found >= 1 && found <= MOST[key]))
      throw new Wrong(words.config.outOfRange(FIELDS[key], found, MOST[key]));
  }
  if (shape.heads % shape.kvHeads !== 0)
    throw new Wrong(words.config.kvHeadsDoNotDivide(shape.kvHeads, shape.heads));
  if (shape.headDim % 4 !== 0) throw new Wrong(words.config.oddHead(shape.headDim));
  return shape;
}

/** What another architecture has is not in the formulas. */
function refuseUnsupported(config: Fields): void {
  const refuse = (field: string, value: unknown): never => {
    throw new Wrong(words.config.unsupported(field, brief(value)));
  };
  const kind = config.get("model_type");
  if (kind === undefined) throw new Wrong(words.config.missing("model_type"));
  if (!FAMILIES.some((family) => family === kind)) refuse("model_type", kind);
  for (const flag of ["attention_bias", "mlp_bias", "rope_interleaved"]) {
    if (config.optionalFlag(flag) === true) refuse(flag, true);
  }
  const activation = config.get("hidden_act");
  if (activation !== undefined && activation !== "silu") refuse("hidden_act", activation);
  const quantised = config.get("quantization_config");
  if (quantised !== undefined) throw new Wrong(words.config.quantised);
  const types = config.get("layer_types");
  const isFull = (type: unknown) => type === "full_attention";
  if (types !== undefined && !(Array.isArray(types) && types.every(isFull)))
    refuse("layer_types", types);
  const share = config.get("partial_rotary_factor");
  if (share !== undefined && share !== 1) refuse("partial_rotary_factor", share);
  // A window at least as long as the context never closes.
  const window = config.optionalSize("sliding_window");
  if (window !== undefined && window < config.size(FIELDS.context))
    refuse("sliding_window", window);
}

/** A value as an error shows it: short, whatever was pasted. */
function brief(value: unknown): string {
  return JSON.stringify(value).slice(0, 60);
}
