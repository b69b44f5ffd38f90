"""Makes reference.json: causal traces and the logit lens of halfdepth-stories-12L, by transformers in float64.

Run by hand when a case is added: pip install torch transformers; python tests/trace/reference.py ../shared/data/models/halfdepth-stories-12L

The noise is SplitMix64 through Box and Muller's transform, as in src/draws.rs: both sides draw the same numbers. States are put back by hooks on
transformers' own modules.
"""

import json
import math
import pathlib
import sys

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

PROMPT = "<|user|>Tell me a story about Lily and a dog.<|end|><|assistant|>Once upon a time, there was a little girl named"
SUBJECT, ANSWER = "Lily", " Lily."
SAMPLES, NOISE, SEED = 3, 3.0, 5
# What is put back, and in how many layers at once.
CASES = [("state", 1), ("attention", 3), ("mlp", 2)]

torch.set_default_dtype(torch.float64)
torch.set_grad_enabled(False)
torch.set_num_threads(1)


def normals(seed, count):
    state, mask, drawn = seed, (1 << 64) - 1, []

    def uniform():
        nonlocal state
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return (((z ^ (z >> 31)) >> 11) + 0.5) / (1 << 53)

    for _ in range(count):
        radius = math.sqrt(-2.0 * math.log(uniform()))
        drawn.append(radius * math.cos(math.tau * uniform()))
    return torch.tensor(drawn)


def load(folder):
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    config = model.config
    dim = config.hidden_size // config.num_attention_heads
    theta = config.rope_parameters["rope_theta"]
    frequencies = theta ** (-torch.arange(0, dim, 2) / dim)

    def rotations(x, position_ids):
        # transformers makes them in float32.
        angles = position_ids[..., None].to(torch.float64) * frequencies
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos(), angles.sin()

    model.model.rotary_emb.forward = rotations
    return model


def tensor_of(output):
    return output[0] if isinstance(output, tuple) else output


def with_tensor(output, tensor):
    return (tensor, *output[1:]) if isinstance(output, tuple) else tensor


class Hooks:
    """Hooks that are gone at the end of a `with`."""

    def __init__(self):
        self.handles = []

    def change(self, module, change):
        self.handles.append(module.register_forward_hook(lambda _, __, output: with_tensor(output, change(tensor_of(output)))))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for handle in self.handles:
            handle.remove()


def module(layer, kind):
    return {"state": layer, "attention": layer.self_attn, "mlp": layer.mlp}[kind]


def main():
    folder = sys.argv[1]
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    encoding = tokenizer.encode(PROMPT)
    prompt = encoding.ids
    place = PROMPT.index(SUBJECT)
    subject = [at for at, (a, b) in enumerate(encoding.offsets) if a < place + len(SUBJECT) and place < b]
    answer = tokenizer.encode(PROMPT + ANSWER).ids[len(prompt) :]
    model = load(folder)
    layers = model.model.layers
    ids = torch.tensor([prompt + answer[:-1]])
    deviation = model.model.embed_tokens.weight.std(unbiased=False)
    hidden = model.config.hidden_size
    noise = NOISE * deviation * normals(SEED, SAMPLES * len(subject) * hidden).view(SAMPLES, len(subject), hidden)

    def probability(batch):
        logprobs = torch.log_softmax(model(input_ids=batch, use_cache=False).logits, -1)
        rows = logprobs[:, len(prompt) - 1 :]
        return sum(rows[:, at, token] for at, token in enumerate(answer)).exp()

    def corrupted(x):
        x = x.clone()
        x[:, subject] += noise
        return x

    reference = {
        "prompt": PROMPT,
        "subject": SUBJECT,
        "answer": ANSWER,
        "ids": ids[0].tolist(),
        "subject_tokens": subject,
        "answer_ids": answer,
        "samples": SAMPLES,
        "noise": NOISE,
        "seed": SEED,
        "embedding_deviation": float(deviation),
        "first_normals": normals(SEED, 4).tolist(),
        "clean": float(probability(ids)[0]),
        "traces": [],
    }
    batch = ids.repeat(SAMPLES, 1)
    with Hooks() as noisy:
        noisy.change(model.model.embed_tokens, corrupted)
        reference["corrupted"] = probability(batch).tolist()
    for kind, window in CASES:
        clean = {}
        with Hooks() as watch:
            for at, layer in enumerate(layers):
                watch.change(module(layer, kind), lambda x, at=at: clean.setdefault(at, x))
            probability(ids)
        trace = {"kind": kind, "window": window, "restored": []}
        for at in range(len(layers)):
            around = range(max(0, at - window // 2), min(len(layers), at - (-window // 2)))
            row = []
            for token in range(ids.shape[1]):
                if token < subject[0] - 1:
                    # Before the subject nothing differs; that it does not is seen at one token.
                    row.append([float(f"{p:.8g}") for p in reference["corrupted"]])
                    continue

                def put_back(x, layer):
                    x = x.clone()
                    x[:, token] = clean[layer][0, token]
                    return x

                with Hooks() as noisy:
                    noisy.change(model.model.embed_tokens, corrupted)
                    for layer in around:
                        noisy.change(module(layers[layer], kind), lambda x, layer=layer: put_back(x, layer))
                    row.append([float(f"{p:.8g}") for p in probability(batch).tolist()])
            trace["restored"].append(row)
        reference["traces"].append(trace)
    reference["lens"] = lens(model, ids)
    path = pathlib.Path(__file__).with_name("reference.json")
    path.write_text(json.dumps(reference, separators=(",", ":")) + "\n")


def lens(model, ids):
    streams = []
    with Hooks() as watch:
        watch.change(model.model.embed_tokens, lambda x: streams.append(x) or x)
        for layer in model.model.layers:
            # Before the final norm, which transformers' own hidden states end with.
            watch.change(layer, lambda x: streams.append(x) or x)
        model(input_ids=ids, use_cache=False)
    logprobs = torch.stack([torch.log_softmax(model.lm_head(model.model.norm(x)), -1)[0] for x in streams])
    chosen = logprobs[-1].argmax(-1)
    of_chosen = logprobs.gather(-1, chosen[None, :, None].expand(len(streams), -1, 1))
    kl = (logprobs[-1].exp() * (logprobs[-1] - logprobs)).sum(-1)
    digits = lambda table: [[float(f"{x:.8g}") for x in row] for row in table.tolist()]
    return {
        "chosen": chosen.tolist(),
        "probability": digits(of_chosen[..., 0].exp()),
        "rank": (1 + (logprobs > of_chosen).sum(-1)).tolist(),
        "kl": digits(kl),
        "top": logprobs.topk(3).indices.tolist(),
    }


if __name__ == "__main__":
    main()
