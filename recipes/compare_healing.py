"""Heals a model in several ways, at several depths, with several seeds, and measures what each is worth.

usage: compare_healing.py MODEL OUT_DIR --text TRAIN.txt --valid VALID.txt --held-out A.txt B.txt [--halfdepth PATH] [--steps 400] …

For every share of layers dropped, every plan and every seed: `halfdepth heal` by every method, then `halfdepth eval` of what came of it on the held-out
texts, in f32 and as a 4-bit pack. Plans:
  simple   the deepest layers but the last
  greedy   the layers whose loss on VALID is least when they go
  random   a block at a place drawn by the seed: the control, healed equally
  full     every layer: the other control, trained equally on the text (lora, last-layers), which tells healing from more training
A plan of its own for each seed only where it is drawn; what does not depend on the seed (no healing, a patch) is made once for the other plans.

Everything is a step that leaves a file: the same command goes on where it was ended, and does nothing that is done. OUT_DIR/comparison.json has every figure,
comparison.md the tables, comparison.svg the held-out losses while healing. Texts of --held-out are never learned from, and nothing is chosen by them.

The embedded model, as docs/healing.md has it (texts by recipes/stories_corpus.py):
  python recipes/compare_healing.py halfdepth-stories-12L comparison --text stories/train.txt --valid stories/valid.txt \\
    --held-out tinystories_val_0.8MB.txt stories/dialogues_held_out.txt
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import time

from healing_report import is_cut_of, write_report

# What is given to `halfdepth heal` beside what all methods share. Rates that suit 2.6 million parameters: of lora the best of 1e-3, 3e-3 and 1e-2, of
# last-layers the better of 5e-4 and 2e-3, by the loss on VALID of the simple half after 30 steps.
METHODS = {
    "none": None,
    "patch": ["--method", "patch"],
    "lora": ["--method", "lora", "--rank", "16", "--learning-rate", "3e-3"],
    "distill": ["--method", "distill", "--tune", "all", "--learning-rate", "2e-3"],
    "last-layers": ["--method", "last-layers", "--learning-rate", "5e-4"],
}
TRAINED = ("lora", "distill", "last-layers")
# What learns from the text, and so goes on where nothing is left out.
FROM_TEXT = ("lora", "last-layers")


def main():
    args = parse()
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    runner = Runner(args, out)
    runner.reference()
    for run in runs(args):
        print(run["name"], flush=True)
        runner.run(run)
        # After every run, so that what is there can be read while the rest is made.
        write_report(out, runner.results())


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--text", nargs="+", required=True, help="texts to learn from")
    parser.add_argument("--valid", required=True, help="a text to choose and to stop by")
    parser.add_argument("--held-out", nargs="+", required=True, help="texts to be judged by")
    parser.add_argument("--halfdepth", default="halfdepth", help="the command")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--plans", nargs="+", choices=["simple", "greedy", "random", "full"], default=["simple", "greedy", "random", "full"])
    parser.add_argument("--drop", nargs="+", type=int, default=[25, 50], help="per cent of the layers")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--windows", type=int, default=400, help="windows of 128 predictions of each held-out text, at most")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--heal", nargs=argparse.REMAINDER, default=[], help="what else `heal` is given when it trains; comes last")
    return parser.parse_args()


def runs(args):
    """Every run, seed by seed: an early end leaves whole rows."""
    cuts = [(plan, drop) for drop in args.drop for plan in args.plans if plan != "full"]
    for seed in args.seeds:
        for plan, drop in [*cuts, *([("full", 0)] if "full" in args.plans else [])]:
            for method in args.methods:
                if plan == "full" and method not in FROM_TEXT:
                    continue
                depends_on_seed = plan == "random" or method in TRAINED
                if depends_on_seed or seed == args.seeds[0]:
                    name = f"{plan}-{drop}-{method}-{seed}"
                    yield {"name": name, "plan": plan, "drop": drop, "method": method, "seed": seed}


class Runner:
    def __init__(self, args, out):
        self.args, self.out = args, out
        self.done = []

    def halfdepth(self, *words):
        """Runs the command and gives the object that it prints; its progress goes to the terminal."""
        command = [self.args.halfdepth, *map(str, words)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"this failed, and the same command goes on from here: {' '.join(command)}")
        return json.loads(done.stdout) if done.stdout.startswith("{") else {}

    def reference(self):
        """The whole model: what healing is to come back to."""
        self.measure(self.out / "full", ["--plan", "full"], self.args.model)

    def plan(self, run):
        """A plan's file, or the name of the one that needs none."""
        kind, drop = run["plan"], run["drop"]
        if kind == "full":
            return kind
        seed = run["seed"] if kind == "random" else 0
        path = self.out / "plans" / f"{kind}-{drop}{f'-{seed}' if kind == 'random' else ''}.json"
        if path.exists():
            return path
        scan = self.out / "plans" / "scan.json"
        if not scan.exists():
            self.halfdepth("scan", self.args.model, "--text", self.args.valid, "--device", self.args.device, "-o", scan)
        search = ["--model", self.args.model, "--text", self.args.valid, "--device", self.args.device] if kind == "greedy" else []
        self.halfdepth("plan", scan, "--strategy", kind, "--drop", f"{drop}%", "--seed", seed, *search, "-o", path)
        return path

    def run(self, run):
        folder, plan = self.out / "runs" / run["name"], self.plan(run)
        folder.mkdir(parents=True, exist_ok=True)
        healing = folder / "healing"
        cost = self.heal(run, plan, healing) if METHODS[run["method"]] else {"seconds": 0.0, "tokens": 0}
        which = ["--healed", healing] if METHODS[run["method"]] else ["--plan", plan]
        self.measure(folder, which, self.args.model)
        self.done.append((run, folder, cost))

    def heal(self, run, plan, healing):
        """Heals, unless that was done, and says what it took."""
        cost_file = healing.parent / "cost.json"
        if cost_file.exists():
            return json.loads(cost_file.read_text())
        how = [*METHODS[run["method"]], "--plan", plan, "--seed", run["seed"], "--text", *self.args.text, "--valid", self.args.valid]
        if run["method"] in TRAINED:
            how += ["--steps", self.args.steps, *self.args.heal]
        # Of a run that goes on after it was ended only the last part could be timed.
        is_new, begun = not healing.exists(), time.monotonic()
        report = self.halfdepth("heal", self.args.model, *how, "--device", self.args.device, "--json", "-o", healing)
        seconds = time.monotonic() - begun if is_new else None
        cost = {"seconds": seconds, "tokens": report.get("tokens"), "best_step": report.get("best_step")}
        cost_file.write_text(json.dumps(cost))
        return cost

    def measure(self, folder, which, model):
        """Losses on the held-out texts, of f32 and of the 4-bit pack."""
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "f32.json").exists():
            self.evaluate(model, which, folder / "f32.json")
        if (folder / "q4.json").exists():
            return
        pack, cut = folder / "pack", folder / "cut"
        for left in (pack, cut):
            shutil.rmtree(left, ignore_errors=True)
        if which == ["--plan", "full"]:
            cut = model
        else:
            self.halfdepth("prune", model, *which, "--to", "hf", "-o", cut)
        self.halfdepth("pack", cut, "-o", pack)
        self.evaluate(pack, [], folder / "q4.json")
        for made in (pack, folder / "cut"):
            shutil.rmtree(made, ignore_errors=True)

    def evaluate(self, model, which, path):
        tasks = ["--tasks", "loss", "--text", *self.args.held_out, "--limit", self.args.windows]
        state = ["--state", self.out / "eval.state"]
        self.halfdepth("eval", model, *which, *tasks, *state, "--device", self.args.device, "--json", "-o", path)

    def results(self):
        """Everything that was measured."""
        texts = [pathlib.Path(text).name for text in self.args.held_out]
        full = {kind: losses(self.out / "full" / f"{kind}.json") for kind in ("f32", "q4")}
        rows = []
        for run, folder, cost in self.done:
            plan = self.plan(run)
            layers = None if plan == "full" else json.loads(plan.read_text())["layers"]
            row = {**run, "layers": layers, **cost, "curve": curve(folder / "healing" / "log.jsonl")}
            row["loss"] = {kind: losses(folder / f"{kind}.json") for kind in ("f32", "q4")}
            rows.append(row)
        for row in rows:
            cut = next((other for other in rows if is_cut_of(other, row)), None)
            row["gap_closed"] = cut and {kind: gap_closed(full[kind], cut["loss"][kind], row["loss"][kind], texts) for kind in full}
        settings = {"steps": self.args.steps, "windows": self.args.windows, "heal": self.args.heal, "device": self.args.device}
        head = {"format": "halfdepth-healing-comparison", "version": 1, "model": pathlib.Path(self.args.model).name}
        return {**head, "texts": texts, "settings": settings, "full": full, "runs": rows}


def gap_closed(full, cut, healed, texts):
    """By text: 1 where the loss is the whole model's again, 0 where it is the cut's."""
    share = lambda text: (cut[text] - healed[text]) / (cut[text] - full[text])
    return {text: share(text) for text in texts if cut[text] > full[text]}


def losses(path):
    """Nats a token by text."""
    report = json.loads(path.read_text())
    return {task["text"]: task["figures"]["cross_entropy"]["value"] for task in report["tasks"]}


def curve(path):
    """Held-out losses while healing: (step, nats a token)."""
    if not path.exists():
        return []
    notes = map(json.loads, path.read_text().splitlines())
    return [(note["step"], note["held_out_loss"]) for note in notes if "held_out_loss" in note]


if __name__ == "__main__":
    main()
