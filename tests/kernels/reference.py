"""Makes reference.json: one Llama layer by transformers in float64, with random weights.

Run by hand when a case is added: pip install torch transformers; python tests/kernels/reference.py
"""

import json
import pathlib

import torch
import transformers
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

torch.manual_seed(7)
torch.set_default_dtype(torch.float64)

# heads, key-value heads, head size, hidden size, intermediate size, tokens, position of the first token
CASES = [
    (4, 2, 8, 20, 12, 5, 0),
    (8, 1, 16, 24, 40, 9, 3),
    (2, 2, 32, 34, 65, 3, 60),
    (8, 4, 64, 8, 31, 2, 0),
    (4, 1, 128, 8, 8, 2, 7),
]


def numbers(tensor):
    # Eight digits: about what f32 can tell apart.
    return [float(f"{x:.8g}") for x in tensor.flatten().tolist()]


def coarse(tensor):
    # Multiples of 1/16 are exact in f32 and short in JSON.
    return (tensor * 16).round() / 16


def case(heads, kv_heads, head_dim, hidden, intermediate, tokens, position):
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        rms_norm_eps=1e-5,
        attn_implementation="eager",
    )
    layer = LlamaDecoderLayer(config, layer_idx=0).eval()
    for parameter in layer.parameters():
        parameter.data = coarse(torch.randn_like(parameter) * 0.3)
    # Tokens before `position` are in the cache already; here they are simply run along.
    total = position + tokens
    x = coarse(torch.randn(1, total, hidden))
    positions = torch.arange(total)[None]
    # In float64, as the kernels' table; LlamaRotaryEmbedding makes it in float32.
    inv_freq = 1.0 / (10000.0 ** (torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim))
    angles = torch.outer(torch.arange(total, dtype=torch.float64), inv_freq)
    angles = torch.cat([angles, angles], dim=-1)[None]
    mask = torch.full((total, total), float("-inf")).triu(1)[None, None]
    kept = {}
    layer.input_layernorm.register_forward_hook(lambda *a: kept.update(attention_normed=a[-1]))
    layer.post_attention_layernorm.register_forward_hook(lambda *a: kept.update(after_attention=a[1][0], mlp_normed=a[-1]))
    layer.mlp.down_proj.register_forward_pre_hook(lambda _, inputs: kept.update(swiglu=inputs[0]))
    layer.self_attn.o_proj.register_forward_pre_hook(lambda _, inputs: kept.update(attended=inputs[0]))
    with torch.no_grad():
        out = layer(x, attention_mask=mask, position_ids=positions, position_embeddings=(angles.cos(), angles.sin()))
    out = out[0] if isinstance(out, tuple) else out
    a, m = layer.self_attn, layer.mlp
    weights = {
        "attention_norm": layer.input_layernorm.weight,
        "qkv": torch.cat([a.q_proj.weight, a.k_proj.weight, a.v_proj.weight]),
        "output": a.o_proj.weight,
        "mlp_norm": layer.post_attention_layernorm.weight,
        "gate_up": torch.cat([m.gate_proj.weight, m.up_proj.weight]),
        "down": m.down_proj.weight,
    }
    steps = {name: value.reshape(total, -1) for name, value in kept.items()}
    steps["out"] = out.reshape(total, -1)
    return {
        "heads": heads, "kv_heads": kv_heads, "head_dim": head_dim, "hidden": hidden, "intermediate": intermediate,
        "tokens": tokens, "position": position,
        "x": numbers(x),
        "weights": {name: numbers(value.detach()) for name, value in weights.items()},
        "steps": {name: numbers(value) for name, value in steps.items()},
    }


document = {"reference": f"transformers {transformers.__version__}, float64", "cases": [case(*c) for c in CASES]}
path = pathlib.Path(__file__).with_name("reference.json")
path.write_text(json.dumps(document, separators=(",", ":")) + "\n")
print(path, path.stat().st_size, "bytes")
