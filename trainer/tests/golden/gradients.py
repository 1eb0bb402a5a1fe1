"""Writes gradients.json: small language models of recurrent layers in PyTorch (float64), their losses and gradients.

Run: python3 gradients.py > gradients.json    (made with PyTorch 2.15)

PyTorch orders the gates of a GRU r, z, n and those of an LSTM i, f, g, o; the file has them as z, r, h and i, o, f, c.
Weights are flat, as trainer/src/train/model.rs lays them out: for each layer W [GH][I], U [GH][H], Wb [GH] and, of a GRU, Rbh [H];
then the head's weights [V][H] and biases [V]. All other recurrent biases are 0 and not trained. States are [H][B], of an LSTM
h and then c. The loss is the sum over all predictions, in nats.
"""

import json
import math

import torch

V, H, T, B = 5, 4, 6, 3
torch.set_default_dtype(torch.float64)

MODULES = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM, "rnn": torch.nn.RNN}
# PyTorch's gates in the file's order, and the way back.
OURS = {"gru": [1, 0, 2], "lstm": [0, 3, 1, 2], "rnn": [0]}
THEIRS = {"gru": [1, 0, 2], "lstm": [0, 2, 3, 1], "rnn": [0]}


def values(count, phase):
    """Numbers that look random, the same everywhere, exact in float32."""
    return torch.tensor([round(math.sin(phase + 1.7 * i * i) * 0.6 * 4096) / 4096 for i in range(count)])


def reorder(gates, order):
    """Puts the gates along the first axis into another order."""
    chunks = gates.chunk(len(order))
    return torch.cat([chunks[i] for i in order])


def case(cells):
    layers, parameters, states, last_states, phase = [], [], [], [], 0
    for depth, cell in enumerate(cells):
        inputs, gates = [H, V][depth == 0], len(OURS[cell])
        layer = MODULES[cell](inputs, H)
        w, u = values(gates * H * inputs, phase).view(-1, inputs), values(gates * H * H, phase + 1).view(-1, H)
        wb, rbh = values(gates * H, phase + 2), values(H, phase + 3)
        rb = torch.zeros(gates * H)
        parameters += [w.flatten(), u.flatten(), wb]
        if cell == "gru":
            rb[2 * H :] = rbh
            parameters.append(rbh)
        tensors = {"weight_ih_l0": w, "weight_hh_l0": u, "bias_ih_l0": wb, "bias_hh_l0": rb}
        for name, tensor in tensors.items():
            getattr(layer, name).data = reorder(tensor, THEIRS[cell]).clone()
        layers.append(layer)
        phase += 4
    head = torch.nn.Linear(H, V)
    head.weight.data, head.bias.data = values(V * H, phase).view(V, H), values(V, phase + 1)
    parameters += [head.weight.data.flatten(), head.bias.data]

    inputs = torch.tensor([[(3 * t + 2 * b + t * b) % V for b in range(B)] for t in range(T)])
    targets = torch.tensor([[(t * t + b + 1) % V for b in range(B)] for t in range(T)])
    x = torch.nn.functional.one_hot(inputs, V).double()
    for depth, (cell, layer) in enumerate(zip(cells, layers)):
        count = 2 if cell == "lstm" else 1
        state = values(count * H * B, 20 + depth)
        states.append(state)
        first = [part.t().unsqueeze(0).contiguous() for part in state.view(count, H, B)]
        x, last = layer(x, tuple(first) if count == 2 else first[0])
        last_states += [part[0].t().flatten() for part in (last if count == 2 else [last])]
    loss = torch.nn.functional.cross_entropy(head(x).view(-1, V), targets.view(-1), reduction="sum")
    loss.backward()

    gradient = []
    for cell, layer in zip(cells, layers):
        for name in ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0"]:
            gradient.append(reorder(getattr(layer, name).grad, OURS[cell]).flatten())
        if cell == "gru":
            gradient.append(layer.bias_hh_l0.grad[2 * H :])
    gradient += [head.weight.grad.flatten(), head.bias.grad]
    return {
        "cells": ",".join(cells),
        "tokens": V,
        "hidden": H,
        "steps": T,
        "batch": B,
        "inputs": inputs.flatten().tolist(),
        "targets": targets.flatten().tolist(),
        "parameters": torch.cat(parameters).tolist(),
        "state": torch.cat(states).tolist(),
        "loss": loss.item(),
        "last_state": torch.cat(last_states).tolist(),
        "gradient": [float(f"{g:.9g}") for g in torch.cat(gradient).tolist()],
    }


def main():
    stacks = [["gru", "gru"], ["lstm", "lstm"], ["rnn", "rnn"], ["lstm", "rnn", "gru"]]
    print("[\n" + ",\n".join(json.dumps(case(cells)) for cells in stacks) + "\n]")


main()
