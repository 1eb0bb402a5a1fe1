#!/usr/bin/env python3
"""Trains a small network by both roads, `trainer train` and trainer/distributed/train.py, and compares what comes out.

    distributed_check.py [--trainer target/release/trainer] [--text FILE] [--board stm32f405]

Both train at the same settings; PyTorch once on one process, and once on two that stop half way and are started again.
Prints the losses side by side, on the last tenth of the text, and fails where

    the trainer's loss of an imported model is not PyTorch's own, in float to 0.0001 and in integers to 0.01 nats,
    two processes give another loss than one, by more than 0.01 nats,
    the roads differ by more than 0.05 nats,
    an image does not write the text that it is asked for, or the emulated board another one.

Run it by a Python that has torch and onnx. The text is tinyshakespeare where PIPSQUEAK_DATA has it, else our own source.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TRAIN = ROOT / "trainer" / "distributed" / "train.py"
LENGTH = 200
FLOAT, INTEGER, PROCESSES, ROADS = 1e-4, 0.01, 0.01, 0.05


class Failure(Exception):
    pass


def require(condition, what):
    if not condition:
        raise Failure(what)


def run(*command):
    """What a command prints; its errors are printed where it fails."""
    # Threads of OpenMP wait for each other by spinning: on a busy machine two are far slower than one.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [str(word) for word in command]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8")
    require(result.returncode == 0, f"{' '.join(command)}:\n{result.stdout}{result.stderr}")
    return result.stdout


def default_text(out):
    """Tinyshakespeare, or what is at hand: the trainer's own source, ASCII, so that the alphabet is small."""
    data = os.environ.get("PIPSQUEAK_DATA")
    text = Path(data or "") / "data" / "tinyshakespeare.txt"
    if data and text.is_file():
        return text
    sources = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "trainer" / "src").rglob("*.rs"))]
    text = out / "source.txt"
    text.write_bytes("".join(sources).encode("ascii", "ignore"))
    return text


def distributed(processes, text, settings, out, *options):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes]
    return run(*torchrun, TRAIN, text, "--config", settings, "--out", out, *options)


def exported(trainer, folder, text, *options):
    """Exports the model; returns its losses in float and in integers."""
    # Models of PyTorch do not say their split: the dev part is a file of its own.
    characters = text.read_text(encoding="ascii")
    dev = text.with_suffix(".dev.txt")
    dev.write_text(characters[int(len(characters) * 0.9 + 1e-6) :], encoding="ascii")
    command = [trainer, "export", folder / "model.onnx", *options, "--data", dev, "--json"]
    losses = json.loads(run(*command))["losses"]
    return losses["float"]["nats_per_char"], losses["integer"]["nats_per_char"]


def compare(seed, text, arguments):
    """Trains, exports and prints one seed's rows."""
    out, trainer = arguments.out / str(seed), arguments.trainer
    ours, one, two = out / "trainer", out / "one", out / "two"
    sizes = ["--hidden-size", arguments.hidden, "--steps", arguments.steps, "--seed", seed, "--threads", 2]
    run(trainer, "train", text, "--out", ours, *sizes, "--split", "90/10/0", "--patience", "0", "--overwrite", "--quiet")
    settings = ours / "config.toml"
    distributed(1, text, settings, one, "--overwrite")
    half = arguments.steps // 2
    distributed(2, text, settings, two, "--overwrite", "--stop-after", half)
    resumed = distributed(2, text, settings, two)
    require(f"steps {half} to {arguments.steps}" in resumed, f"a training that goes on from step {half}, found {resumed}")

    in_float, in_integers = exported(trainer, ours, text)
    row(seed, "trainer, 2 threads", None, in_float, in_integers)
    theirs = {}
    for folder, name in [(one, "PyTorch, 1 process"), (two, "PyTorch, 2 processes, resumed")]:
        loss = json.loads((folder / "result.json").read_text(encoding="utf-8"))["dev_loss"]
        imported, integer = exported(trainer, folder, text, "--vocab", folder / "vocabulary.json")
        row(seed, name, loss, imported, integer)
        require(abs(imported - loss) <= FLOAT, f"{name}: float loss {imported}, of PyTorch {loss}")
        require(abs(integer - loss) <= INTEGER, f"{name}: integer loss {integer}, of PyTorch {loss}")
        require(abs(loss - in_float) <= ROADS, f"{name}: loss {loss}, of the trainer {in_float}")
        theirs[folder] = loss
    require(abs(theirs[one] - theirs[two]) <= PROCESSES, f"1 process {theirs[one]}, 2 processes {theirs[two]}")

    image = two / "model.pip"
    written = run(trainer, "generate", image, "--prompt", "the ", "--length", LENGTH)
    require(len(written) >= LENGTH, f"{LENGTH} characters of {image}, found {written!r}")
    if arguments.board:
        demo = ["make", "--no-print-directory", "demo", f"BOARD={arguments.board}", f"MODEL={image}", "PROMPT=the "]
        spoken = run(*demo, f"LENGTH={LENGTH}")
        require(spoken == written, f"{arguments.board}: found {spoken!r}, expected {written!r}")
        print(f"{arguments.board} says the same {LENGTH} characters")


def row(*cells):
    seed, name, *losses = cells
    numbers = ["-" if loss is None else loss if isinstance(loss, str) else f"{loss:.4f}" for loss in losses]
    print(f"{seed:>4}  {name:<30}" + "".join(f"{number:>16}" for number in numbers), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainer", type=Path, default=ROOT / "target" / "release" / "trainer")
    parser.add_argument("--text", type=Path, help="UTF-8")
    parser.add_argument("--out", type=Path, default=ROOT / "target" / "distributed", help="folder for all results")
    parser.add_argument("--board", help="an emulated board that must say what the trainer generates")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=1, help="compare with the seeds 1 to this")
    arguments = parser.parse_args()
    arguments.trainer, arguments.out = arguments.trainer.resolve(), arguments.out.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = (arguments.text or default_text(arguments.out)).resolve()
    print(f"{text.name}: {arguments.hidden} units, {arguments.steps} steps; nats per character")
    row("seed", "trained by", "PyTorch float", "trainer float", "integers")
    try:
        for seed in range(1, arguments.seeds + 1):
            compare(seed, text, arguments)
    except Failure as failure:
        sys.exit(f"FAIL  {failure}")


if __name__ == "__main__":
    main()
