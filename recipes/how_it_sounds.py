"""Prints what a pack's plans answer to ten prompts, as the table of a model card.

usage: how_it_sounds.py PACK [--plans full best-half healed] [--halfdepth halfdepth]

Greedy, through the pack's chat template, cut at 60 tokens; the prompts are fixed here, and every answer is printed.
"""

import argparse
import json
import subprocess

PROMPTS = [
    "Tell me a story about Lily and a dog.",
    "Tell me a story about a boy who lost his red ball.",
    "Tell me a story about a bird that could not fly.",
    "Tell me a story about Tom, his mom and a big cake.",
    "Tell me a story about a rainy day at the park.",
    "Hello! How are you today?",
    "What do you like to do on a rainy day?",
    "Do you have any pets?",
    "What is your favorite food?",
    "I just moved to a new city.",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pack")
    parser.add_argument("--plans", nargs="+", default=["full", "best-half", "healed"])
    parser.add_argument("--halfdepth", default="halfdepth", help="the command")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    print("| asked | " + " | ".join(args.plans) + " |")
    print("|---" * (len(args.plans) + 1) + "|")
    for prompt in PROMPTS:
        answers = [answer(args, prompt, plan) for plan in args.plans]
        print("| " + " | ".join(map(cell, [prompt, *answers])) + " |")


def answer(args, prompt, plan):
    command = [args.halfdepth, "generate", args.pack, "--plan", plan, "--chat", "--prompt", prompt, "--greedy"]
    command += ["--max-tokens", "60", "--device", args.device, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)["text"]


def cell(text):
    """On one line, and no markup."""
    text = " ".join(text.split())
    for mark in "\\|*_`<>[]":
        text = text.replace(mark, "\\" + mark)
    return text


if __name__ == "__main__":
    main()
