"""Writes a GGUF file of random weights, Q4_0 throughout. usage: make_gguf.py PACK OUT.gguf

wllama (llama.cpp) reads it. Embedding and head are Q4_0 like the layers: the fewest bytes, and what our own pack holds.
The vocabulary is made up: prompts are token ids, and what an answer says does not matter.
"""

import sys
from pathlib import Path

import gguf
import numpy as np

import shape as shapes


def main(pack: Path, out: Path) -> None:
    shape = shapes.read(pack)
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_name(f"random weights, {pack.name}")
    describe(writer, shape)
    vocabulary(writer, shape.vocab_size, shape.bos_token or 0)
    tensors(writer, shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def describe(writer: gguf.GGUFWriter, shape) -> None:
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope["theta"])
    writer.add_layer_norm_rms_eps(shape.rms_norm_eps)
    writer.add_vocab_size(shape.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)


def vocabulary(writer: gguf.GGUFWriter, size: int, begin: int) -> None:
    # One printable character first, then names: byte-pair encoding that never merges.
    tokens = [chr(33 + i) for i in range(94)] + [f"t{i}" for i in range(94, size)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * size)
    writer.add_token_merges(["! !"])
    writer.add_bos_token_id(begin)
    # No end token: an answer is as long as it is asked to be.
    writer.add_add_bos_token(False)


def tensors(writer: gguf.GGUFWriter, shape) -> None:
    rng = np.random.default_rng(1)
    q4 = gguf.GGMLQuantizationType.Q4_0

    def matrix(name: str, rows: int, cols: int) -> None:
        data = gguf.quantize(shapes.matrix(rng, rows, cols), q4)
        writer.add_tensor(name, data, raw_dtype=q4)

    def norm(name: str) -> None:
        writer.add_tensor(name, np.ones(shape.hidden_size, dtype=np.float32))

    hidden, inner = shape.hidden_size, shape.intermediate_size
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    matrix("token_embd.weight", shape.vocab_size, hidden)
    if not shape.tied_head:
        matrix("output.weight", shape.vocab_size, hidden)
    norm("output_norm.weight")
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        norm(f"{block}.attn_norm.weight")
        matrix(f"{block}.attn_q.weight", queries, hidden)
        matrix(f"{block}.attn_k.weight", keys, hidden)
        matrix(f"{block}.attn_v.weight", keys, hidden)
        matrix(f"{block}.attn_output.weight", hidden, queries)
        norm(f"{block}.ffn_norm.weight")
        matrix(f"{block}.ffn_gate.weight", inner, hidden)
        matrix(f"{block}.ffn_up.weight", inner, hidden)
        matrix(f"{block}.ffn_down.weight", hidden, inner)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
