"""Writes the texts that heal the embedded model, halfdepth-stories-12L, in its own form.

usage: stories_corpus.py CORPUS OUT_DIR

CORPUS is the archive `corpus.tar.zst`, which takes the program `zstd` to unpack, or the folder that it unpacks to: TinyStories samples
(CDLA-Sharing-1.0), Synthetic-Persona-Chat (CC BY 4.0), Topical-Chat (CDLA-Sharing-1.0), a small instruct set (Apache-2.0). Its public-domain
books are left out: the model is to tell stories and to talk.

A document begins with <|begin|> and ends in <|end|>; turns are `<|user|>text<|end|><|assistant|>text<|end|>`. A story stands alone, and once
more as the answer to a request that names people or words of it.

OUT_DIR/train.txt                the documents to heal on, shuffled, so that a part of the file is a fair part of it
OUT_DIR/valid.txt                documents to stop by, of every kind
OUT_DIR/dialogues_held_out.txt   about 200 KB of whole dialogues to be judged by
OUT_DIR/SOURCES.md               whose texts they are, under which licences, and what was counted

Every story and every dialogue is in one of the three, told by the hash of its text: the same in every run, and equal texts stay together.
"""

import argparse
import collections
import csv
import glob
import hashlib
import json
import os
import random
import re
import subprocess
import tempfile

BEGIN, END, USER, ASSISTANT = "<|begin|>", "<|end|>", "<|user|>", "<|assistant|>"
# Of a thousand: what is held out. About 200 KB of dialogues, and as much of everything to stop by.
HELD_OUT, VALID = 27, 15
# `halfdepth` encodes a text in one piece, of 16 MiB at most.
LIMIT_BYTES = 16_000_000

SOURCES = """# Where these texts are from

Made by `recipes/stories_corpus.py`, which changed their form: quotes and dashes are plain, turns are marked, requests stand before stories.

| texts | by | licence |
|---|---|---|
| TinyStories samples | Eldan and Li, arXiv 2305.07759 | CDLA-Sharing-1.0 |
| Synthetic-Persona-Chat | Jandaghi et al., arXiv 2312.10007 | CC BY 4.0 |
| Topical-Chat | Gopalakrishnan et al., Amazon | CDLA-Sharing-1.0 |
| instruction data of *Build a Large Language Model (From Scratch)* | Sebastian Raschka | Apache-2.0 |

What is published of the texts stays under these licences. CDLA-Sharing-1.0 "imposes no obligations or restrictions" on results, such as
models (section 3.5).

"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus")
    parser.add_argument("out_dir")
    args = parser.parse_args()
    if os.path.isdir(args.corpus):
        write(args.corpus, args.out_dir)
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["tar", "--zstd", "-xf", args.corpus, "-C", folder], check=True)
        write(folder, args.out_dir)


def write(corpus, out_dir):
    rng = random.Random(0)
    told = stories(corpus)
    request = requests(told, rng)
    files = {"train": [], "valid": [], "dialogues_held_out": []}
    for story in told:
        # The stories to be judged by are another file, which no training saw.
        name = "valid" if part(story) < VALID else "train"
        files[name] += [("stories", story + END), ("stories as answers", chat([request(story), story]))]
    for turns in dialogues(corpus):
        dialogue = chat(turns)
        at = part(dialogue)
        name = "dialogues_held_out" if at < HELD_OUT else "valid" if at < HELD_OUT + VALID else "train"
        files[name].append(("dialogues", dialogue))
    for turns in instructions(corpus):
        name = "valid" if part(chat(turns)) < VALID else "train"
        files[name].append(("instructions", chat(turns)))
    os.makedirs(out_dir, exist_ok=True)
    table = "| file | what | documents |\n|---|---|---|\n"
    for name, documents in files.items():
        rng.shuffle(documents)
        path = os.path.join(out_dir, name + ".txt")
        counts = collections.Counter(write_file(path, documents))
        table += "".join(f"| {name}.txt | {what} | {count} |\n" for what, count in sorted(counts.items()))
        print(f"{path}: {counts.total()} documents, {os.path.getsize(path) / 1e6:.2f} MB")
    with open(os.path.join(out_dir, "SOURCES.md"), "w", encoding="utf8", newline="\n") as file:
        file.write(SOURCES + table)


def write_file(path, documents):
    """Writes documents as far as there is room; gives what each is."""
    size = 0
    with open(path, "wb") as file:
        for what, document in documents:
            document = (BEGIN + document).encode("utf8")
            size += len(document)
            if size > LIMIT_BYTES:
                break
            file.write(document)
            yield what


def part(document):
    """Where of a thousand a document falls."""
    return int.from_bytes(hashlib.sha256(document.encode("utf8")).digest()[:8], "big") % 1000


def read(path):
    with open(path, encoding="utf8", errors="ignore") as file:
        return file.read()


def plain(text):
    """Quotes and dashes that the tokenizer has, one space where there are several; nothing that would pass for a special token."""
    for sign, ascii_sign in zip("’‘“”—–…", ["'", "'", '"', '"', " - ", " - ", "..."]):
        text = text.replace(sign, ascii_sign)
    text = text.replace("_", "").replace("<|", "").replace("|>", "")
    return re.sub(r"[ \t]+", " ", text).strip()


def sentence_case(text):
    text = re.sub(r"(^|[.!?]\s+|\n\s*|\"\s*)([a-z])", lambda found: found.group(1) + found.group(2).upper(), text)
    return re.sub(r"\bi\b", "I", text)


def stories(corpus):
    found = []
    for path in sorted(glob.glob(f"{corpus}/stories/*")):
        text = read(path)
        parts = re.split(r"<\|endoftext\|>|\n\s*\n\s*\n|</s>|<eos>", text)
        if len(parts) < 50:
            parts = re.split(r"\n(?=(?:[Oo]nce upon a time|[Oo]ne day))", text)
        parts = [story for story in map(plain, parts) if 120 < len(story) < 3000]
        # One of the files is all lower case.
        if sum(sign.isupper() for story in parts[:50] for sign in story) < 20:
            parts = [sentence_case(story) for story in parts]
        found += parts
    return list(dict.fromkeys(found))


def requests(told, rng):
    """What makes a request for a story: people or words of it, words that are neither everywhere nor nowhere."""
    common = collections.Counter(word for story in told for word in set(re.findall(r"[a-z]{4,}", story)))

    def request(story):
        words = dict.fromkeys(re.findall(r"\b[a-z]{4,}\b", story))
        words = [word for word in words if 8 < common[word] < len(told) * 0.08]
        names = list(dict.fromkeys(re.findall(r"(?<=[a-z,] )([A-Z][a-z]{2,8})\b", story)))[:2]
        rng.shuffle(words)
        words = words[: rng.choice([1, 2, 2, 3])]
        if names and rng.random() < 0.5:
            thing = f" and a {words[0]}" if words and rng.random() < 0.4 else ""
            return f"Tell me a story about {' and '.join(names)}{thing}."
        if not words:
            return "Tell me a story."
        opening = rng.choice(["Tell me a story with the words", "Write a short story that uses", "Tell me a story about"])
        return f"{opening} {', '.join(words)}."

    return request


def dialogues(corpus):
    for path in sorted(glob.glob(f"{corpus}/dialogue/synthetic-persona-chat/*.csv")):
        with open(path, encoding="utf8") as file:
            for row in csv.DictReader(file):
                talk = next((value for key, value in row.items() if key and "conversation" in key.lower()), "")
                lines = [line.strip() for line in talk.split("\n")]
                yield from whole([re.sub(r"^User ?[12]: ?", "", line) for line in lines if line])
    for path in sorted(glob.glob(f"{corpus}/dialogue/topical-chat/*.json")):
        for talk in json.loads(read(path)).values():
            yield from whole([message["message"] for message in talk["content"]])


def whole(turns):
    """A dialogue that ends with an answer, if it is one."""
    if len(turns) >= 4:
        yield turns[: 2 * (len(turns) // 2)]


def instructions(corpus):
    for path in sorted(glob.glob(f"{corpus}/instruct/*.json")):
        for row in json.loads(read(path)):
            if "output" in row:
                given = "\n" + row["input"] if row.get("input") else ""
                yield [row["instruction"] + given, row["output"]]


def chat(turns):
    marks = [USER, ASSISTANT]
    return "".join(marks[at % 2] + plain(turn) + END for at, turn in enumerate(turns))


if __name__ == "__main__":
    main()
