"""Makes an ONNX model of random weights with onnxruntime-genai's model builder. usage: make_onnx.py PACK OUT_FOLDER

@huggingface/transformers reads it as a local model, in two forms: `q4` computes in f32, `q4f16` in f16; both hold 4-bit
weights in blocks of 32, the embedding and the head too. Only the last position of a prompt meets the head, as in the
builder's own recipe for WebGPU.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import shape as shapes

FORMS = {"q4": {"use_webgpu_fp32": "true"}, "q4f16": {}}


def main(pack: Path, out: Path) -> None:
    (out / "onnx").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = Path(scratch) / "checkpoint"
        save_checkpoint(pack, checkpoint)
        for form, options in FORMS.items():
            built = Path(scratch) / form
            build(checkpoint, built, options)
            take(built, f"model_{form}.onnx", out / "onnx", shapes.read(pack).head_dim)
        finish(checkpoint, out)


def save_checkpoint(pack: Path, folder: Path) -> None:
    shape = shapes.read(pack)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.context,
        rms_norm_eps=shape.rms_norm_eps,
        rope_theta=shape.rope["theta"],
        rope_scaling=shapes.scaling(shape),
        tie_word_embeddings=shape.tied_head,
        bos_token_id=shape.bos_token,
        eos_token_id=shape.eos_tokens,
        torch_dtype="float16",
    )
    model = LlamaForCausalLM(config).to(torch.float16)
    model.save_pretrained(folder)
    manifest = json.loads((pack / "manifest.json").read_text())
    shutil.copy(pack / manifest["tokenizer"]["file"], folder / "tokenizer.json")
    tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": shape.context}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))


def build(checkpoint: Path, out: Path, options: dict) -> None:
    settings = {
        "filename": f"model_{out.name}.onnx",
        "block_size": 32,
        "is_symmetric": "true",
        "op_types_to_quantize": "MatMul/Gather",
        "shared_embeddings": "true",
        "prune_lm_head": "true",
        "hf_token": "false",
        **options,
    }
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
    command += ["-i", checkpoint, "-o", out, "-c", out / "cache", "-p", "int4", "-e", "webgpu"]
    command += ["--extra_options", *(f"{name}={value}" for name, value in settings.items())]
    # It prints a line for every matrix.
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def take(built: Path, name: str, out: Path, head_dim: int) -> None:
    """Moves a graph and its weights, which lie in a file of their own; the library has another name for that file."""
    graph = onnx.load(built / name, load_external_data=False)
    for tensor in graph.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = f"{name}_data"
    # The builder leaves the cache's width open, and the library would make it 0.
    for value in [*graph.graph.input, *graph.graph.output]:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == "kv_cache_dim":
                dimension.dim_value = head_dim
    onnx.save(graph, out / name)
    shutil.move(built / f"{name}.data", out / f"{name}_data")


def finish(checkpoint: Path, out: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checkpoint / name, out / name)
    config = json.loads((checkpoint / "config.json").read_text())
    config["transformers.js_config"] = {
        "kv_cache_dtype": {"q4f16": "float16", "q4": "float32"},
        "use_external_data_format": {f"model_{form}.onnx": 1 for form in FORMS},
    }
    (out / "config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
