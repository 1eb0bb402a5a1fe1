#!/usr/bin/env python3
"""A classifier of the trainer against the same architecture in PyTorch, on the same tokens and the same split.

Run from the repository's folder, with PyTorch installed:

    python3 tests/bench/classifier_vs_pytorch.py ag_news_classes.tsv models/news/config.toml

Both train by the settings in config.toml: cell, units, embedding, dropout, batch, steps, learning rate, decay. PyTorch does it as
its users do: nn.Embedding, a packed nn.GRU or nn.LSTM, dropout on the embedding and the last state, nn.Linear, AdamW with a
warm-up and a cosine, clipping. The result is each one's mean accuracy over some seeds on what is held back. Exit code 1
where the trainer's is more than --most points below.
"""

import argparse
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

ROOT = Path(__file__).resolve().parents[2]
MODULES = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM, "rnn": torch.nn.RNN}


class Classifier(torch.nn.Module):
    """Tokens, their embedding, a recurrent layer, its last state, a dense layer."""

    def __init__(self, data):
        super().__init__()
        model = data["config"]["model"]
        self.embedding = torch.nn.Embedding(data["source_tokens"], model["embedding_dim"])
        # As the trainer's: PyTorch's own, a normal distribution of variance 1, learns far slower in so few steps.
        bound = model["hidden_size"] ** -0.5
        torch.nn.init.uniform_(self.embedding.weight, -bound, bound)
        module = MODULES[model["cell"]]
        self.recurrence = module(model["embedding_dim"], model["hidden_size"], model["layers"], batch_first=True)
        self.dropout = torch.nn.Dropout(model["dropout"])
        self.head = torch.nn.Linear(model["hidden_size"], data["target_tokens"])

    def forward(self, tokens, lengths):
        x = self.dropout(self.embedding(tokens))
        _, state = self.recurrence(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        last = state[0] if isinstance(state, tuple) else state
        return self.head(self.dropout(last[-1]))


def batch_of(examples):
    tokens = [torch.tensor(source) for source, _ in examples]
    lengths = torch.tensor([len(source) for source, _ in examples])
    return pad_sequence(tokens, batch_first=True), lengths, torch.tensor([target[0] for _, target in examples])


def epochs(examples, size, order):
    """Batches without end: each epoch sees every example once."""
    while True:
        order.shuffle(examples)
        for start in range(0, len(examples), size):
            yield examples[start : start + size]


def pytorch(data, seed):
    """Accuracy after a training."""
    torch.manual_seed(seed)
    train = data["config"]["optimizer"]
    model, steps, warmup = Classifier(data), train["steps"], train["warmup_steps"]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=train["learning_rate"], betas=(0.9, 0.99), weight_decay=train["weight_decay"]
    )

    def rate(step):
        if step < warmup:
            return (step + 1) / warmup
        cosine = (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))) / 2
        return train["min_lr_ratio"] + (1 - train["min_lr_ratio"]) * cosine

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    batches = epochs(list(data["train"]), train["batch_size"], random.Random(seed))
    for _ in range(steps):
        tokens, lengths, targets = batch_of(next(batches))
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(tokens, lengths), targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), train["grad_clip"])
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        tokens, lengths, targets = batch_of(data["dev"])
        return (model(tokens, lengths).argmax(1) == targets).double().mean().item()


def ours(command, lines, settings, seed):
    """Accuracy after a training."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--config", settings, "--out", f"{folder}/out", "--seed", str(seed), "--json"]
        output = subprocess.run([*command, "train", lines, *options], check=True, capture_output=True, text=True)
    return json.loads(output.stdout.splitlines()[-1])["dev"]["accuracy"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lines")
    parser.add_argument("settings")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--most", type=float, default=1.0, help="points of accuracy that the trainer may be below")
    args = parser.parse_args()

    cargo = ["cargo", "run", "--quiet", "--release", "--package", "pipsqueak-trainer", "--manifest-path", str(ROOT / "Cargo.toml")]
    exported = subprocess.run(
        [*cargo, "--example", "lines", "--", args.lines, args.settings], check=True, capture_output=True, text=True
    )
    data = json.loads(exported.stdout)
    torch.set_num_threads(2)
    print(f"{len(data['train'])} examples, {len(data['dev'])} held back, {data['source_tokens']} tokens")
    results = {"trainer": [], f"PyTorch {torch.__version__}": []}
    for seed in range(1, args.seeds + 1):
        accuracies = ours([*cargo, "--bin", "trainer", "--"], args.lines, args.settings, seed), pytorch(data, seed)
        for (name, all_of_it), accuracy in zip(results.items(), accuracies):
            all_of_it.append(accuracy)
            print(f"seed {seed}: {name} {100 * accuracy:.2f} %", flush=True)
    means = [100 * statistics.mean(accuracies) for accuracies in results.values()]
    for name, mean in zip(results, means):
        print(f"{name}: mean accuracy {mean:.2f} % of {args.seeds} seeds")
    sys.exit(means[0] < means[1] - args.most)


main()
