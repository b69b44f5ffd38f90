"""Low-rank adapters, there and back: PEFT writes some, `halfdepth adopt` takes them up and writes them anew, PEFT loads those.

In: the built program, the shared models, the version of each package in REFERENCE. Out, beside this file: `peft/NAME/`, adapters as PEFT
wrote them, of random factors; and `reference.json`: for each of them the logits of PEFT's model after a few ids, unmerged, from the
adapter that PEFT wrote and from the one that `halfdepth adopt` wrote of it, and the hashes of the latter's files. The tests hold this
library's merged logits to both, and the files it writes to the hashes.

    python tests/healed/reference.py target/debug/halfdepth ../shared/data/models
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

import peft
import torch
import transformers

MODEL = "stories260K"
DROPPED = [1, 3]
IDS = [[1, 403, 407, 261, 378], [1, 42, 108, 300, 7, 7, 19, 500]]
FFN = ["gate_proj", "up_proj", "down_proj"]
# What adapters may differ in, and still are low-rank changes of the layers' matrices.
CASES = {
    "plain": dict(r=2, lora_alpha=2, lora_dropout=0.05, target_modules=FFN),
    "attention": dict(r=2, lora_alpha=3, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], layers_to_transform=[0, 2]),
    "rank_stabilised": dict(r=3, lora_alpha=2, target_modules=["down_proj"], use_rslora=True),
    "patterns": dict(r=2, lora_alpha=2, target_modules=FFN, rank_pattern={"layers.1.mlp.gate_proj": 1},
                     alpha_pattern={"up_proj": 5, "2.mlp.down_proj": 1}),
    "bfloat16": dict(r=2, lora_alpha=4, target_modules=["up_proj"]),
}


def run(*arguments: str) -> None:
    subprocess.run(arguments, check=True, capture_output=True)


def logits(folder: str, adapter: str) -> list:
    base = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(base, adapter).eval()
    with torch.no_grad():
        return [model(torch.tensor([ids])).logits[0, -1].tolist() for ids in IDS]


def sha256(path: str) -> str:
    return hashlib.sha256(open(path, "rb").read()).hexdigest()


def main() -> None:
    program, models = sys.argv[1:3]
    here = os.path.dirname(os.path.abspath(__file__))
    source = os.path.join(models, MODEL)
    cases = {}
    with tempfile.TemporaryDirectory() as work:
        pruned = os.path.join(work, "pruned")
        run(program, "prune", source, "--drop", ",".join(map(str, DROPPED)), "--to", "hf", "-o", pruned)
        for name, settings in CASES.items():
            torch.manual_seed(len(name))
            base = transformers.AutoModelForCausalLM.from_pretrained(pruned, dtype=torch.float32)
            model = peft.get_peft_model(base, peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **settings))
            if name == "bfloat16":
                model.to(torch.bfloat16)
            own, ours = os.path.join(here, "peft", name), os.path.join(work, name)
            shutil.rmtree(own, ignore_errors=True)
            # The folder's place on this machine is nobody's business.
            model.peft_config["default"].base_model_name_or_path = None
            model.save_pretrained(own)
            os.remove(os.path.join(own, "README.md"))
            run(program, "adopt", source, "--adapter", own, "--pruned", pruned, "-o", ours)
            adopted = os.path.join(ours, "adapter")
            theirs, back = logits(pruned, own), logits(pruned, adopted)
            far = max(abs(a - b) for x, y in zip(theirs, back) for a, b in zip(x, y))
            plain = transformers.AutoModelForCausalLM.from_pretrained(pruned, dtype=torch.float32).eval()
            with torch.no_grad():
                change = max((plain(torch.tensor([ids])).logits[0, -1] - torch.tensor(x)).abs().max().item() for ids, x in zip(IDS, theirs))
            print(name, "differ by", far, "where the adapter changes logits by up to", change)
            cases[name] = {"logits": [[round(v, 6) for v in x] for x in theirs], "adopted_logits": [[round(v, 6) for v in x] for x in back],
                           "adopted_config_sha256": sha256(os.path.join(adopted, "adapter_config.json")),
                           "adopted_weights_sha256": sha256(os.path.join(adopted, "adapter_model.safetensors"))}
    versions = {"peft": peft.__version__, "transformers": transformers.__version__, "torch": torch.__version__}
    reference = {"made_by": "tests/healed/reference.py", "versions": versions, "model": MODEL, "dropped": DROPPED, "ids": IDS, "cases": cases}
    with open(os.path.join(here, "reference.json"), "w", encoding="utf-8") as out:
        json.dump(reference, out)
        out.write("\n")


main()
