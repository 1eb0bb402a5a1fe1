#!/usr/bin/env python3
"""Checks ONNX files of the trainer against onnxruntime, which knows nothing of our code.

    onnxruntime_check.py [--trainer target/release/trainer] [--text FILE] MODEL.onnx...

Each file passes onnx.checker (with shape inference), and onnxruntime computes the loss on a text that the trainer
itself computes, to 1e-5 nats per character. It runs the text in one call and again in pieces of many lengths, with
the states carried from one to the next. Needs the packages onnx, onnxruntime and numpy.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime

TOLERANCE = 1e-5


def check(path, text, trainer):
    """Returns the number of characters and the two losses, in nats per character."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    vocabulary = json.loads(properties["pipsqueak.vocabulary"])
    provenance = json.loads(properties["pipsqueak.provenance"])
    require(set(provenance) == {"corpus", "split", "steps", "seed", "train_loss", "validation_loss"}, "provenance")

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    require(session.get_inputs()[0].name == "tokens", "the first input is named tokens")
    require(session.get_outputs()[0].name == "logits", "the first output is named logits")

    ids = {token: id for id, token in enumerate(vocabulary)}
    if text is None:
        random = numpy.random.default_rng(1)
        text = "".join(vocabulary[id] for id in random.integers(0, len(vocabulary), 2000))
    known = [ids[character] for character in text if character in ids]
    require(len(known) > 1, "the text has two characters of the vocabulary")
    tokens = numpy.array([known], dtype=numpy.int64)

    whole = run(session, tokens, [tokens.shape[1]])
    lengths = [1, 2, 3, 1, 7, 4, 64]
    pieces = run(session, tokens, lengths * (tokens.shape[1] // sum(lengths) + 1))
    difference = float(numpy.abs(whole - pieces).max())
    require(difference <= 1e-4 * max(1.0, float(numpy.abs(whole).max())), f"pieces differ by {difference}")

    theirs = nats(whole[:-1].astype(numpy.float64), tokens[0, 1:])
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "text.txt"
        file.write_text(text, encoding="utf-8", newline="")
        command = [trainer, "eval", path, "--data", str(file), "--skip-unknown", "--json"]
        result = subprocess.run(command, capture_output=True, text=True)
        require(result.returncode == 0, f"{' '.join(command)}: {result.stderr}")
    evaluation = json.loads(result.stdout)
    require(evaluation["characters"] == len(known) - 1, f"characters {evaluation['characters']}")
    ours = evaluation["nats_per_char"]
    require(abs(ours - theirs) <= TOLERANCE, f"trainer {ours:.7f}, onnxruntime {theirs:.7f} nats per character")
    return len(known) - 1, ours, theirs


def run(session, tokens, lengths):
    """Logits [T, V] of the tokens [1, T], in pieces of these lengths."""
    states = {i.name: numpy.zeros(i.shape, numpy.float32) for i in session.get_inputs()[1:]}
    logits, start = [], 0
    for length in lengths:
        piece = tokens[:, start : start + length]
        if piece.shape[1] == 0:
            break
        out, *last = session.run(None, {"tokens": piece, **states})
        states = dict(zip(states, last))
        logits.append(out[0])
        start += length
    return numpy.concatenate(logits)


def nats(logits, targets):
    """Mean of -ln softmax(logits)[target]."""
    logits = logits - logits.max(axis=1, keepdims=True)
    sums = numpy.log(numpy.exp(logits).sum(axis=1))
    return float((sums - logits[numpy.arange(len(targets)), targets]).mean())


class Failure(Exception):
    pass


def require(condition, what):
    if not condition:
        raise Failure(what)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainer", default="target/release/trainer")
    parser.add_argument("--text", type=pathlib.Path, help="UTF-8; without it a random text of each model's tokens")
    parser.add_argument("models", nargs="+")
    arguments = parser.parse_args()
    text = arguments.text and arguments.text.read_text(encoding="utf-8")
    failed = 0
    for path in arguments.models:
        try:
            characters, ours, theirs = check(path, text, arguments.trainer)
            print(f"ok    {path}: {characters} characters, trainer {ours:.7f}, onnxruntime {theirs:.7f}")
        except Exception as error:  # Whatever is wrong with one file, the others are checked too.
            failed += 1
            print(f"FAIL  {path}: {type(error).__name__}: {error}")
    print(f"{len(arguments.models) - failed} of {len(arguments.models)} files agree")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
