#!/usr/bin/env python3
"""A second implementation of the runtime in plain Python, written from `runtime/FORMAT.md` alone.

    python3 tests/golden/reference.py tests/golden/*.pip

For each model file it writes a text file with the same name: the states and outputs after each of some inputs, the texts
sampled with several parameters, and the digest. It refuses a file whose CRC-32, structure or digest differs from FORMAT.md.
`tests/golden.rs` compares the Rust runtime with these text files.
Needs nothing but Python 3. `model_file.py` reads the file; this file computes.
"""

import math
import struct
import sys
import zlib
from pathlib import Path

sys.dont_write_bytecode = True  # No __pycache__ among the golden files.
from model_file import (
    BEGIN, CELL_STATE, GRU_AFTER, GRU_BEFORE, LOGITS, LSTM, OUTPUT, RNN, SOURCE, SPACED_LOWERCASE_WORD, SPACED_WORD, STEP,
    Model, round4,
)

TEMPERATURES = [("0", 0), ("0.3", 0), ("0.8", 0), ("1.8", 0), ("1", 3)]
TOKEN_GATES = {GRU_AFTER: "zrh", GRU_BEFORE: "zrh", LSTM: "iofc", RNN: "h"}


# Arithmetic

TANH = [min(65535, int(65536 * math.tanh(i / 64) + 0.5)) for i in range(513)]
EXP2 = [int(32768 * 2 ** (-i / 64) + 0.5) for i in range(65)]


def clamp(x, low=-32768, high=32767):
    return max(low, min(high, x))


def clamp32(x):
    return clamp(x, -(2**31), 2**31 - 1)


def apply(rows, v, token=None):
    """`row(v)`; `token` holds the products of the token values and the token scales."""
    out = []
    for row, (weights, bias, (multiplier, shift)) in enumerate(zip(rows.weights, rows.bias, rows.scale)):
        accumulator = sum(w * x for w, x in zip(weights, v)) + bias + (token[row] if token else 0)
        assert clamp32(accumulator) == accumulator
        out.append(clamp((clamp(accumulator >> shift, -(2**17), 2**17 - 1) * multiplier + 2**14) >> 15))
    return out


def tanh_magnitude(y):
    k = min(abs(y), 32767)
    low, high = TANH[k >> 6], TANH[(k >> 6) + 1]
    return low + ((high - low) * (k & 63) + 32 >> 6)


def sigmoid(y):
    m = tanh_magnitude(y)
    return min(32767, (65536 + (-m if y < 0 else m) + 2) >> 2)


def tanh(y):
    m = min(32767, (tanh_magnitude(clamp(2 * y)) + 1) >> 1)
    return -m if y < 0 else m


ACTIVATIONS = [lambda v: v, lambda v: max(0, v), tanh, sigmoid]


def convert(v, f, g):
    """From f to g fraction bits, rounded to nearest."""
    if f >= g:
        return clamp((v + (1 << (f - g) >> 1)) >> (f - g))
    return clamp(v << (g - f))


def mean(total, count):
    count = max(count, 1)
    magnitude = (2 * abs(total) + count) // (2 * count)
    return clamp(-magnitude if total < 0 else magnitude)


def gru(layer, x, token, h):
    gates, unit = layer.gates, range(len(h))
    after = layer.cell == GRU_AFTER
    z, r = [list(map(sigmoid, apply(gates[gate], x + h, token.get(gate)))) for gate in "zr"]
    if after:
        if layer.reads == "gate inputs":
            a = [bias + t for bias, t in zip(gates["h"].input_bias, token["h"])]
        else:
            a = [v << 15 for v in apply(gates["n"], x)]
        row_h = apply(gates["h"], h)
        candidate = [clamp((a[i] + r[i] * row_h[i] + 2**14) >> 15) for i in unit]
    else:
        reset = [(r[i] * h[i] + 2**14) >> 15 for i in unit]
        candidate = apply(gates["h"], x + reset, token.get("h"))
    n = [round_state(tanh(v), layer) for v in candidate]
    return [n[i] + ((z[i] * (h[i] - n[i]) + 2**14) >> 15) for i in unit]


def lstm(layer, x, token, h, c):
    s = layer.state_shift
    i, o, f, g = [apply(layer.gates[gate], x + h, token.get(gate)) for gate in "iofc"]
    new_h, new_c = [], []
    for unit, old in enumerate(c):
        input_gate, output_gate, forget_gate = (sigmoid(rows[unit]) for rows in (i, o, f))
        kept = (forget_gate * (old >> 16) << 1) + (forget_gate * (old & 65535) + 2**14 >> 15)
        new = clamp32(kept + (input_gate * tanh(g[unit]) + 64 >> 7))
        new_c.append(new)
        activated = tanh(clamp(min(new + 2**11, 2**31 - 1) >> 12))
        new_h.append(output_gate * activated + (1 << 14 + s) >> 15 + s)
    return new_h, new_c


def round_state(v, layer):
    return (v + (1 << layer.state_shift >> 1)) >> layer.state_shift


class Session:
    """The vectors of a model while it runs. An odd vector is a cell state in Q8.23; all others are i16."""

    def __init__(self, model):
        self.model, self.begun, self.features = model, set(), []
        self.vectors = {2 * layer.index + odd: [0] * round4(layer.size) for layer in model.layers for odd in (0, 1)}
        self.sums = {layer.index: [0] * round4(layer.size) for layer in model.layers if layer.kind == "mean"}
        self.steps = 0

    def read(self, vector):
        values = self.vectors[vector]
        return [convert(v, 23, 10) for v in values] if vector % 2 else values

    def frac_bits(self, vector):
        return 10 if vector % 2 else self.model.layers[vector // 2].frac_bits

    def push(self, phase, data):
        """Runs one source or step. `data` is a token, a frame or None."""
        if phase not in self.begun:
            self.begin(phase)
        layers = self.model.of_phase(phase)
        recurrent = [at for at, layer in enumerate(layers) if layer.kind == "recurrent"]
        first, end = (recurrent[0], recurrent[-1] + 1) if recurrent else (0, 0)
        repeated = layers[first:end] * self.model.steps_per_token[phase]
        for layer in layers[:first] + repeated + layers[end:]:
            self.run(layer, data)
        if phase == STEP:
            self.steps += 1
            for index, sums in self.sums.items():
                added = self.read(self.model.layers[index].inputs[0])
                self.sums[index] = [clamp32(a + b) for a, b in zip(sums, added)]

    def begin(self, phase):
        self.begun.add(phase)
        for layer in self.model.begin_layers(phase):
            self.run(layer, self.features)
        for layer in self.model.of_phase(phase):
            if layer.kind == "recurrent":
                self.vectors[2 * layer.index] = self.initial_hidden(layer)
                self.vectors[2 * layer.index + 1] = self.initial_cell(layer)

    def initial_hidden(self, layer):
        if not layer.initial_hidden:
            return [0] * round4(layer.size)
        vector = layer.initial_hidden - 1
        return [convert(v, self.frac_bits(vector), layer.frac_bits) for v in self.read(vector)]

    def initial_cell(self, layer):
        if not layer.initial_cell:
            return [0] * round4(layer.size)
        vector = layer.initial_cell - 1
        if vector % 2:
            return list(self.vectors[vector])
        return [clamp32(v << (23 - self.frac_bits(vector))) for v in self.read(vector)]

    def outputs(self):
        for layer in self.model.layers:
            if layer.kind == "mean":
                self.vectors[2 * layer.index] = [mean(total, self.steps) for total in self.sums[layer.index]]
        for layer in self.model.of_phase(OUTPUT):
            self.run(layer, None)
        layers = self.model.layers
        return [self.vectors[o.vector][: layers[o.vector // 2].size] for o in self.model.outputs]

    def run(self, layer, data):
        result = 2 * layer.index
        if layer.kind == "gate inputs":
            self.vectors[result] = layer.table[data]
        elif layer.kind == "embedding":
            self.vectors[result] = [v << 8 for v in layer.table[data]]
        elif layer.kind == "tied":
            rows = self.model.layers[layer.dense].rows
            multiplier, shift = rows.scale[data]
            r = min(31, 6 + max(0, shift - layer.smallest_shift))
            self.vectors[result] = [clamp((w * multiplier + (1 << r >> 1)) >> r) for w in rows.weights[data]]
        elif layer.kind == "frame":
            self.vectors[result] = (data + [0] * layer.size)[: layer.size] + [0] * (-layer.size % 4)
        elif layer.kind == "constant":
            self.vectors[result + (layer.frac_bits == CELL_STATE)] = layer.values
        elif layer.kind == "dense":
            x = sum(map(self.read, layer.inputs), [])
            self.vectors[result] = [ACTIVATIONS[layer.activation](v) for v in apply(layer.rows, x)]
        elif layer.kind == "recurrent":
            self.run_recurrent(layer)
        elif layer.kind == "sum":
            terms = [[convert(v, self.frac_bits(i), layer.frac_bits) for v in self.read(i)] for i in layer.inputs]
            self.vectors[result] = [clamp(sum(values)) for values in zip(*terms)]

    def run_recurrent(self, layer):
        result, token, x = 2 * layer.index, {}, sum(map(self.read, layer.inputs), [])
        if layer.reads == "gate inputs":
            names = TOKEN_GATES[layer.cell]
            for at, gate in enumerate(names):
                values = [v for i, v in enumerate(x) if i // 4 % len(names) == at]
                token[gate] = [v * scale for v, scale in zip(values, layer.gates[gate].token_scale)]
            x = []
        h = self.vectors[result]
        if layer.cell == LSTM:
            self.vectors[result], self.vectors[result + 1] = lstm(layer, x, token, h, self.vectors[result + 1])
        elif layer.cell == RNN:
            rows = apply(layer.gates["h"], x + h, token.get("h"))
            self.vectors[result] = [round_state(tanh(v), layer) for v in rows]
        else:
            self.vectors[result] = gru(layer, x, token, h)


# Digest


class Lcg:
    """The generator of features and frames."""

    def __init__(self):
        self.state = 0

    def vector(self):
        values = []
        for _ in range(64):
            self.state = (self.state * 1664525 + 1013904223) & 0xFFFFFFFF
            values += struct.unpack("<h", struct.pack("<H", self.state >> 16))
        return values


def inputs(model, phase, lcg, count):
    """The kind and the values of each input."""
    layer = model.input_of(phase)
    for index in range(count):
        if layer is None:
            yield "repeat", None
        elif layer.kind == "frame":
            yield "frame", lcg.vector()[: layer.size]
        else:
            yield "token", index * 7919 % layer.tokens


def digest(model):
    session, lcg, value = Session(model), Lcg(), 0
    session.features = lcg.vector()
    for phase in model.phases:
        for _, data in inputs(model, phase, lcg, 32):
            session.push(phase, data)
            if phase == STEP:
                first = session.outputs()[0]
                rotated = value << 1 & 0xFFFFFFFF | value >> 31
                value = rotated ^ zlib.crc32(struct.pack(f"<{len(first)}h", *first))
    return value


# Sampling


class Pcg32:
    """PCG XSH RR 64/32 (pcg-random.org)."""

    def __init__(self, seed, stream=int.from_bytes(b"pipsquea", "big")):
        self.mask = 2**64 - 1
        self.increment = (stream << 1 | 1) & self.mask
        self.state = (seed + self.increment) & self.mask
        self.advance()

    def advance(self):
        self.state = (self.state * 6364136223846793005 + self.increment) & self.mask

    def next(self):
        old = self.state
        self.advance()
        word = ((old >> 18 ^ old) >> 27) & 0xFFFFFFFF
        turn = old >> 59
        return (word >> turn | word << (-turn & 31)) & 0xFFFFFFFF


def softmax_weights(logits, frac_bits, temperature, top_k):
    """The integer weight of each logit; their sum fits in 32 bits."""
    inverse = int(math.log2(math.e) * 10_000 * 2**40) // round(float(temperature) * 10_000)
    excess = inverse.bit_length() - 16
    inverse >>= excess
    shift = 24 - excess + frac_bits
    keep = sorted(range(len(logits)), key=lambda i: (-logits[i], i))[: top_k or len(logits)]
    weight_bits = min(24, 31 - (len(logits) - 1).bit_length())
    weights = [0] * len(logits)
    for i in keep:
        product = (max(logits) - logits[i]) * inverse
        exponent = product >> shift if shift >= 0 else product << -shift
        if exponent < 32 << 16:
            index, rest = exponent >> 10 & 63, exponent & 1023
            value = (EXP2[index] << 10) - (EXP2[index] - EXP2[index + 1]) * rest >> (exponent >> 16)
            down = 25 - weight_bits
            weights[i] = (value + (1 << down >> 1)) >> down
    return weights


def sample(logits, frac_bits, temperature, top_k, rng):
    if temperature == "0":
        return logits.index(max(logits))
    weights = softmax_weights(logits, frac_bits, temperature, top_k)
    remaining = rng.next() * sum(weights) >> 32
    for token, weight in enumerate(weights):
        if remaining < weight:
            return token
        remaining -= weight


def sample_allowed(vocabulary, logits, *params):
    """Samples any token but BOS, PAD and UNK. The last token takes the place of an excluded one."""
    order = list(range(len(logits)))
    excluded = {vocabulary.bos, vocabulary.pad, vocabulary.unk} - {None, vocabulary.eos}
    for token in sorted(excluded, reverse=True):
        if len(order) > 1:
            last = order.pop()
            if token < len(order):
                order[token] = last
    return order[sample([logits[token] for token in order], *params)]


def generate(model, session, temperature, top_k):
    """The first 60 pieces of a text; a space between two words is a piece too."""
    vocabulary, frac_bits = model.target, session.frac_bits(model.outputs[0].vector)
    rng, token, pieces, count = Pcg32(7), vocabulary.initial, [], 0
    while len(pieces) < 60 and not 0 < model.max_tokens <= count:
        session.push(STEP, token)
        token = sample_allowed(vocabulary, session.outputs()[0], frac_bits, temperature, top_k, rng)
        if token == vocabulary.eos:
            break
        if vocabulary.tokenization in (SPACED_WORD, SPACED_LOWERCASE_WORD) and pieces:
            pieces.append(b" ")
        pieces.append(vocabulary.texts[token])
        count += 1
    return b"".join(pieces[:60]).decode()


# The text file


def line(name, values):
    return " ".join([name, *map(str, values)])


def run_lines(model):
    """The states after each of 20 inputs of each phase, and the outputs."""
    session, lcg, lines = Session(model), Lcg(), []
    features = model.input_of(BEGIN)
    if features:
        session.features = lcg.vector()[: features.size]
        lines.append(line("features", session.features))
    for phase in model.phases:
        label = "source" if phase == SOURCE else "step"
        for kind, data in inputs(model, phase, lcg, 20):
            shown = {"token": [data], "frame": data, "repeat": ["yes"]}[kind]
            lines.append(line(f"{label}.{kind}", shown))
            session.push(phase, data)
            for layer in model.of_phase(phase):
                if layer.kind == "recurrent":
                    index = layer.index
                    lines.append(line(f"hidden.{index}", session.vectors[2 * index][: layer.size]))
                    if layer.cell == LSTM:
                        lines.append(line(f"cell.{index}", session.vectors[2 * index + 1][: layer.size]))
            if phase == STEP:
                lines += [line(f"output.{k}", values) for k, values in enumerate(session.outputs())]
    return lines


def text_lines(model):
    if model.outputs[0].role != LOGITS:
        return []
    lines = []
    for temperature, top_k in TEMPERATURES:
        session = Session(model)
        if SOURCE in model.phases:
            for token in [*range(5), model.source.eos]:
                session.push(SOURCE, token)
        lines.append(f"text {temperature} {top_k} {generate(model, session, temperature, top_k)}")
    return lines


def main(path):
    try:
        model = Model(path.read_bytes())
    except AssertionError as error:
        raise AssertionError(f"{path} differs from runtime/FORMAT.md: {error}") from error
    lines = run_lines(model) + text_lines(model)
    computed = digest(model)
    assert model.digest == computed, f"{path}: digest {computed:08x}, but {model.digest:08x} is recorded"
    lines.append(f"digest {computed:08x}")
    path.with_suffix(".txt").write_text("\n".join(lines) + "\n")
    print(f"wrote {path.with_suffix('.txt')}")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        main(Path(argument))
