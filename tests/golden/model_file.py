"""Reads a model file in plain Python, from `runtime/FORMAT.md` alone. Used by `reference.py`."""

import struct
import zlib

SOURCE, BEGIN, STEP, OUTPUT = range(4)
SUBWORD, BYTE, WORD, SPACED_WORD, SPACED_LOWERCASE_WORD = range(5)
LOGITS = 0
GRU_AFTER, GRU_BEFORE, LSTM, RNN = range(4)
INT8, INT8_SCALED, INT4 = range(3)
CELL_STATE = 16

# The kinds of layers and the numbers of each in the metadata.
KINDS = [
    ("gate inputs", "tokens size"),
    ("embedding", "tokens size"),
    ("tied", "tokens size dense smallest_shift"),
    ("frame", "size"),
    ("constant", "size frac_bits"),
    ("dense", "size activation frac_bits format"),
    ("recurrent", "cell size state_shift input_format hidden_format initial_hidden initial_cell"),
    ("sum", "frac_bits"),
    ("mean", ""),
]

# Per cell, over gate inputs or over vectors: the passes, each a list of gate groups (parameters, gates, vectors).
# Gate "n" is the input side of the candidate.
PASSES = {
    (GRU_AFTER, "gate inputs"): [[("TTC", "zrh", "h")]],
    (GRU_AFTER, "vectors"): [[("BB", "zr", "xh"), ("B", "h", "h"), ("B", "n", "x")]],
    (GRU_BEFORE, "gate inputs"): [[("TT", "zr", "h")], [("T", "h", "h")]],
    (GRU_BEFORE, "vectors"): [[("BB", "zr", "xh")], [("B", "h", "xh")]],
    (LSTM, "gate inputs"): [[("TTTT", "iofc", "h")]],
    (LSTM, "vectors"): [[("BBBB", "iofc", "xh")]],
    (RNN, "gate inputs"): [[("T", "h", "h")]],
    (RNN, "vectors"): [[("B", "h", "xh")]],
}


def round4(n):
    return (n + 3) // 4 * 4


class Reader:
    def __init__(self, data, at):
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

    def text(self):
        length = self.varint()
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def option(self):
        return self.varint() if self.varint() else None

    def section(self, kind, count):
        """`count` elements of a type of `struct`, and the zeros up to a multiple of 4 bytes."""
        values = list(struct.unpack_from(f"<{count}{kind}", self.data, self.at))
        end = self.at + struct.calcsize(f"<{count}{kind}")
        self.at = round4(end)
        assert not any(self.data[end : self.at]), "padding that is not zero"
        return values


# Gate groups


class Rows:
    """The rows of one gate or of a dense layer, with their parameters. Int4 and scaled weights include their scales."""

    def __init__(self):
        self.weights, self.bias, self.scale, self.token_scale, self.input_bias = [], [], [], [], []

    def read_params(self, reader, params):
        self.bias += reader.section("i", 4)
        self.scale += [(word & 0x7FFFFFF, word >> 27) for word in reader.section("I", 4)]
        assert all(multiplier < 2**14 and shift <= 24 for multiplier, shift in self.scale)
        if params == "C":
            self.input_bias += reader.section("i", 4)
        if params in "TC":
            self.token_scale += reader.section("i", 4)

    def check(self, size, vectors):
        """Rows and columns of padding are zeros, and no accumulator leaves 32 bits. `vectors` are the sizes of the joined vectors."""
        real = [column < n for n in vectors for column in range(round4(n))]
        for row, weights in enumerate(self.weights):
            assert len(weights) == len(real)
            assert row < size or not any(weights + [self.bias[row]]), f"row {row} is padding and not 0"
            for column, weight in enumerate(weights):
                assert real[column] or not weight, f"row {row}: column {column} is padding and has the weight {weight}"
            token = abs(self.token_scale[row]) * 2**7 if self.token_scale else 0
            if self.input_bias:
                assert abs(self.input_bias[row]) + token <= 2**30
                token = 0
            assert sum(map(abs, weights)) * 2**15 + abs(self.bias[row]) + token < 2**31


def int8_panel(reader, columns):
    raw = reader.section("B", 4 * columns)
    rows = [[0] * columns for _ in range(4)]
    for column in range(columns):
        for pair in range(2):
            even, odd = raw[column // 2 * 8 + pair * 4 + column % 2 * 2 :][:2]
            rows[2 * pair][column] = even - 128
            rows[2 * pair + 1][column] = odd - 256 if odd > 127 else odd
    return rows


def int8_scaled_panel(reader, columns):
    scales = reader.section("B", 4) if columns else [0] * 4
    return [[scale * w for w in row] for scale, row in zip(scales, int8_panel(reader, columns))]


def int4_panel(reader, columns):
    rows = [[] for _ in range(4)]
    for start in range(0, columns, 32):
        scales = reader.section("B", 4)
        for half in reader.section("H", min(32, columns - start)):
            for row in range(4):
                nibble = half >> 4 * row & 15
                weight = (nibble ^ 8) - 8 if row == 3 else nibble - 8
                rows[row].append(scales[row] * weight)
    return rows


PANELS = {INT8: int8_panel, INT8_SCALED: int8_scaled_panel, INT4: int4_panel}


def read_gate_group(reader, panels, params, parts):
    """Appends one panel to each of `panels`. `parts` are the columns and formats of the vectors that are present."""
    for rows, kind in zip(panels, params):
        rows.read_params(reader, kind)
    if all(weight_format == INT8 for _, weight_format in parts):
        parts = [(sum(columns for columns, _ in parts), INT8)]
    by_part = [[PANELS[weight_format](reader, columns) for _ in panels] for columns, weight_format in parts]
    for rows, *pieces in zip(panels, *by_part):
        rows.weights += [sum(of_row, []) for of_row in zip(*pieces)]


# Layers and vocabularies


class Vocabulary:
    def __init__(self, reader):
        self.tokenization, self.tokens, self.text_len, self.initial = (reader.varint() for _ in range(4))
        self.special = [reader.varint() - 1 for _ in range(4)]
        self.bos, self.eos, self.pad, self.unk = [None if token < 0 else token for token in self.special]

    def read_sections(self, reader):
        if not self.tokens or self.tokenization == BYTE:
            self.texts = [bytes([i]) for i in range(min(256, self.tokens))]
            return
        offsets = reader.section("I", self.tokens + 1)
        others = sorted(set(range(self.tokens)) - set(self.special))
        ids = reader.section("H", len(others))
        text = bytes(reader.section("B", self.text_len))
        self.texts = [text[a:b] for a, b in zip(offsets, offsets[1:])]
        assert ids == sorted(others, key=lambda token: self.texts[token])
        assert offsets[-1] == self.text_len and all(self.texts) and len(set(self.texts)) == self.tokens


class Layer:
    def __init__(self, reader, index):
        self.index = index
        self.kind, names = KINDS[reader.varint()]
        self.phase = reader.varint()
        self.inputs = [reader.varint() for _ in range(reader.varint())]
        assert all(vector // 2 < index for vector in self.inputs)
        for name in names.split():
            setattr(self, name, reader.varint())

    def resolve(self, layers):
        """Size and fraction bits that follow from earlier layers."""
        first = layers[self.inputs[0] // 2] if self.inputs else None
        if self.kind in ("sum", "mean"):
            self.size = first.size
        if self.kind == "mean":
            self.frac_bits = first.frac_bits
        elif self.kind == "recurrent":
            self.frac_bits = 15 - self.state_shift
            self.reads = "gate inputs" if first.kind == "gate inputs" else "vectors"
        elif self.kind in ("embedding", "tied"):
            self.frac_bits = 15

    def read_section(self, reader, layers):
        sizes = [layers[vector // 2].size for vector in self.inputs]
        columns = sum(map(round4, sizes))
        if self.kind in ("gate inputs", "embedding"):
            row = round4(self.size)
            values = reader.section("b", self.tokens * row)
            self.table = [values[token * row :][:row] for token in range(self.tokens)]
        elif self.kind == "frame":
            reader.section("b", self.size)
        elif self.kind == "constant":
            self.values = reader.section("i" if self.frac_bits == CELL_STATE else "h", round4(self.size))
        elif self.kind == "dense":
            self.rows = Rows()
            panels = round4(self.size) // 4
            for start in range(0, panels, 4):
                group = [self.rows] * min(4, panels - start)
                read_gate_group(reader, group, "B" * len(group), [(columns, self.format)])
            self.rows.check(self.size, sizes)
        elif self.kind == "recurrent":
            self.read_gates(reader, sizes)

    def read_gates(self, reader, sizes):
        parts = {"x": (sum(map(round4, sizes)), self.input_format), "h": (round4(self.size), self.hidden_format)}
        self.gates = {}
        for groups in PASSES[self.cell, self.reads]:
            for _ in range(round4(self.size) // 4):
                for params, gates, vectors in groups:
                    panels = [self.gates.setdefault(gate, Rows()) for gate in gates]
                    read_gate_group(reader, panels, params, [parts[vector] for vector in vectors])
            for params, gates, vectors in groups:
                for gate in gates:
                    self.gates[gate].check(self.size, {"x": sizes, "h": [self.size], "xh": [*sizes, self.size]}[vectors])


class Output:
    def __init__(self, reader):
        self.vector, self.role, self.every_step, self.normalization = (reader.varint() for _ in range(4))


class Model:
    def __init__(self, data):
        assert data[:4] == b"PIPS"
        crc, version, metadata, length, self.digest = struct.unpack_from("<IHHII", data, 4)
        assert (version, length) == (5, len(data))
        assert crc == zlib.crc32(data[8:])
        reader = Reader(data, 20)
        self.source, self.target = Vocabulary(reader), Vocabulary(reader)
        self.max_tokens, _ = reader.varint(), reader.varint()
        steps_per_token = [reader.varint() for _ in range(2)]
        self.steps_per_token = {SOURCE: steps_per_token[0], STEP: steps_per_token[1]}
        names = reader.varint()
        self.outputs = [Output(reader) for _ in range(reader.varint())]
        self.layers = [Layer(reader, index) for index in range(reader.varint())]
        reader.text(), reader.text(), reader.varint(), reader.varint(), reader.option(), reader.option()
        assert reader.at == 20 + metadata
        reader.at = round4(reader.at)
        self.source.read_sections(reader)
        self.target.read_sections(reader)
        for layer in self.layers:
            try:
                layer.resolve(self.layers)
                layer.read_section(reader, self.layers)
            except AssertionError as error:
                raise AssertionError(f"{layer.kind} layer {layer.index}: {error}") from error
        reader.section("B", names)
        assert reader.at == length
        self.phases = [phase for phase in (SOURCE, STEP) if self.of_phase(phase)]

    def of_phase(self, phase):
        return [layer for layer in self.layers if layer.phase == phase]

    def input_of(self, phase):
        """The layer of a phase that reads a token or a frame, if any."""
        kinds = ("gate inputs", "embedding", "tied", "frame")
        return next((layer for layer in self.of_phase(phase) if layer.kind in kinds), None)

    def begin_layers(self, phase):
        """The begin layers that run before the first input of a phase."""
        begin, source = self.of_phase(BEGIN), self.of_phase(SOURCE)
        if not source:
            return begin if phase == STEP else []
        return [layer for layer in begin if (layer.index < source[0].index) == (phase == SOURCE)]
