#!/usr/bin/env python3
"""Training throughput against PyTorch's nn.GRU, nn.LSTM or nn.RNN: 256 units, batch 64, sequence 128, 2 threads, V = 65.

Run from the repository's folder, with PyTorch installed:

    python3 tests/bench/training_vs_pytorch.py

Builds and runs trainer/examples/throughput.rs. The two take turns, so that whatever else the machine does meets both;
the result is the median of the rounds' ratios. A step is forward, backward, clipping and AdamW on both sides, and both have an
embedding of --embedding columns, or none: then PyTorch's recurrent layer reads one-hot characters. Exit code 1 where the ratio is
below --least.
"""

import argparse
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
VOCABULARY = 65
MODULES = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM, "rnn": torch.nn.RNN}


class OneHot(torch.nn.Module):
    """Characters as one-hot vectors."""

    def forward(self, inputs):
        return torch.nn.functional.one_hot(inputs, VOCABULARY).float()


class PyTorch:
    """Recurrent language model, state from zero, the way PyTorch's users write it."""

    def __init__(self, cell, hidden, layers, batch, sequence, threads, embedding):
        torch.set_num_threads(threads)
        torch.manual_seed(1)
        if embedding:
            self.embedding = torch.nn.Embedding(VOCABULARY, embedding)
        else:
            self.embedding = OneHot()
        self.recurrence = MODULES[cell](embedding or VOCABULARY, hidden, num_layers=layers)
        self.head = torch.nn.Linear(hidden, VOCABULARY)
        modules = (self.embedding, self.recurrence, self.head)
        self.parameters = [p for module in modules for p in module.parameters()]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-3, betas=(0.9, 0.99), fused=True)
        self.inputs = torch.randint(0, VOCABULARY, (sequence, batch))
        self.targets = torch.randint(0, VOCABULARY, (sequence, batch))

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        output, _ = self.recurrence(self.embedding(self.inputs))
        logits = self.head(output).view(-1, VOCABULARY)
        torch.nn.functional.cross_entropy(logits, self.targets.view(-1)).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()

    def characters_per_second(self, steps):
        self.step()
        begun = time.perf_counter()
        for _ in range(steps):
            self.step()
        return steps * self.inputs.numel() / (time.perf_counter() - begun)


def cpu():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", choices=MODULES, default="gru")
    for name, default in [("hidden", 256), ("layers", 1), ("batch", 64), ("sequence", 128), ("threads", 2), ("embedding", 64)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--steps", type=int, default=15, help="steps of each in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--least", type=float, default=1.5, help="the least ratio that passes")
    parser.add_argument("--binary", type=Path, help="a built throughput example, instead of building it")
    args = parser.parse_args()

    binary = args.binary
    if binary is None:
        build = ["cargo", "build", "--release", "--package", "pipsqueak-trainer", "--example", "throughput"]
        subprocess.run(build, cwd=ROOT, check=True)
        binary = ROOT / "target" / "release" / "examples" / "throughput"
    sizes = [args.hidden, args.layers, args.batch, args.sequence, args.threads]
    command = [str(binary), args.cell, *map(str, sizes), str(args.steps), str(args.embedding)]
    pytorch = PyTorch(args.cell, *sizes, args.embedding)
    ratios = []
    for number in range(args.rounds):
        line = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        ours = float(re.search(r"mean (\d+)", line).group(1))
        theirs = pytorch.characters_per_second(args.steps)
        ratios.append(ours / theirs)
        print(f"round {number + 1}: trainer {ours:.0f}, PyTorch {torch.__version__} {theirs:.0f} characters/s", flush=True)
    ratio = statistics.median(ratios)
    print(
        f"ratio {ratio:.2f} (median of {args.rounds}; {min(ratios):.2f} to {max(ratios):.2f}) for {args.cell} of {args.hidden} units, "
        f"{args.layers} layer(s), embedding {args.embedding}, batch {args.batch}, sequence {args.sequence}, {args.threads} threads, {cpu()}"
    )
    sys.exit(ratio < args.least)


main()
