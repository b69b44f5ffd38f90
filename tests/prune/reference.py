"""Cuts models with `halfdepth prune` and lets transformers and llama.cpp run what was written.

In: the built program, the shared data, a folder whose node_modules has node-llama-cpp. Out: `reference.json`: for every model and plan
the greedy ids of transformers (from the folder) and of llama.cpp (from the GGUF file). The command line's tests hold `prune` to it.

    python tests/prune/reference.py target/debug/halfdepth ../shared/data/models NODE_FOLDER
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

import torch
import transformers

PROMPT = "Once upon a time"
TOKENS = 48
# (model, layers to leave out, type of the GGUF file; its last two are not what the folder holds, so only prune's own run is compared)
CASES = [
    ("stories260K", [0], "stored"),
    ("stories260K", [2, 3], "stored"),
    ("stories260K", [1], "q8_0"),
    ("stories260K", [1], "q4_0"),
    ("TinyStories-656K", [1], "stored"),
    ("TinyStories-656K", [0], "stored"),
    ("halfdepth-stories-12L", [5, 6, 7, 8, 9, 10], "stored"),
    ("halfdepth-stories-12L", [3], "f16"),
    ("halfdepth-stories-12L", [2, 5, 8], "q8_0"),
    ("stories260K/stories260K-f32.gguf", [1, 3], "stored"),
    ("stories260K/stories260K-q8_0.gguf", [2], "stored"),
]


def run(*arguments: str) -> dict:
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def by_transformers(folder: str) -> list[int]:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(PROMPT, return_tensors="pt").input_ids
    # Without end tokens: the text goes on past them, as everywhere in the references.
    model.generation_config.eos_token_id = None
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=TOKENS, pad_token_id=0)
    return out[0, ids.shape[1]:].tolist()


def main() -> None:
    program, models, node = sys.argv[1:4]
    here = os.path.dirname(os.path.abspath(__file__))
    # node looks for packages beside the script.
    script = os.path.join(node, "llama_cpp.mjs")
    shutil.copy(os.path.join(here, "llama_cpp.mjs"), script)
    cases = []
    for model, dropped, kind in CASES:
        source, drop = os.path.join(models, model), ",".join(map(str, dropped))
        with tempfile.TemporaryDirectory() as work:
            gguf, folder = os.path.join(work, "cut.gguf"), os.path.join(work, "cut")
            run(program, "prune", source, "--drop", drop, "--to", "gguf", "--type", kind, "-o", gguf, "--json")
            own = run(program, "generate", gguf, "--prompt", PROMPT, "--greedy", "--ignore-eos", "--max-tokens", str(TOKENS),
                      "--dense", "--device", "cpu", "--json")
            theirs = run("node", script, gguf, PROMPT, str(TOKENS))
            case = {"model": model, "dropped": dropped, "type": kind, "prompt": PROMPT, "prompt_ids": theirs["prompt_ids"],
                    "llama_cpp": theirs["greedy_ids"], "transformers": None}
            print(model, dropped, kind, "llama.cpp agrees:", theirs["greedy_ids"] == own["generated_ids"],
                  "prompt:", theirs["prompt_ids"] == own["prompt_ids"])
            if "q8_0" not in model and kind != "q8_0" and kind != "q4_0":
                run(program, "prune", source, "--drop", drop, "--to", "hf", "-o", folder, "--json")
                own = run(program, "generate", source, "--drop", drop, "--prompt", PROMPT, "--greedy", "--ignore-eos",
                          "--max-tokens", str(TOKENS), "--dense", "--device", "cpu", "--json")
                case["transformers"] = by_transformers(folder)
                print("  transformers agrees:", case["transformers"] == own["generated_ids"])
            cases.append(case)
    versions = {"transformers": transformers.__version__,
                "node-llama-cpp": json.load(open(os.path.join(node, "node_modules/node-llama-cpp/package.json")))["version"]}
    with open(os.path.join(here, "reference.json"), "w", encoding="utf-8") as out:
        json.dump({"made_by": "tests/prune/reference.py", "versions": versions, "cases": cases}, out)
        out.write("\n")


main()
