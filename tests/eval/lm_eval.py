"""Runs lm-evaluation-harness on the local data files and writes what it said of every item: lm_eval.json.

The harness is not told how to ask or to score: its own task files are used, only its data sets are read from disk.
    pip install torch transformers lm-eval        # lm-eval 0.4.13 wrote the committed file
    python tests/eval/lm_eval.py ../shared/data
"""

import bz2
import csv
import hashlib
import json
import re
import sys
from pathlib import Path

# The folder of this file, where its own name would hide the package.
sys.path.pop(0)

import datasets
import lm_eval
import transformers
from lm_eval.models.huggingface import HFLM

SHARED = Path(sys.argv[1])
BENCH = SHARED / "bench"
MODELS = sys.argv[2:] or ["TinyStories-656K", "halfdepth-stories-12L"]
SUBJECTS = sorted(p.name.removesuffix("_test.csv") for p in (BENCH / "mmlu/test").iterdir())

# our name: (the harness's names, shots, items of each)
TASKS = {
    "mmlu": ([f"mmlu_{s}" for s in SUBJECTS], 5, 4),
    "mmlu-0shot": ([f"mmlu_{s}" for s in SUBJECTS], 0, 1),
    "mmlu-cloze": ([f"mmlu_{s}_continuation" for s in SUBJECTS], 5, 1),
    "mmlu-cloze-0shot": ([f"mmlu_{s}_continuation" for s in SUBJECTS], 0, 1),
    "boolq": (["boolq"], 0, 200),
    "hellaswag": (["hellaswag"], 0, 200),
    "arc-easy": (["arc_easy"], 0, 200),
    "arc-challenge": (["arc_challenge"], 0, 50),
    "piqa": (["piqa"], 0, 200),
    "winogrande": (["winogrande"], 0, 50),
    "openbookqa": (["openbookqa"], 0, 50),
    "lambada": (["lambada_openai"], 0, 50),
    "gsm8k": (["gsm8k"], 0, 6),
    "gsm8k-cot": (["gsm8k_cot"], 8, 3),
    "wikitext": (["wikitext"], 0, 3),
}


def instruct(folder, label):
    """The rows of a file in instruct form: (question, options, index of the right one)."""
    for row in json.loads((BENCH / folder / "test.json").read_text()):
        head, count = row["instruction"], len(row["instruction"].rsplit("format: ", 1)[1].split("/"))
        head = head.rsplit("Answer format: ", 1)[0].removesuffix(" " if label == "Option" else "\n\n")
        question, rest = re.split(rf"\n\n{label}1: ", head, maxsplit=1)
        question = re.sub(r"^.*?(?:to the question|given sentence): ", "", question, count=1)
        gap = r"\n\n" if label == "Solution" else " "
        options = []
        for n in range(2, count + 1):
            option, rest = re.split(rf"{gap}{label}{n}: ", rest, maxsplit=1)
            options.append(option)
        yield question, options + [rest], int(row["answer"].removeprefix(label.lower())) - 1


def mmlu(split, subject):
    with open(BENCH / f"mmlu/{split}/{subject}_{split}.csv", newline="") as file:
        for row in csv.DictReader(file):
            choices = [row[f"choice{i}"] for i in range(4)]
            yield {"question": row["question"], "choices": choices, "answer": int(row["answer"])}


def hellaswag():
    lines = bz2.open(BENCH / "hellaswag_val_full.txt.bz2").read().decode().split("\n")
    for at in range(0, len(lines) - 5, 6):
        activity, context = lines[at].split(": ", 1)
        # The file joins the two parts of the context. The second one is a sentence begun in lower case.
        begun = re.fullmatch(r"(.*[.!?]) ([a-z][^.!?]*)", context, flags=re.S)
        a, b = begun.groups() if begun else (context, "")
        yield {"activity_label": activity, "ctx_a": a, "ctx_b": b, "endings": lines[at + 2 : at + 6], "label": lines[at + 1]}


def arc(folder):
    for question, options, gold in instruct(folder, "Answer"):
        labels = list("ABCDE"[: len(options)])
        choices = {"text": options, "label": labels}
        yield {"question": question, "question_stem": question, "choices": choices, "answerKey": labels[gold]}


def wikitext():
    page = []
    for line in (SHARED / "text/wiki.test.raw").read_text().split("\n"):
        bare = line.replace("= = =", "===").replace("= =", "==").strip()
        if bare.startswith("= ") and bare.endswith(" ="):
            if "\n".join(page).strip():
                yield {"page": "\n".join(page)}
            page = []
        page.append(line)
    yield {"page": "\n".join(page)}


def jsonl(name):
    return (json.loads(line) for line in (BENCH / name).read_text().split("\n") if line)


def local(path, name=None, **_):
    """Stands where `datasets.load_dataset` did."""
    label = lambda rows: ({"goal": q, "sol1": o[0], "sol2": o[1], "label": g} for q, o, g in rows)
    blank = lambda rows: ({"sentence": q, "option1": o[0], "option2": o[1], "answer": str(g + 1)} for q, o, g in rows)
    boolq = lambda: ({**r, "label": int(r["answer"])} for r in json.loads((BENCH / "boolq_validation.json").read_text()))
    known = {
        "cais/mmlu": lambda: {"test": mmlu("test", name), "dev": mmlu("dev", name)},
        "aps/super_glue": lambda: {"validation": boolq()},
        "Rowan/hellaswag": lambda: {"validation": hellaswag()},
        "allenai/ai2_arc": lambda: {"test": arc(name)},
        "baber/piqa": lambda: {"validation": label(instruct("piqa", "Solution"))},
        "allenai/winogrande": lambda: {"validation": blank(instruct("winogrande", "Option"))},
        "allenai/openbookqa": lambda: {"test": arc("openbookqa")},
        "EleutherAI/lambada_openai": lambda: {"test": jsonl("lambada_test.jsonl")},
        "openai/gsm8k": lambda: {"test": jsonl("gsm8k_test.jsonl")},
        "EleutherAI/wikitext_document_level": lambda: {"test": wikitext()},
    }
    splits = {split: datasets.Dataset.from_list(list(rows)) for split, rows in known[path]().items()}
    # A split called train has to be there; no shot is taken from it.
    return datasets.DatasetDict({"train": next(iter(splits.values())), **splits})


def argmax(values):
    return max(range(len(values)), key=values.__getitem__)


def item(sample):
    """[hash of the requests, what the harness answered]: choices as [choice, choice by length, logs], and so on."""
    asked = [args if isinstance(args, str) else args[:1] if isinstance(args[-1], dict) else args for args in sample["arguments"]]
    prompt = hashlib.sha256("\0".join(part for args in asked for part in args).encode()).hexdigest()[:8]
    answers = [r for resps in sample["resps"] for r in resps]
    if "acc" not in sample:
        # Text that was generated, or the logarithm of a page.
        answer = answers[0] if isinstance(answers[0], str) else round(answers[0], 3)
        return [prompt, answer, int(sample.get("exact_match", 0))]
    logs = [log for log, _ in answers]
    if len(logs) == 1:
        return [prompt, round(logs[0], 4), int(answers[0][1])]
    # A choice is what follows the space, or where all that follows is the same (WinoGrande) what stands before it.
    is_after = len({context for context, _ in asked}) == 1
    lengths = [len(continuation) - 1 if is_after else len(context) for context, continuation in asked]
    by_length = argmax([log / length for log, length in zip(logs, lengths)])
    right = int(sample["acc"])
    return [prompt, argmax(logs), by_length, right, [round(log, 4) for log in logs]]


def run(model, names, shots, limit):
    while True:
        try:
            found = lm_eval.simple_evaluate(
                model=model, tasks=names, num_fewshot=shots, limit=limit, log_samples=True, bootstrap_iters=0
            )
            break
        except AssertionError:
            # Where a continuation merges into its context whole, the harness ends; its first items are still a test.
            limit //= 2
    items = []
    for name in names:
        samples = sorted(found["samples"][name], key=lambda s: s["doc_id"])
        if name.startswith("gsm8k"):
            samples = [s for s in samples if s["filter"] == "flexible-extract"]
        items += [item(sample) for sample in samples]
    return items


def main():
    datasets.load_dataset = local
    measured = {}
    for name in MODELS:
        folder = str(SHARED / "models" / name)
        # The model's own tokenizer.json: transformers 5 builds a LlamaTokenizer anew, and drops characters that are <unk> there.
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
        model = HFLM(pretrained=folder, tokenizer=tokenizer, device="cpu", dtype="float32", batch_size=8)
        tasks = measured[name] = {}
        for task, (names, shots, limit) in TASKS.items():
            tasks[task] = run(model, names, shots, limit)
            print(name, task, len(tasks[task]), file=sys.stderr)
    # Models that were not named keep what is there.
    path = Path(__file__).with_suffix(".json")
    known = json.loads(path.read_text())["models"] if path.exists() else {}
    models = dict(sorted({**known, **measured}.items()))
    report = {"lm_eval": lm_eval.__version__, "transformers": transformers.__version__, "models": models}
    # One item a line: a changed item is a changed line.
    text = json.dumps(report, ensure_ascii=False, separators=(",", ":"))
    text = re.sub(r'(\["[0-9a-f]{8}",)', r"\n\1", text)
    path.write_text(text + "\n")


main()
