import { describe, expect, test } from "vitest";
import { readConfig } from "../../../www/budget/config";

const LLAMA = {
  model_type: "llama",
  hidden_act: "silu",
  hidden_size: 4096,
  intermediate_size: 14_336,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  vocab_size: 128_256,
  max_position_embeddings: 8192,
};

const read = (part: object) => readConfig(JSON.stringify({ ...LLAMA, ...part }));

describe("what a config.json leaves out has its usual value", () => {
  test("a head's width, and a head of its own", () => {
    const shape = { headDim: 128, tiedHead: false, kvHeads: 8 };
    expect(read({})).toEqual({ shape: expect.objectContaining(shape) as unknown });
  });

  test("as many key-value heads as heads, also where it says null", () => {
    const shape = expect.objectContaining({ kvHeads: 32, headDim: 128 }) as unknown;
    expect(read({ num_key_value_heads: undefined, head_dim: null })).toEqual({ shape });
    expect(read({ num_key_value_heads: null })).toEqual({ shape });
  });

  test("a window that never closes, and layers that all see everything, are plain", () => {
    expect(read({ sliding_window: 8192, layer_types: ["full_attention"] })).toHaveProperty("shape");
    expect(read({ model_type: "mistral", partial_rotary_factor: 1 })).toHaveProperty("shape");
  });
});

describe("what is none is refused, and the field is named", () => {
  test.each<[string, string, string]>([
    ["nothing", "  \n", "Nothing"],
    ["a sentence", "hello", "not JSON"],
    ["half a file", '{"hidden_size": 4096,', "not JSON"],
    ["a list", "[1]", "not an object"],
    ["null", "null", "not an object"],
    ["a number", "7", "not an object"],
    ["another file", '{"bos_token": "<s>"}', "model_type"],
    ["a book", "x".repeat(2 ** 20 + 1), "characters"],
  ])("%s", (_, text, part) => {
    const found = readConfig(text);
    expect(found).toHaveProperty("wrong");
    expect("wrong" in found && found.wrong).toContain(part);
  });

  test.each<[object, string]>([
    [{ model_type: "gpt2" }, "model_type"],
    [{ model_type: ["llama"] }, "model_type"],
    [{ hidden_size: undefined }, "hidden_size"],
    [{ hidden_size: "4096" }, "hidden_size"],
    [{ hidden_size: -1 }, "hidden_size"],
    [{ hidden_size: 0.5 }, "hidden_size"],
    [{ hidden_size: 1e300 }, "hidden_size"],
    [{ hidden_size: 0 }, "hidden_size"],
    [{ hidden_size: 65_537, head_dim: 128 }, "hidden_size"],
    [{ num_hidden_layers: 0 }, "num_hidden_layers"],
    [{ num_hidden_layers: 2000 }, "num_hidden_layers"],
    [{ num_attention_heads: 0 }, "num_attention_heads"],
    [{ num_attention_heads: 31 }, "num_attention_heads"],
    [{ num_key_value_heads: 5 }, "num_key_value_heads"],
    [{ num_key_value_heads: 0 }, "num_key_value_heads"],
    [{ head_dim: 6 }, "head_dim"],
    [{ head_dim: 512 }, "head_dim"],
    [{ vocab_size: 0 }, "vocab_size"],
    [{ max_position_embeddings: 0 }, "max_position_embeddings"],
    [{ tie_word_embeddings: "yes" }, "tie_word_embeddings"],
    [{ attention_bias: true }, "attention_bias"],
    [{ hidden_act: "gelu" }, "hidden_act"],
    [{ quantization_config: { bits: 4 } }, "quantization_config"],
    [{ layer_types: ["sliding_attention"] }, "layer_types"],
    [{ partial_rotary_factor: 0.5 }, "partial_rotary_factor"],
    [{ sliding_window: 4096 }, "sliding_window"],
    [{ model_type: "<img src=x onerror=alert(1)>".repeat(20) }, "model_type"],
  ])("%j", (part, field) => {
    const found = read(part);
    expect("wrong" in found && found.wrong).toContain(`“${field}”`);
    expect("wrong" in found && found.wrong.length).toBeLessThan(250);
  });
});
