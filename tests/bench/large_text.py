#!/usr/bin/env python3
"""What a large text costs in training: memory, time before the first step, and tokens a second on 1 MB and on 100 MB.

Run from the repository's folder; it builds the trainer and needs nothing else:

    python3 tests/bench/large_text.py

The texts are lines drawn from the .txt files of $PIPSQUEAK_DATA/data, or of the repository where that is not set. The model
is the same on both, so what 100 MB take beyond 1 MB is what the text costs. Times are those of the processor, so that whatever
else the machine does has no part in them. Exit code 1 where 100 MB cost more than --most MB.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"1 MB": 1_000_000, "100 MB": 100_000_000}
# The options of each row. "wide" begins with a line of 400 other characters, so that tokens do not fit into bytes; "pipe" reads
# standard input; the lines of "crlf" end in CR LF.
ROWS = {
    "char": ["--tokenizer", "char"],
    "wide": ["--tokenizer", "char"],
    "byte": ["--tokenizer", "byte"],
    "word": ["--tokenizer", "word"],
    "subword": ["--tokenizer", "subword", "--vocab-size", "1000"],
    "pipe": ["--tokenizer", "char"],
    "crlf": ["--tokenizer", "char"],
}
WIDE = "".join(map(chr, range(0x4E00, 0x4E00 + 400))) + "\n"


def sources():
    data = os.environ.get("PIPSQUEAK_DATA")
    files = Path(data, "data").glob("*.txt") if data else ROOT.glob("*/src/**/*.rs")
    lines = [line for file in sorted(files) for line in file.read_bytes().splitlines(keepends=True)]
    return lines or sys.exit("found no text to draw lines from")


def write_text(path, size, first, lines):
    draw = random.Random(1)
    left = size - path.write_bytes(first)
    with path.open("ab") as file:
        while left > 0:
            piece = b"".join(draw.choices(lines, k=1000))
            # Half a character at the end would not be UTF-8.
            piece = piece[:left].decode(errors="ignore").encode() or b" " * left
            left -= file.write(piece)


def run(trainer, text, options, steps, folder, pipe=None):
    """Seconds of the processor, and the most memory in MB, on the file `text` or on what is piped."""
    command = [trainer, "train", text or "-", "--out", folder / "out", "--overwrite", "--quiet", "--steps", steps]
    with open(pipe or os.devnull, "rb") as file:
        # Through a pipe: a file as standard input could be read twice.
        cat = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
        process = subprocess.Popen(
            [*map(str, command), *options], stdin=cat.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        cat.stdout.close()
        _, status, usage = os.wait4(process.pid, 0)
        cat.wait()
    if status:
        sys.exit(f"{' '.join(map(str, command))} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=["char", "wide", "word"])
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--most", type=float, default=150, help="the most MB that 100 MB may take beyond 1 MB")
    parser.add_argument("--binary", type=Path, help="a built trainer, instead of building it")
    args = parser.parse_args()
    trainer = args.binary
    if trainer is None:
        subprocess.run(["cargo", "build", "--release", "--package", "pipsqueak-trainer"], cwd=ROOT, check=True)
        trainer = ROOT / "target" / "release" / "trainer"
    # Nothing is held back: measuring on that takes its own time. Batches are the same at every level.
    batch, sequence = 32, 64
    same = ["--hidden-size", args.hidden, "--batch-size", batch, "--seq-len", sequence, "--split", "100/0/0"]
    lines = sources()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        print(f"{'level':8} {'text':>7} {'memory, MB':>11} {'to the first step, s':>21} {'tokens/s':>9}")
        for row in args.rows:
            memory = {}
            for name, size in SIZES.items():
                text = folder / "text.txt"
                ends = [line.replace(b"\n", b"\r\n") for line in lines] if row == "crlf" else lines
                write_text(text, size, WIDE.encode() if row == "wide" else b"", ends)
                options = [*ROWS[row], *map(str, same)]
                source = {"text": None, "pipe": text} if row == "pipe" else {"text": text}
                first, _ = run(trainer, options=options, steps=1, folder=folder, **source)
                whole, memory[name] = run(trainer, options=options, steps=args.steps, folder=folder, **source)
                speed = (args.steps - 1) * batch * sequence / max(whole - first, 1e-9)
                print(f"{row:8} {name:>7} {memory[name]:11.1f} {first:21.2f} {speed:9.0f}", flush=True)
            cost = memory["100 MB"] - memory["1 MB"]
            good = cost <= args.most
            failed |= not good
            print(f"{row:8} {'costs':>7} {cost:11.1f} of at most {args.most:.0f}: {'good' if good else 'TOO MUCH'}", flush=True)
    sys.exit(failed)


main()
