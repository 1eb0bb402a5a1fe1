#!/usr/bin/env python3
"""Makes the small models of this folder: one of each shape and cell, with what the framework itself computes.

    generate.py [FOLDER]

Each case is a folder with model.onnx, io.npz (arrays `in::NAME` and `out::NAME`) and meta.json (`prototype`: `imports`, or
`refused` for what no network here can be). They carry PyTorch's outputs. Needs torch, onnx and numpy.
"""

import json
import pathlib
import sys
import warnings

import numpy
import onnx
import torch
from torch import nn

warnings.filterwarnings("ignore")
V, E, H, C, T = 7, 4, 5, 3, 6
ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
ROOT = ROOT if ROOT.is_dir() else ROOT.parent


def save(name, model, inputs, outputs, verdict):
    folder = ROOT / name
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    arrays = {f"in::{key}": value for key, value in inputs.items()}
    arrays |= {f"out::{key}": value for key, value in outputs.items()}
    numpy.savez(folder / "io.npz", **arrays)
    meta = {"framework": f"torch {torch.__version__}", "prototype": verdict}
    (folder / "meta.json").write_text(json.dumps(meta) + "\n")


def export(name, module, inputs, outputs, dynamic=None, verdict="imports", opset=17):
    """A PyTorch module with named inputs and outputs. `dynamic` names the open dimensions of inputs."""
    module.eval()
    values = tuple(inputs.values())
    with torch.no_grad():
        results = module(*values)
    results = results if isinstance(results, tuple) else (results,)
    path = ROOT / "model.tmp"
    torch.onnx.export(module, values, path, input_names=list(inputs), output_names=outputs, opset_version=opset,
                      dynamic_axes=dynamic or {}, dynamo=False)
    model = onnx.load(path)
    path.unlink()
    arrays = {key: value.numpy() for key, value in inputs.items()}
    save(name, model, arrays, {key: value.numpy() for key, value in zip(outputs, results)}, verdict)


CELLS = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}


class Model(nn.Module):
    """Tokens or vectors, one recurrent stack, a head at every step, at the last, or of the mean."""

    def __init__(self, cell, source="embed", layers=1, reads="every", states=False, head=None, width=None, **more):
        super().__init__()
        self.source, self.reads, self.states = source, reads, states
        width = width or {"embed": E, "onehot": V, "float": C}[source]
        if source == "embed":
            self.embedding = nn.Embedding(V, width)
        self.recurrent = CELLS[cell](width, H, layers, batch_first=True, **more)
        self.head = head or nn.Linear(H, V)

    def forward(self, x, *states):
        if self.source == "embed":
            x = self.embedding(x)
        elif self.source == "onehot":
            x = nn.functional.one_hot(x, V).float()
        given = None
        if states:
            given = states[0] if len(states) == 1 else states
        y, last = self.recurrent(x, given)
        read = {"every": lambda: y, "last": lambda: y[:, -1], "mean": lambda: y.mean(1)}[self.reads]()
        logits = self.head(read)
        if not self.states:
            return logits
        return (logits, *last) if isinstance(last, tuple) else (logits, last)


class FloatTokens(Model):
    """Tokens that come in as floats, as Keras has them where nothing else is said."""

    def forward(self, x):
        return super().forward(x.long())


class Steps(nn.Module):
    """A cell, step by step over a fixed length, or a single step."""

    def __init__(self, cell, steps):
        super().__init__()
        self.embedding = nn.Embedding(V, E)
        self.cell = {"gru": nn.GRUCell, "lstm": nn.LSTMCell, "rnn": nn.RNNCell}[cell](E, H)
        self.head = nn.Linear(H, V)
        self.kind, self.steps = cell, steps

    def forward(self, x, h, c=None):
        x = self.embedding(x)
        logits = []
        for t in range(self.steps):
            if self.kind == "lstm":
                h, c = self.cell(x[:, t] if self.steps > 1 else x, (h, c))
            else:
                h = self.cell(x[:, t] if self.steps > 1 else x, h)
            logits.append(self.head(h))
        logits = torch.stack(logits, 1) if self.steps > 1 else logits[0]
        return (logits, h, c) if self.kind == "lstm" else (logits, h)


class FromZero(nn.Module):
    """A cell written out over a fixed length, from a state of zeros."""

    def __init__(self, cell):
        super().__init__()
        self.inner = Steps(cell, T)

    def forward(self, x):
        zero = torch.zeros(1, H)
        return self.inner(x, zero, zero)[0] if self.inner.kind == "lstm" else self.inner(x, zero)[0]


class FromFeatures(nn.Module):
    """A feature vector makes the initial state."""

    def __init__(self, cell):
        super().__init__()
        self.first, self.inner, self.cell = nn.Linear(C, H), Model(cell), cell

    def forward(self, features, x):
        h = torch.tanh(self.first(features)).unsqueeze(0)
        return self.inner(x, h, torch.zeros_like(h)) if self.cell == "lstm" else self.inner(x, h)


class Repeated(nn.Module):
    """A feature vector, the same at every step."""

    def __init__(self, cell):
        super().__init__()
        self.first, self.inner = nn.Linear(C, E), Model(cell, "float", width=E)

    def forward(self, features):
        x = torch.relu(self.first(features)).unsqueeze(1).repeat(1, T, 1)
        return self.inner(x)


class Translator(nn.Module):
    """An encoder hands its last states to a decoder, through a dense layer or as they are."""

    def __init__(self, cell, bridge=False):
        super().__init__()
        self.encoder, self.decoder = Model(cell, states=True), Model(cell, states=True)
        self.bridge = nn.Linear(H, H) if bridge else None

    def forward(self, source, target):
        states = self.encoder(source)[1:]
        if self.bridge is not None:
            states = [torch.tanh(self.bridge(state)) for state in states]
        return self.decoder(target, *states)[0]


class Mixed(nn.Module):
    """A GRU above an LSTM above an RNN with relu."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(V, 4, batch_first=True, nonlinearity="relu")
        self.lstm, self.gru = nn.LSTM(4, 6, batch_first=True), nn.GRU(6, H, batch_first=True)
        self.head = nn.Sequential(nn.Linear(H, 8), nn.ReLU(), nn.Linear(8, V), nn.LogSoftmax(-1))

    def forward(self, x):
        x = nn.functional.one_hot(x, V).float()
        return self.head(self.gru(self.lstm(self.rnn(x)[0])[0])[0])


def pytorch():
    torch.manual_seed(1)
    tokens = torch.randint(0, V, (1, T))
    vectors = torch.randn(1, T, C)
    features = torch.randn(1, C)
    state = lambda layers=1: torch.randn(layers, 1, H)
    time = {"x": {1: "T"}}
    for cell in CELLS:
        states = {"h0": state(2)} | ({"c0": state(2)} if cell == "lstm" else {})
        names = ["logits", "hn"] + (["cn"] if cell == "lstm" else [])
        export(f"{cell}_embed_2_layers_states", Model(cell, layers=2, states=True), {"x": tokens} | states, names, time)
        export(f"{cell}_onehot", Model(cell, "onehot"), {"x": tokens}, ["logits"], time, opset=13)
        export(f"{cell}_vectors_last", Model(cell, "float", reads="last"), {"x": vectors}, ["logits"], time, opset=20)
        one = {"x": tokens[:, 0], "h": state()[0]} | ({"c": state()[0]} if cell == "lstm" else {})
        export(f"{cell}_cell_step", Steps(cell, 1), one, names)
        one["x"] = tokens
        export(f"{cell}_unrolled", Steps(cell, T), one, names)
        export(f"{cell}_unrolled_from_zero", FromZero(cell), {"x": tokens}, ["logits"])
        export(f"{cell}_from_features", FromFeatures(cell) if cell != "rnn" else Model(cell), *(
            ({"features": features, "x": tokens}, ["logits"], time) if cell != "rnn" else ({"x": tokens}, ["logits"], time)))
    export("gru_float_tokens", FloatTokens("gru"), {"x": tokens.float()}, ["logits"], time)
    export("gru_mean", Model("gru", reads="mean", head=nn.Linear(H, 3)), {"x": tokens}, ["logits"], time)
    export("lstm_repeated_features", Repeated("lstm"), {"features": features}, ["y"])
    lengths = {"source": {1: "S"}, "target": {1: "T"}}
    both = {"source": tokens, "target": tokens[:, :4]}
    export("gru_translator", Translator("gru"), both, ["logits"], lengths)
    export("lstm_translator_bridge", Translator("lstm", True), both, ["logits"], lengths)
    export("mixed_stack", Mixed(), {"x": tokens}, ["log_probabilities"], time)
    dense = nn.Sequential(nn.Linear(C, 8), nn.Tanh(), nn.Linear(8, 2), nn.Softmax(-1))
    export("dense_only", dense, {"features": features}, ["y"])
    unbatched = Model("gru", "float", head=nn.Linear(H, 2))
    export("gru_vectors_unbatched", unbatched, {"x": vectors[0]}, ["y"], {"x": {0: "T"}, "y": {0: "T"}})
    batch = {"x": {0: "N", 1: "T"}, "logits": {0: "N", 1: "T"}}
    export("gru_batch", Model("gru"), {"x": torch.randint(0, V, (3, T))}, ["logits"], batch)
    export("refused_bidirectional", Model("gru", head=nn.Linear(2 * H, V), bidirectional=True), {"x": tokens}, ["logits"], time,
           "refused")
    normalized = nn.Sequential(nn.LayerNorm(H), nn.Linear(H, V))
    export("refused_layer_norm", Model("lstm", head=normalized), {"x": tokens}, ["logits"], time, "refused")
    largest = Model("gru", head=nn.Linear(H, V))
    largest.forward = lambda x: largest.head(largest.recurrent(largest.embedding(x))[0].max(1).values)
    export("refused_maximum", largest, {"x": tokens}, ["logits"], time, "refused")


if __name__ == "__main__":
    pytorch()
