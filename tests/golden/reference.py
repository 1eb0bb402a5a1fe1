#!/usr/bin/env python3
"""The integer runtime once more, in plain Python and from its documentation alone.

    python3 tests/golden/reference.py tests/golden/*.pip

For each image it writes a text file beside it: the states and outputs after each of some inputs, the texts drawn at
several settings, and the digest. It refuses an image whose CRC or recorded digest is another.
`tests/golden.rs` holds the Rust runtime against these files.
Needs nothing but Python 3.
"""

import math
import struct
import sys
import zlib
from pathlib import Path

TEMPERATURES = [("0", 0), ("0.3", 0), ("0.8", 0), ("1.8", 0), ("1", 3)]


class Reader:
    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def varint(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def byte(self):
        self.at += 1
        return self.data[self.at - 1]

    def text(self):
        length = self.varint()
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def option(self):
        return self.varint() if self.byte() else None

    def section(self, kind, count):
        size = struct.calcsize("<" + kind)
        values = list(struct.unpack_from(f"<{count}{kind}", self.data, self.at))
        self.at += (size * count + 3) // 4 * 4
        return values


def pad(n):
    return (n + 3) // 4 * 4


def signed(word):
    return word - 2**32 if word >> 31 else word


class Gate:
    """Rows of a matrix, and what stands beside them."""

    def __init__(self):
        self.weights, self.bias, self.scale, self.factors, self.input_bias = [], [], [], [], []

    def take_record(self, reader, kind):
        self.bias += map(signed, reader.section("I", 4))
        self.scale += [(s & 0x7FFFFFF, s >> 27) for s in reader.section("I", 4)]
        if kind == "candidate":
            self.input_bias += map(signed, reader.section("I", 4))
        if kind != "plain":
            self.factors += map(signed, reader.section("I", 4))

    def take_weights(self, reader, columns):
        """Weights of 8 bits."""
        raw = reader.section("B", 4 * columns)
        rows = [[0] * columns for _ in range(4)]
        for pair in range(columns // 2):
            for word in range(2):
                for column in range(2):
                    even, odd = raw[pair * 8 + word * 4 + column * 2 :][:2]
                    rows[word * 2][pair * 2 + column] = even - 128
                    rows[word * 2 + 1][pair * 2 + column] = odd - 256 if odd > 127 else odd
        return rows

    def take_scaled(self, reader, columns):
        """Weights of 8 bits over one part, each times its row's scale."""
        if not columns:
            return [[] for _ in range(4)]
        scales = reader.section("B", 4)
        return [[scale * w for w in row] for scale, row in zip(scales, self.take_weights(reader, columns))]

    def take_grouped(self, reader, columns):
        """Weights of 4 bits over one part, each times its group's scale."""
        rows = [[] for _ in range(4)]
        for start in range(0, columns, 32):
            scales = reader.section("B", 4)
            for half in reader.section("H", min(32, columns - start)):
                for row in range(4):
                    nibble = half >> 4 * row & 15
                    weight = (nibble ^ 8) - 8 if row == 3 else nibble - 8
                    rows[row].append(scales[row] * weight)
        return rows


def panel(reader, gates, kinds, parts, width):
    """Rows over the input and the state, `parts`."""
    for gate, kind in zip(gates, kinds):
        gate.take_record(reader, kind)
    if width == EIGHT:
        for gate in gates:
            gate.weights += gate.take_weights(reader, sum(parts))
        return
    over_input = Gate.take_scaled if width == MIXED else Gate.take_grouped
    takes = [over_input, Gate.take_grouped]
    made = [[take(gate, reader, part) for gate in gates] for take, part in zip(takes, parts)]
    for gate, *blocks in zip(gates, *made):
        gate.weights += [sum(rows, []) for rows in zip(*blocks)]


def apart(values, count):
    """Values that stand in blocks of four of each gate in turn, gate by gate."""
    return [[v for i, v in enumerate(values) if i // 4 % count == gate] for gate in range(count)]


def rows(reader, count, columns, width):
    """A dense layer: a panel for each 16 rows, and one for what is left."""
    matrix = Gate()
    while len(matrix.bias) < pad(count):
        quads = min(4, (pad(count) - len(matrix.bias)) // 4)
        panel(reader, [matrix] * quads, ["plain"] * quads, [columns, 0], width)
    return matrix


AFTER, BEFORE, LSTM, RNN = range(4)
EIGHT, FOUR, MIXED = range(3)
TABLE, EMBEDDING, TIED, VECTORS, FEATURES = range(5)
BYTES, SPACED = 1, (3, 4)
MEAN = 2


class Layer:
    def __init__(self, cell, width, hidden, shift, *starts):
        self.width, self.cell, self.hidden, self.shift, self.units = width, cell, hidden, shift, pad(hidden)
        self.kinds, self.starts = starts[::2], []
        self.start_dense = starts[1::2]

    def take(self, reader, inputs):
        self.inputs = inputs
        self.gates = [Gate() for _ in range({AFTER: 4, BEFORE: 3, LSTM: 4, RNN: 1}[self.cell])]
        kind, joint, width = ("plain" if inputs else "token"), [inputs, self.units], self.width
        for _ in range(self.units // 4):
            if self.cell in (LSTM, RNN):
                panel(reader, self.gates, [kind] * len(self.gates), joint, width)
                continue
            z, r, h = self.gates[:3]
            if self.cell == AFTER and not inputs:
                panel(reader, [z, r, h], ["token", "token", "candidate"], joint, width)
                continue
            panel(reader, [z, r], [kind, kind], joint, width)
            if self.cell == AFTER:
                panel(reader, [h], ["plain"], [0, self.units], width)
                panel(reader, [self.gates[3]], ["plain"], [inputs, 0], width)
        for _ in range(self.units // 4 if self.cell == BEFORE else 0):
            panel(reader, [self.gates[2]], [kind], joint, width)


class Vocabulary:
    def __init__(self, reader):
        self.level, self.tokens, self.text_len, self.start, *specials = (reader.varint() for _ in range(8))
        self.begin, self.eos, self.pad, self.unk = self.specials = [s - 1 if s else None for s in specials]

    def take(self, reader):
        if self.level == BYTES or not self.tokens:
            self.texts = [bytes([i]) for i in range(min(256, self.tokens))]
            return
        offsets = reader.section("I", self.tokens + 1)
        reader.section("H", self.tokens - len(set(self.specials) - {None}))
        text = bytes(reader.section("B", self.text_len))
        self.texts = [text[a:b] for a, b in zip(offsets, offsets[1:])]


class Network:
    def __init__(self, reader):
        fields = [reader.varint() for _ in range(10)]
        self.input, self.size, self.count, self.features, self.dense, self.layers, *fields = fields
        self.steps, self.head, self.reads, _ = fields

    def take(self, reader, layers, dense, encoder):
        """Takes its layers, dense layers and sections; the lists are what is left of the image's."""

        def chain(count, columns):
            made = []
            for _ in range(count):
                outputs, activation, bits, width = dense.pop(0)
                made.append((rows(reader, outputs, columns, width), activation, bits, outputs))
                columns = pad(outputs)
            return made

        self.layers = [layers.pop(0) for _ in range(self.layers)]
        starts = sum(sum(layer.start_dense) for layer in self.layers)
        top = self.layers[-1].hidden if self.layers else 0
        if self.head > 1:
            top = dense[self.dense + starts + self.head - 2][0]
        width = pad({TABLE: 0, EMBEDDING: self.size, TIED: top, VECTORS: self.count, FEATURES: self.features}[self.input])
        if self.input == TABLE:
            row = [3, 3, 4, 1][self.layers[0].cell] * self.layers[0].units
        else:
            row = width
        if self.input in (TABLE, EMBEDDING):
            table = reader.section("b", self.count * row)
            self.table = [table[i * row :][:row] for i in range(self.count)]
        elif self.input == VECTORS:
            reader.section("b", self.count)
        reader.section("b", self.features)
        self.dense = chain(self.dense, width)
        width = pad(self.dense[-1][3]) if self.dense else width
        self.width = width
        for layer in self.layers:
            layer.take(reader, width)
            width = layer.units
        for layer in self.layers:
            for cell, (kind, count) in enumerate(zip(layer.kinds, layer.start_dense)):
                if kind == 1:
                    layer.starts.append(reader.section("i" if cell else "h", layer.units))
                elif kind == 2:
                    layer.starts.append(chain(count, pad(self.features)))
                else:
                    layer.starts.append(chain(count, encoder.layers[(kind - 3) // 2].units if kind else 0))
        self.head = chain(self.head, width)
        self.outputs = self.head[-1][3] if self.head else self.layers[-1].hidden
        self.bits = self.head[-1][2] if self.head else 15 - self.layers[-1].shift


class Image:
    def __init__(self, data):
        assert data[:4] == b"PIPS"
        crc, version, metadata, length, self.digest = struct.unpack_from("<IHHII", data, 4)
        assert (version, length) == (4, len(data))
        assert crc == zlib.crc32(data[8:])
        reader = Reader(data, 20)
        vocabularies = [Vocabulary(reader), Vocabulary(reader)]
        self.source, self.target = vocabularies
        self.limit, interface = reader.varint(), reader.varint()
        self.networks = [Network(reader) for _ in range(reader.varint())]
        layers = [Layer(*(reader.varint() for _ in range(8))) for _ in range(reader.varint())]
        dense = [[reader.varint() for _ in range(4)] for _ in range(reader.varint())]
        reader.text(), reader.text(), reader.varint(), reader.varint(), reader.option(), reader.option()
        assert reader.at == 20 + metadata
        reader.at = pad(reader.at)
        for vocabulary in vocabularies:
            vocabulary.take(reader)
        encoder = None
        for network in self.networks:
            network.take(reader, layers, dense, encoder)
            encoder = network
        reader.section("B", interface)
        assert reader.at == length and not layers and not dense


def clamp(x, low=-32768, high=32767):
    return max(low, min(high, x))


def requantize(accumulator, scale):
    multiplier, shift = scale
    return clamp((clamp(accumulator >> shift, -(1 << 17), (1 << 17) - 1) * multiplier + (1 << 14)) >> 15)


def products(gate, x, added=None):
    out = []
    for row, weights in enumerate(gate.weights):
        total = sum(w * v for w, v in zip(weights, x)) + gate.bias[row] + (added[row] if added else 0)
        assert -(2**31) <= total < 2**31
        out.append(requantize(total, gate.scale[row]))
    return out


TANH = [min(65535, int(65536 * math.tanh(i / 64) + 0.5)) for i in range(513)]
EXP2 = [int(32768 * 2 ** (-i / 64) + 0.5) for i in range(65)]


def tanh_magnitude(y):
    y = min(abs(y), 32767)
    low, high = TANH[y >> 6], TANH[(y >> 6) + 1]
    return low + (((high - low) * (y & 63) + 32) >> 6)


def sigmoid(x):
    m = tanh_magnitude(x)
    return min(32767, ((65536 - m if x < 0 else 65536 + m) + 2) >> 2)


def tanh(x):
    m = min(32767, (tanh_magnitude(clamp(2 * x)) + 1) >> 1)
    return -m if x < 0 else m


def blend(z, h, n):
    return n + ((z * (h - n) + (1 << 14)) >> 15)


def rescale(value, bits, wanted):
    """From so many fraction bits to others, rounded to nearest and saturated."""
    if bits >= wanted:
        return clamp((value + (1 << (bits - wanted) >> 1)) >> (bits - wanted))
    return clamp(value << (wanted - bits))


def chain(layers, x):
    for matrix, activation, _, _ in layers:
        x = products(matrix, x)
        if activation:
            x = [[None, lambda v: max(v, 0), tanh, sigmoid][activation](v) for v in x]
    return x


class State:
    """The states of all networks: each layer's hidden and cell state, what comes in, and the sum of the top."""

    def __init__(self, image):
        self.image = image
        self.hidden = [[[0] * layer.units for layer in network.layers] for network in image.networks]
        self.cell = [[[0] * layer.units for layer in network.layers] for network in image.networks]
        self.x = [[0] * network.width for network in image.networks]
        self.sums, self.steps = [0] * 65536, 0
        self.start(lambda kind: kind == 1)

    def start(self, wanted, features=None):
        for index, network in enumerate(self.image.networks):
            for at, layer in enumerate(network.layers):
                for cell, (kind, how) in enumerate(zip(layer.kinds, layer.starts)):
                    if kind and wanted(kind):
                        (self.cell if cell else self.hidden)[index][at] = self.started(layer, cell, kind, how, features)

    def started(self, layer, cell, kind, how, x):
        if kind == 1:
            return list(how)
        bits = 15
        if kind > 2:
            at, from_cell = (kind - 3) // 2, kind % 2 == 0
            if from_cell and cell and not how:
                return list(self.cell[0][at])
            x, bits = self.hidden[0][at], 15 - self.image.networks[0].layers[at].shift
            if from_cell:
                x, bits = [rescale(v, 23, 10) for v in self.cell[0][at]], 10
        x = chain(how, x)
        if how:
            bits = how[-1][2]
        if cell:
            return [clamp(v << (23 - bits), -(2**31), 2**31 - 1) for v in x]
        return [rescale(v, bits, 15 - layer.shift) for v in x]

    def features(self, vector):
        for index, network in enumerate(self.image.networks):
            x = (vector + [0] * pad(network.features))[: network.features]
            x += [0] * (pad(network.features) - network.features)
            # No image here has an encoder of features.
            if network.features:
                self.start(lambda kind: kind == 2, x)
            if network.input == FEATURES:
                self.x[index] = chain(network.dense, x)

    def hand_over(self):
        self.start(lambda kind: kind > 2)

    def feed(self, index, fed=None):
        network, token = self.image.networks[index], None
        if network.input == TABLE:
            token = network.table[fed]
        elif network.input == EMBEDDING:
            self.x[index] = [v << 8 for v in network.table[fed]]
        elif network.input == TIED:
            matrix = network.head[-1][0]
            multiplier, shift = matrix.scale[fed]
            right = 6 + max(0, shift - network.size)
            self.x[index] = [clamp((w * multiplier + (1 << right >> 1)) >> right) for w in matrix.weights[fed]]
        elif network.input == VECTORS:
            vector = (fed + [0] * network.count)[: network.count]
            self.x[index] = chain(network.dense, vector + [0] * (pad(network.count) - network.count))
        for _ in range(network.steps):
            x = self.x[index]
            for at, layer in enumerate(network.layers):
                x = self.layer(index, at, layer, x, token if at == 0 else None)
        if network.reads == MEAN:
            self.sums = [clamp(s + v, -(2**31), 2**31 - 1) for s, v in zip(self.sums, x)]
            self.steps += 1

    def layer(self, index, at, layer, x, token):
        h, units, gates = self.hidden[index][at], layer.units, layer.gates
        added = [None] * 4
        if token is not None:
            parts = apart(token, min(len(gates), 3) if layer.cell == AFTER else len(gates))
            added = [[t * f for t, f in zip(values, gate.factors)] for values, gate in zip(parts, gates)]
        short = lambda v: v + (1 << layer.shift >> 1) >> layer.shift
        if layer.cell == RNN:
            new = [short(tanh(v)) for v in products(gates[0], x + h, added[0])]
        elif layer.cell == LSTM:
            pre = [products(gate, x + h, add) for gate, add in zip(gates, added)]
            i, o, f = [[sigmoid(v) for v in values] for values in pre[:3]]
            g, new = [tanh(v) for v in pre[3]], []
            for unit, c in enumerate(self.cell[index][at]):
                kept = (f[unit] * (c >> 16) << 1) + (f[unit] * (c & 0xFFFF) + (1 << 14) >> 15)
                c = clamp(kept + (i[unit] * g[unit] + 64 >> 7), -(2**31), 2**31 - 1)
                self.cell[index][at][unit] = c
                product = o[unit] * tanh(clamp(min(c + (1 << 11), 2**31 - 1) >> 12))
                new.append(product + (1 << 14 + layer.shift) >> 15 + layer.shift)
        else:
            z = [sigmoid(v) for v in products(gates[0], x + h, added[0])]
            r = [sigmoid(v) for v in products(gates[1], x + h, added[1])]
            if layer.cell == AFTER:
                recurrent = products(gates[2], h)
                if token is not None:
                    own = [b + a for b, a in zip(gates[2].input_bias, added[2])]
                else:
                    own = [v << 15 for v in products(gates[3], x)]
                pre = [clamp((own[n] + r[n] * recurrent[n] + (1 << 14)) >> 15) for n in range(units)]
            else:
                remembered = [(r[n] * h[n] + (1 << 14)) >> 15 for n in range(units)]
                pre = products(gates[2], x + remembered, added[2])
            new = [blend(z[n], h[n], short(tanh(pre[n]))) for n in range(units)]
        self.hidden[index][at] = new
        return new

    def outputs(self, index=-1):
        network = self.image.networks[index]
        x = self.hidden[index][-1] if network.layers else self.x[index]
        if network.reads == MEAN:
            steps, half = max(self.steps, 1), self.steps // 2
            # Half is rounded away from zero.
            x = [clamp((abs(s) + half) // steps * (-1 if s < 0 else 1)) for s in self.sums[: len(x)]]
        return chain(network.head, x)[: network.outputs]


class Pcg32:
    """PCG XSH RR 64/32 (pcg-random.org), the stream of `Settings::rng`."""

    def __init__(self, seed, stream=0x7069707371756561):
        self.mask = (1 << 64) - 1
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


def draw(logits, bits, temperature, top_k, rng):
    if temperature == "0":
        return logits.index(max(logits))
    coefficient = int(math.log2(math.e) * 10_000 * 2**40) // round(float(temperature) * 10_000)
    excess = coefficient.bit_length() - 16
    coefficient >>= excess
    shift = 24 - excess + bits
    keep = range(len(logits))
    if 0 < top_k < len(logits):
        keep = sorted(keep, key=lambda i: (-logits[i], i))[:top_k]
    weight_bits = min(24, 31 - (len(logits) - 1).bit_length())
    weights = []
    for i, logit in enumerate(logits):
        product = (max(logits) - logit) * coefficient
        exponent = product >> shift if shift >= 0 else product << -shift
        if i not in keep or exponent >= 32 << 16:
            weights.append(0)
            continue
        index, rest = exponent >> 10 & 63, exponent & 1023
        value = (EXP2[index] << 10) - (EXP2[index] - EXP2[index + 1]) * rest >> (exponent >> 16)
        down = 25 - weight_bits
        weights.append((value + (1 << down >> 1)) >> down)
    rest = rng.next() * sum(weights) >> 32
    for token, weight in enumerate(weights):
        if rest < weight:
            return token
        rest -= weight


def draw_allowed(vocabulary, logits, *settings):
    """Never the tokens that only begin, fill or are unknown: the last one takes the place of such a one."""
    order = list(range(len(logits)))
    banned = {vocabulary.begin, vocabulary.pad, vocabulary.unk} - {None, vocabulary.eos}
    for token in sorted(banned, reverse=True):
        if len(order) > 1:
            last = order.pop()
            if token < len(order):
                order[token] = last
    return order[draw([logits[token] for token in order], *settings)]


class Random:
    """The linear congruential generator of the digest's vectors."""

    def __init__(self):
        self.state = 0

    def vector(self):
        values = []
        for _ in range(64):
            self.state = (self.state * 1664525 + 1013904223) & 0xFFFFFFFF
            high = self.state >> 16
            values.append(high - 65536 if high >> 15 else high)
        return values


def inputs(network, random, steps):
    """Tokens, vectors or nothing, whatever the network is fed."""
    for index in range(steps):
        if network.input == VECTORS:
            yield random.vector()
        elif network.input == FEATURES:
            yield None
        else:
            yield index * 7919 % network.count


def digest(image):
    state, random, value = State(image), Random(), 0
    state.features(random.vector())
    for index, network in enumerate(image.networks):
        if index == len(image.networks) - 1:
            state.hand_over()
        for fed in inputs(network, random, 32):
            state.feed(index, fed)
            outputs = state.outputs(index)
            turned = value << 1 & 0xFFFFFFFF | value >> 31
            value = turned ^ zlib.crc32(struct.pack(f"<{len(outputs)}h", *outputs))
    return value


def text(image, state, temperature, top_k):
    """The first 60 pieces that a generator gives."""
    vocabulary, bits = image.target, image.networks[-1].bits
    rng, token, pieces, drawn = Pcg32(7), vocabulary.start, [], 0
    while len(pieces) < 60 and not 0 < image.limit <= drawn:
        state.feed(-1, token)
        token = draw_allowed(vocabulary, state.outputs(), bits, temperature, top_k, rng)
        if token == vocabulary.eos:
            break
        if vocabulary.level in SPACED and pieces:
            pieces.append(b" ")
        pieces.append(vocabulary.texts[token])
        drawn += 1
    return b"".join(pieces[:60]).decode()


def line(name, values):
    return name + "".join(f" {value}" for value in values)


def main(path):
    image = Image(path.read_bytes())
    state, random, lines = State(image), Random(), []
    if any(network.features for network in image.networks):
        features = random.vector()[: max(network.features for network in image.networks)]
        state.features(features)
        lines.append(line("features", features))
    for index, network in enumerate(image.networks):
        if index == 1:
            state.hand_over()
            lines.append("hand over")
        for fed in inputs(network, random, 20):
            if fed is None:
                lines.append("again yes")
            elif isinstance(fed, int):
                lines.append(f"token {fed}")
            else:
                fed = fed[: network.count]
                lines.append(line("vector", fed))
            state.feed(index, fed)
            for at, layer in enumerate(network.layers):
                lines.append(line("hidden", state.hidden[index][at][: layer.hidden]))
                if layer.cell == LSTM:
                    lines.append(line("cell", state.cell[index][at][: layer.hidden]))
            lines.append(line("logits", state.outputs(index)))
    if image.target.tokens and image.networks[-1].input in (TABLE, EMBEDDING, TIED):
        for temperature, top_k in TEMPERATURES:
            state = State(image)
            if len(image.networks) > 1:
                # What is to be translated: its own first tokens, and the end.
                for token in [*range(5), image.source.eos]:
                    state.feed(0, token)
                state.hand_over()
            lines.append(f"text {temperature} {top_k} {text(image, state, temperature, top_k)}")
    assert image.digest == digest(image), f"{path}: digest {digest(image):08x}, but {image.digest:08x} is recorded"
    lines.append(f"digest {image.digest:08x}")
    path.with_suffix(".txt").write_text("\n".join(lines) + "\n")
    print(f"wrote {path.with_suffix('.txt')}")


for argument in sys.argv[1:]:
    main(Path(argument))
