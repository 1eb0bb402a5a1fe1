#!/usr/bin/env python3
"""Trains the network of a config.toml in PyTorch, on many processes, machines or GPUs, for `trainer export` to take.

    torchrun --standalone --nproc-per-node 2 trainer/distributed/train.py CORPUS --config config.toml --out FOLDER

The network, the optimizer and the batches are those of `trainer train` (trainer/src/train): a language model of GRU layers
by characters. Each process has its own rows of the batch; DistributedDataParallel adds the gradients, by nccl where there
is CUDA, else by gloo. The first process writes into FOLDER:

    model.onnx       the network, as PyTorch exports it, for `trainer export model.onnx --vocab vocabulary.json`
    vocabulary.json  the characters, by id
    result.json      the losses, nats per character, and what computed them
    checkpoint.pt    a place to go on from; the same command does, on any number of processes

Random numbers are functions of the seed and a place, as in the trainer, but other ones. trainer/DISTRIBUTED.md tells more.
Needs PyTorch and onnx.
"""

import argparse
import copy
import hashlib
import json
import math
import os
import random
import sys
import time
import tomllib
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn import functional

# Steps between two looks at the clock, which all processes must take together.
CLOCK_STEPS = 20
# Characters of the validation text that are read at once.
VALIDATION_PIECE = 4096


class Refused(Exception):
    """What was given cannot be trained on."""


class Network(torch.nn.Module):
    """Tokens [B, T] and states [L, B, H] to logits [B, T, V] and the last states [L, B, H]."""

    def __init__(self, settings, tokens):
        super().__init__()
        hidden, columns = settings["hidden_size"], settings["embedding_dim"]
        self.tokens, self.dropout = tokens, settings["dropout"]
        self.embedding = torch.nn.Embedding(tokens, columns) if columns else None
        inputs = [columns or tokens] + [hidden] * (settings["layers"] - 1)
        self.layers = torch.nn.ModuleList(torch.nn.GRU(width, hidden, batch_first=True) for width in inputs)
        self.head = torch.nn.Linear(hidden, tokens)
        for parameter in self.parameters():
            torch.nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5)
        # The trainer has no recurrent biases of r and z, which would only add to the others: here they stay 0.
        for layer in self.layers:
            learned = torch.ones(3 * hidden)
            learned[: 2 * hidden] = 0
            layer.bias_hh_l0.data *= learned
            layer.bias_hh_l0.register_hook(lambda gradient, learned=learned: gradient * learned.to(gradient))

    def forward(self, tokens, states):
        if self.embedding is None:
            series = functional.one_hot(tokens, self.tokens).float()
        else:
            series = self.embedding(tokens)
        last = []
        for index, layer in enumerate(self.layers):
            series, state = layer(series, states[index : index + 1])
            series = functional.dropout(series, self.dropout, self.training)
            last.append(state)
        return self.head(series), torch.cat(last)


class Batches:
    """Which characters each step sees: trainer/src/train/batches.rs."""

    def __init__(self, text, settings):
        self.text, self.seed = text, settings["seed"]
        # The last character has none to predict.
        self.ring = len(text) - 1
        self.rows = min(settings["batch_size"], max(self.ring // settings["seq_len"], 1))
        self.sequence = min(settings["seq_len"], self.ring // self.rows)
        self.epoch = self.ring // self.rows // self.sequence

    def begins(self, step):
        return step % self.epoch == 0

    def fill(self, step, rows):
        """Inputs and targets [rows, sequence] of a step for a slice of the rows."""
        epoch, step = divmod(step, self.epoch)
        start = random.Random(f"{self.seed} offset {epoch}").randrange(self.ring)
        rows = torch.arange(rows.start, rows.stop, device=self.text.device) * (self.ring // self.rows)
        steps = torch.arange(self.sequence, device=self.text.device) + step * self.sequence
        at = (start + rows[:, None] + steps) % self.ring
        return self.text[at], self.text[at + 1]


class Training:
    """All that a training carries from one step to the next, on this process."""

    def __init__(self, settings, text, tokens, device):
        self.settings, self.batches, self.step = settings, Batches(text, settings), 0
        rank, world = dist.get_rank(), dist.get_world_size()
        if world > self.batches.rows:
            raise Refused(f"found {world} processes, expected at most {self.batches.rows}, the rows of the batch")
        self.rows = slice(rank * self.batches.rows // world, (rank + 1) * self.batches.rows // world)
        torch.manual_seed(settings["seed"])
        self.network = Network(settings, tokens).to(device)
        # The moving average of the weights, which is what the model gets.
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        parameters = list(self.network.parameters())
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": settings["weight_decay"]},
            {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=settings["learning_rate"], betas=(0.9, 0.99))
        self.states = torch.zeros(settings["layers"], self.rows.stop - self.rows.start, settings["hidden_size"], device=device)
        ids = [device.index] if device.type == "cuda" else None
        self.parallel = torch.nn.parallel.DistributedDataParallel(self.network, device_ids=ids)

    def rate(self):
        """The learning rate: trainer/src/optimizer.rs."""
        settings, steps = self.settings, self.settings["steps"]
        warmup = min(settings["warmup_steps"], steps // 2)
        if self.step < warmup:
            return settings["learning_rate"] * (self.step + 1) / warmup
        done = (self.step - warmup) / max(steps - warmup, 1)
        cosine = (1 + math.cos(math.pi * min(done, 1.0))) / 2
        return settings["learning_rate"] * (settings["min_lr_ratio"] + (1 - settings["min_lr_ratio"]) * cosine)

    def advance(self):
        """One step; gives the sum of the losses of this process's predictions."""
        # Dropout's numbers depend on the place alone, so that a resumed training draws the same.
        place = f"{self.settings['seed']} dropout {self.step} {self.rows.start}"
        torch.manual_seed(random.Random(place).getrandbits(63))
        if self.batches.begins(self.step):
            self.states.zero_()
        inputs, targets = self.batches.fill(self.step, self.rows)
        logits, states = self.parallel(inputs, self.states)
        self.states = states.detach()
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
        # The processes' gradients are averaged: with this, to the mean over the whole batch, however its rows are shared.
        predictions = self.batches.rows * self.batches.sequence
        self.optimizer.zero_grad(set_to_none=True)
        (loss * (dist.get_world_size() / predictions)).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings["grad_clip"])
        if not norm.isfinite():
            raise Refused(f"the training diverged at step {self.step}: the gradient's norm is {norm}; lower learning_rate")
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.step()
        self.step += 1
        # Early on the average forgets faster, so that the first weights do not linger.
        keep = min(self.settings["ema_decay"], (1 + self.step) / (10 + self.step)) if self.settings["ema_decay"] else 0.0
        with torch.no_grad():
            for average, weight in zip(self.average.parameters(), self.network.parameters()):
                average.lerp_(weight, 1 - keep)
        return loss.detach()

    def progress(self):
        """All that a resumed training needs, with the states of all rows, on every process."""
        states = [None] * dist.get_world_size()
        dist.all_gather_object(states, self.states.cpu())
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "states": torch.cat(states, dim=1),
        }

    def resume(self, progress):
        self.step = progress["step"]
        self.network.load_state_dict(progress["network"])
        self.average.load_state_dict(progress["average"])
        self.optimizer.load_state_dict(progress["optimizer"])
        self.states = progress["states"][:, self.rows].to(self.states)


def read_settings(path):
    """The settings of a config.toml, of which this script knows a part."""
    with open(path, "rb") as file:
        sections = tomllib.load(file)
    settings = {name: value for section in sections.values() if isinstance(section, dict) for name, value in section.items()}
    missing = {"hidden_size", "embedding_dim", "layers", "dropout", "seed", "steps", "batch_size", "seq_len", "learning_rate"}
    missing |= {"min_lr_ratio", "warmup_steps", "weight_decay", "grad_clip", "ema_decay", "split", "cell"}
    missing -= set(settings)
    if missing:
        raise Refused(f"{path} has no {', '.join(sorted(missing))}: give the config.toml of a language model")
    known = {"task": "language-model", "cell": "gru", "tokenizer": "char", "line_documents": False, "tie_embeddings": False}
    for name, expected in known.items():
        if settings.get(name, expected) != expected:
            raise Refused(f"{path}: {name} is {settings[name]!r}, expected {expected!r}; train others with `trainer train`")
    return settings


def read_corpus(path, split):
    """The text's SHA-256, the training part's different characters by code point, and the ids for training and for dev.

    As the trainer does, CR LF and CR are read as LF, and characters that only the dev part has are left out."""
    text = Path(path).read_bytes().decode("utf-8").removeprefix("\ufeff")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    train, dev, _ = (float(percent) for percent in split.split("/"))
    # As the trainer rounds.
    first, second = (int(len(text) * percent / 100 + 1e-6) for percent in (train, train + dev))
    vocabulary = sorted(set(text[:first]))
    ids = {character: id for id, character in enumerate(vocabulary)}
    parts = (text[:first], text[first:second])
    train, held_out = (torch.tensor([ids[c] for c in part if c in ids]) for part in parts)
    if first < 2:
        raise Refused(f"{path} has {len(text)} characters, {first} of them for training: expected at least 2")
    return hashlib.sha256(text.encode()).hexdigest(), vocabulary, train, held_out


@torch.no_grad()
def evaluate(network, tokens, device):
    """Nats per character of a text, read as one stream from a state of zeros. None without anything to predict."""
    if len(tokens) < 2:
        return None
    network.eval()
    states = torch.zeros(len(network.layers), 1, network.layers[0].hidden_size, device=device)
    loss = 0.0
    for inputs, targets in zip(tokens[:-1].split(VALIDATION_PIECE), tokens[1:].split(VALIDATION_PIECE)):
        logits, states = network(inputs[None].to(device), states)
        loss += functional.cross_entropy(logits[0], targets.to(device), reduction="sum").item()
    return loss / (len(tokens) - 1)


def write_atomically(path, write):
    """Writes a file beside `path`, then gives it that name."""
    beside = path.with_name(path.name + ".partial")
    write(beside)
    with open(beside, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(beside, path)


def export(network, path):
    """One sequence of any length, with the states as an input and an output."""
    network = copy.deepcopy(network).cpu().eval()
    states = torch.zeros(len(network.layers), 1, network.layers[0].hidden_size)
    names = {"input_names": ["tokens", "states"], "output_names": ["logits", "last_states"]}
    with warnings.catch_warnings():
        # This exporter is an old one; the new one needs one package more for the same graph.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, 8, dtype=torch.long), states),
            path,
            dynamo=False,
            opset_version=17,
            dynamic_axes={"tokens": {1: "T"}, "logits": {1: "T"}},
            **names,
        )


def broadcast(value):
    """The first process's value, on all."""
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def find_checkpoint(path, overwrite, identity):
    """The checkpoint of the same training, if the first process has one, on all."""
    checkpoint = refusal = None
    if dist.get_rank() == 0 and not overwrite and path.exists():
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        if checkpoint["identity"] != identity:
            refusal = f"{path} belongs to another text or other settings: give those, or start anew with --overwrite"
    # All end together: one that waits for another would cover the reason with its own trace.
    if (refusal := broadcast(refusal)) is not None:
        raise Refused(refusal)
    return broadcast(checkpoint)


def train(arguments, device):
    settings = read_settings(arguments.config)
    sha256, vocabulary, text, validation = read_corpus(arguments.corpus, settings["split"])
    identity = {"settings": settings, "sha256": sha256}
    first, world = dist.get_rank() == 0, dist.get_world_size()
    identities = [None] * world
    dist.all_gather_object(identities, identity)
    other = next((rank for rank, found in enumerate(identities) if found != identities[0]), None)
    if other is not None:
        raise Refused(f"process {other} has another text or other settings than process 0: copy the same to each machine")

    training = Training(settings, text.to(device), len(vocabulary), device)
    path = arguments.out / "checkpoint.pt"
    checkpoint = find_checkpoint(path, arguments.overwrite, identity)
    if checkpoint is not None:
        training.resume(checkpoint["progress"])
    if first:
        print(
            f"{sum(p.numel() for p in training.network.parameters())} weights, {len(vocabulary)} characters, {len(text)} to train on; steps {training.step} to "
            f"{settings['steps']} on {world} {device.type} processes",
            flush=True,
        )

    if first:
        arguments.out.mkdir(parents=True, exist_ok=True)

    def save():
        progress = training.progress()
        if first:
            write_atomically(path, lambda beside: torch.save({"identity": identity, "progress": progress}, beside))

    begun = saved = time.monotonic()
    end = min(settings["steps"], arguments.stop_after or settings["steps"])
    report = max(settings["steps"] // 10, 1)
    losses, counted, train_loss = torch.zeros((), device=device), 0, None
    while training.step < end:
        losses += training.advance()
        counted += training.batches.rows * training.batches.sequence
        if training.step % report == 0 or training.step == end:
            dist.all_reduce(losses)
            train_loss, counted = losses.item() / counted, 0
            losses.zero_()
            if first:
                print(f"step {training.step}: training loss {train_loss:.4f}, {time.monotonic() - begun:.0f} s", flush=True)
        if training.step % CLOCK_STEPS == 0 and broadcast(time.monotonic() - saved >= 60 * arguments.checkpoint_minutes):
            save()
            saved = time.monotonic()
    seconds = time.monotonic() - begun
    save()
    if first:
        finish(arguments.out, training, vocabulary, validation, device, {"train_loss": train_loss, "seconds": seconds})
    # The others wait: a process that ends early looks like a failure to torchrun.
    dist.barrier()


def finish(out, training, vocabulary, validation, device, result):
    """Writes the model and what came out."""
    result = {
        "steps": training.step,
        "dev_loss": evaluate(training.average, validation, device),
        **result,
        "processes": dist.get_world_size(),
        "backend": dist.get_backend(),
        "torch": torch.__version__,
    }
    write_atomically(out / "model.onnx", lambda beside: export(training.average, beside))
    for name, value in [("vocabulary.json", vocabulary), ("result.json", result)]:
        text = json.dumps(value, ensure_ascii=False) + "\n"
        write_atomically(out / name, lambda beside: beside.write_text(text, encoding="utf-8"))
    loss = result["dev_loss"]
    print(f"dev loss {'-' if loss is None else f'{loss:.4f}'} nats per character", flush=True)
    print(f"wrote {out}/model.onnx; next: trainer export {out}/model.onnx --vocab {out}/vocabulary.json", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="the text to learn, UTF-8; the same file on each machine")
    parser.add_argument("--config", required=True, help="a config.toml of `trainer train`")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results, on the first machine")
    parser.add_argument("--overwrite", action="store_true", help="start anew in a folder that has a training already")
    parser.add_argument("--checkpoint-minutes", type=float, default=5.0, help="minutes between two checkpoints [default: 5]")
    parser.add_argument("--stop-after", type=int, metavar="STEP", help="stop there, with all files written; the same command goes on")
    arguments = parser.parse_args()
    if "RANK" not in os.environ:
        sys.exit("this runs under torchrun, which says who takes part: torchrun --standalone --nproc-per-node 2 " + sys.argv[0])
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        dist.init_process_group("nccl")
    else:
        device = torch.device("cpu")
        dist.init_process_group("gloo")
    try:
        train(arguments, device)
    except (Refused, OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        # Once on each machine.
        sys.exit(f"error: {error}" if os.environ["LOCAL_RANK"] == "0" else 1)
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
