#!/usr/bin/env python3
"""Makes the small models of this folder: one of each shape and cell, with what the framework itself computes.

    generate.py [FOLDER]

Each case is a folder with model.onnx, io.npz (arrays `in::NAME` and `out::NAME`) and meta.json (`prototype`: `imports`, or
`refused` for what no network here can be). Models made of a PyTorch module carry PyTorch's outputs; graphs written out by
hand, as TensorFlow's converter writes loops, carry those of onnxruntime. Needs torch, onnx, onnxruntime
and numpy.
"""

import json
import pathlib
import sys
import warnings

import numpy
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
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
    meta = {"framework": f"torch {torch.__version__}" if "loop" not in name else "onnx.helper", "prototype": verdict}
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


def loop(name, cell, masked=False):
    """A graph as TensorFlow's converter writes a Keras layer that ONNX has no operator for."""
    random = numpy.random.default_rng(2)
    weights = {}

    def weight(key, *shape):
        weights[key] = random.normal(0, 0.5, shape).astype(numpy.float32)
        return key

    gates = 1 if cell == "rnn" else 3
    table, kernel, recurrent = weight("table", V, E), weight("kernel", E, gates * H), weight("recurrent", H, gates * H)
    bias = weight("bias", 2, gates * H) if cell == "gru_after" else weight("bias", gates * H)
    weight("dense", H, V), weight("dense_bias", V)
    node = helper.make_node
    ints = lambda key, values: numpy_helper.from_array(numpy.array(values, numpy.int64), key)
    nodes = [node("Gather", ["sequence", "i"], ["x_t"], axis=0), node("MatMul", ["x_t", "w"], ["wx"])]
    inside = [ints("one", 1), numpy_helper.from_array(numpy.float32(1), "unit")]
    if cell == "rnn":
        nodes += [node("Add", ["wx", "b"], ["wxb"]), node("MatMul", ["h", "r"], ["rh"]), node("Add", ["wxb", "rh"], ["sum"]),
                  node("Tanh", ["sum"], ["new"])]
    elif cell == "gru_after":
        inside += [ints("axis", [0])]
        nodes += [node("Split", ["b"], ["b0", "b1"], axis=0), node("Squeeze", ["b0", "axis"], ["b0_"]),
                  node("Squeeze", ["b1", "axis"], ["b1_"]), node("MatMul", ["h", "r"], ["rh"]), node("Add", ["wx", "b0_"], ["wxb"]),
                  node("Add", ["rh", "b1_"], ["rhb"]), node("Split", ["wxb"], ["xz", "xr", "xn"], axis=-1),
                  node("Split", ["rhb"], ["hz", "hr", "hn"], axis=-1), node("Add", ["xz", "hz"], ["z_"]),
                  node("Sigmoid", ["z_"], ["z"]), node("Add", ["xr", "hr"], ["r_"]), node("Sigmoid", ["r_"], ["reset"]),
                  node("Mul", ["reset", "hn"], ["rn"]), node("Add", ["xn", "rn"], ["n_"]), node("Tanh", ["n_"], ["n"])]
    else:
        inside += [ints("two_one", [2 * H, H]), ints("split", [H, H])]
        nodes += [node("Add", ["wx", "b"], ["wxb"]), node("Split", ["wxb"], ["xz", "xr", "xn"], axis=-1),
                  node("Split", ["r", "two_one"], ["r_zr", "r_n"], axis=1), node("MatMul", ["h", "r_zr"], ["hzr"]),
                  node("Split", ["hzr", "split"], ["hz", "hr"], axis=-1), node("Add", ["xz", "hz"], ["z_"]),
                  node("Sigmoid", ["z_"], ["z"]), node("Add", ["xr", "hr"], ["r_"]), node("Sigmoid", ["r_"], ["reset"]),
                  node("Mul", ["reset", "h"], ["rh"]), node("Gemm", ["rh", "r_n", "xn"], ["n_"]), node("Tanh", ["n_"], ["n"])]
    if cell != "rnn":
        nodes += [node("Sub", ["unit", "z"], ["keep"]), node("Mul", ["keep", "n"], ["kn"]), node("Mul", ["z", "h"], ["zh"]),
                  node("Add", ["zh", "kn"], ["new"])]
    result = "new"
    if masked:
        nodes += [node("Gather", ["mask", "i"], ["m"], axis=0), node("Not", ["m"], ["not_m"]), node("Cast", ["m"], ["mf"], to=1),
                  node("Cast", ["not_m"], ["nf"], to=1), node("Mul", ["mf", "new"], ["mn"]), node("Mul", ["nf", "h"], ["nh"]),
                  node("Add", ["mn", "nh"], ["kept"])]
        result = "kept"
    nodes += [node("Add", ["i", "one"], ["next"]), node("Cast", ["next"], ["nextf"], to=1), node("Cast", ["n_steps"], ["stepsf"], to=1),
              node("Less", ["nextf", "stepsf"], ["go_on"]), node("Identity", [result], ["carry"])]
    info = helper.make_tensor_value_info
    of = lambda key, kind, shape: info(key, kind, shape)
    body = helper.make_graph(
        nodes, "body",
        [of("turn", TensorProto.INT64, []), of("before", TensorProto.BOOL, []), of("i", TensorProto.INT64, []),
         of("h", TensorProto.FLOAT, [1, H]), of("n_steps", TensorProto.INT64, []), of("w", TensorProto.FLOAT, None),
         of("r", TensorProto.FLOAT, None), of("b", TensorProto.FLOAT, None)],
        [of("go_on", TensorProto.BOOL, []), of("next", TensorProto.INT64, []), of("carry", TensorProto.FLOAT, [1, H]),
         of("n_steps", TensorProto.INT64, []), of("w", TensorProto.FLOAT, None), of("r", TensorProto.FLOAT, None),
         of("b", TensorProto.FLOAT, None), of(result, TensorProto.FLOAT, [1, H])], inside)
    # Keras wraps negative indices before it looks a token up.
    outer = [node("Add", ["x", "count"], ["wrapped"]), node("Less", ["x", "zero"], ["below"]), node("Cast", ["below"], ["b32"], to=6),
             node("Not", ["below"], ["above"]), node("Cast", ["above"], ["a32"], to=6), node("Mul", ["b32", "wrapped"], ["p"]),
             node("Mul", ["a32", "x"], ["q"]), node("Add", ["p", "q"], ["ids"]), node("Gather", ["table", "ids"], ["e"], axis=0),
             node("Transpose", ["e"], ["sequence"], perm=[1, 0, 2]), node("Shape", ["sequence"], ["shape"]),
             node("Gather", ["shape", "first"], ["steps"], axis=0),
             node("Loop", ["", "yes", "first", "h_zero", "steps", "kernel", "recurrent", "bias"],
                  ["", "last", "", "", "", "", "all"], body=body),
             node("Transpose", ["all"], ["y"], perm=[1, 0, 2]), node("Reshape", ["y", "flat"], ["lines"]),
             node("MatMul", ["lines", "dense"], ["product"]), node("Gather", ["shape", "first"], ["t"], axis=0),
             node("Unsqueeze", ["t", "axis0"], ["t1"]), node("Concat", ["unit1", "t1", "wide"], ["back"], axis=0),
             node("Reshape", ["product", "back"], ["unbiased"]), node("Add", ["unbiased", "dense_bias"], ["y_logits"]),
             node("Softmax", ["y_logits"], ["probabilities"], axis=-1)]
    if masked:
        outer.insert(9, node("Not", ["is_pad"], ["mask_"]))
        outer.insert(9, node("Equal", ["x", "zero"], ["is_pad"]))
        outer.insert(11, node("Transpose", ["mask_"], ["mask2"], perm=[1, 0]))
        outer.insert(12, node("Unsqueeze", ["mask2", "last_axis"], ["mask"]))
    constants = [numpy_helper.from_array(value, key) for key, value in weights.items()]
    constants += [ints("first", 0), ints("flat", [-1, H]), ints("unit1", [1]), ints("wide", [V]), ints("axis0", [0]), ints("last_axis", [2]),
                  numpy_helper.from_array(numpy.int32(V), "count"), numpy_helper.from_array(numpy.int32(0), "zero"),
                  numpy_helper.from_array(numpy.array(True), "yes"),
                  numpy_helper.from_array(numpy.zeros((1, H), numpy.float32), "h_zero")]
    graph = helper.make_graph(outer, name, [of("x", TensorProto.INT32, ["unk_1", "unk_2"])],
                              [of("probabilities", TensorProto.FLOAT, ["unk_3", "unk_4", V]),
                               of("last", TensorProto.FLOAT, ["unk_5", H])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model)
    x = random.integers(0, V, (1, T)).astype(numpy.int32)
    # Its optimizer crashes on weights that a loop carries.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    results = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})
    save(name, model, {"x": x}, dict(zip(["probabilities", "last"], results)), "refused" if masked else "imports")


if __name__ == "__main__":
    pytorch()
    for kind in ["rnn", "gru_after", "gru_before"]:
        loop(f"loop_{kind}", kind)
    loop("refused_loop_masked", "gru_after", True)
