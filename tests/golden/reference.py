#!/usr/bin/env python3
"""The integer runtime once more, in plain Python and from its documentation alone.

    python3 tests/golden/reference.py tests/golden/*.pip

For each image it writes a text file beside it: the hidden states and logits after each of some tokens, the tokens
drawn after them at several settings, and the digest. It refuses an image whose CRC or recorded digest is another.
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
        raw = reader.section("B", 4 * columns)
        rows = [[0] * columns for _ in range(4)]
        for pair in range(columns // 2):
            for word in range(2):
                for column in range(2):
                    even, odd = raw[pair * 8 + word * 4 + column * 2 :][:2]
                    rows[word * 2][pair * 2 + column] = even - 128
                    rows[word * 2 + 1][pair * 2 + column] = odd - 256 if odd > 127 else odd
        self.weights += rows


def panel(reader, gates, kinds, columns):
    for gate, kind in zip(gates, kinds):
        gate.take_record(reader, kind)
    for gate in gates:
        gate.take_weights(reader, columns)


def apart(values, count):
    """Values that stand in blocks of four of each gate in turn, gate by gate."""
    return [[v for i, v in enumerate(values) if i // 4 % count == gate] for gate in range(count)]


class Image:
    def __init__(self, data):
        assert data[:4] == b"PIPS"
        crc, version, metadata, length, self.digest = struct.unpack_from("<IHHII", data, 4)
        assert (version, length) == (2, len(data))
        assert crc == zlib.crc32(data[8:])
        reader = Reader(data, 20)
        self.tokens, text_len, self.start, self.embedding = (reader.varint() for _ in range(4))
        self.shapes = [(reader.varint(), reader.varint()) for _ in range(reader.varint())]
        self.logit_bits = reader.byte()
        reader.text(), reader.text(), reader.varint(), reader.varint(), reader.option(), reader.option()
        assert reader.at == 20 + metadata
        reader.at = pad(reader.at)
        offsets = reader.section("I", self.tokens + 1)
        reader.section("H", self.tokens)
        text = bytes(reader.section("B", text_len))
        self.texts = [text[a:b].decode() for a, b in zip(offsets, offsets[1:])]
        width = pad(self.embedding) if self.embedding else 3 * pad(self.shapes[0][1])
        table = reader.section("b", self.tokens * width)
        self.table = [table[i * width :][:width] for i in range(self.tokens)]
        self.layers = []
        inputs = pad(self.embedding)
        for cell, hidden in self.shapes:
            units, after, folded = pad(hidden), cell == 0, inputs == 0
            z, r, h, candidate = gates = [Gate() for _ in range(4)]
            for _ in range(units // 4):
                if after and folded:
                    panel(reader, [z, r, h], ["token", "token", "candidate"], units)
                else:
                    panel(reader, [z, r], ["token" if folded else "plain"] * 2, inputs + units)
                if after and not folded:
                    panel(reader, [h], ["plain"], units)
                    panel(reader, [candidate], ["plain"], inputs)
            if not after:
                for _ in range(units // 4):
                    panel(reader, [h], ["token" if folded else "plain"], inputs + units)
            self.layers.append({"after": after, "units": units, "inputs": inputs, "folded": folded, "gates": gates})
            inputs = units
        self.head = Gate()
        rows = pad(self.tokens)
        while rows > len(self.head.bias):
            quads = min(4, (rows - len(self.head.bias)) // 4)
            panel(reader, [self.head] * quads, ["plain"] * quads, inputs)
        assert reader.at == length


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


def step(image, states, token):
    x = [v << 8 for v in image.table[token]] if image.embedding else []
    for index, layer in enumerate(image.layers):
        h, units = states[index], layer["units"]
        added = [None] * 3
        if layer["folded"]:
            row = apart(image.table[token], 3)
            added = [[t * f for t, f in zip(values, gate.factors)] for values, gate in zip(row, layer["gates"])]
        update, reset, new, candidate = layer["gates"]
        z = [sigmoid(v) for v in products(update, x + h, added[0])]
        r = [sigmoid(v) for v in products(reset, x + h, added[1])]
        if layer["after"]:
            recurrent = products(new, h)
            if layer["folded"]:
                own = [b + a for b, a in zip(new.input_bias, added[2])]
            else:
                own = [v << 15 for v in products(candidate, x)]
            pre = [clamp((own[i] + r[i] * recurrent[i] + (1 << 14)) >> 15) for i in range(units)]
        else:
            remembered = [(r[i] * h[i] + (1 << 14)) >> 15 for i in range(units)]
            pre = products(new, x + remembered, added[2])
        states[index] = [blend(z[i], h[i], tanh(pre[i])) for i in range(units)]
        x = states[index]


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


def digest(image):
    states = [[0] * layer["units"] for layer in image.layers]
    value = 0
    for index in range(32):
        step(image, states, 7919 * index % image.tokens)
        logits = products(image.head, states[-1])[: image.tokens]
        turned = value << 1 & 0xFFFFFFFF | value >> 31
        value = turned ^ zlib.crc32(struct.pack(f"<{image.tokens}h", *logits))
    return value


def main(path):
    image = Image(path.read_bytes())
    lines = []
    states = [[0] * layer["units"] for layer in image.layers]
    for index in range(20):
        token = index * 7919 % image.tokens
        step(image, states, token)
        logits = products(image.head, states[-1])[: image.tokens]
        lines.append(f"token {token}")
        for (_, hidden), state in zip(image.shapes, states):
            lines.append("hidden " + " ".join(map(str, state[:hidden])))
        lines.append("logits " + " ".join(map(str, logits)))
    for temperature, top_k in TEMPERATURES:
        states = [[0] * layer["units"] for layer in image.layers]
        rng, token, text = Pcg32(7), image.start, ""
        for _ in range(60):
            step(image, states, token)
            token = draw(products(image.head, states[-1])[: image.tokens], image.logit_bits, temperature, top_k, rng)
            text += image.texts[token]
        lines.append(f"text {temperature} {top_k} {text}")
    assert image.digest == digest(image), f"{path}: digest {digest(image):08x}, but {image.digest:08x} is recorded"
    lines.append(f"digest {image.digest:08x}")
    path.with_suffix(".txt").write_text("\n".join(lines) + "\n")
    print(f"wrote {path.with_suffix('.txt')}")


for argument in sys.argv[1:]:
    main(Path(argument))
