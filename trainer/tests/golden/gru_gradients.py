"""Writes gru_gradients.json: a small two-layer GRU language model in PyTorch (float64), its loss and gradients.

Run: python3 gru_gradients.py > gru_gradients.json    (made with PyTorch 2.15)

PyTorch orders the gates r, z, n; the file has them as z, r, h. Weights are flat, as trainer/src/train/model.rs lays them out:
for each layer W [3H][I], U [3H][H], Wb [3H], Rbh [H]; then the head's weights [V][H] and biases [V].
The loss is the sum over all predictions, in nats. The recurrent biases of z and r are 0 and not trained.
"""

import json
import math

import torch

V, H, T, B = 5, 4, 6, 3
torch.set_default_dtype(torch.float64)


def values(count, phase):
    """Numbers that look random, the same everywhere, exact in float32."""
    return torch.tensor([round(math.sin(phase + 1.7 * i * i) * 0.6 * 4096) / 4096 for i in range(count)])


def swap(gates):
    """r, z, n <-> z, r, h along the first axis."""
    r, z, n = gates.chunk(3)
    return torch.cat([z, r, n])


def main():
    rnn = torch.nn.GRU(V, H, num_layers=2)
    head = torch.nn.Linear(H, V)
    layers, phase = [], 0
    for layer, inputs in enumerate([V, H]):
        w, u = values(3 * H * inputs, phase).view(3 * H, inputs), values(3 * H * H, phase + 1).view(3 * H, H)
        wb, rbh = values(3 * H, phase + 2), values(H, phase + 3)
        getattr(rnn, f"weight_ih_l{layer}").data = swap(w).clone()
        getattr(rnn, f"weight_hh_l{layer}").data = swap(u).clone()
        getattr(rnn, f"bias_ih_l{layer}").data = swap(wb).clone()
        getattr(rnn, f"bias_hh_l{layer}").data = torch.cat([torch.zeros(2 * H), rbh])
        layers += [w.flatten(), u.flatten(), wb, rbh]
        phase += 4
    head.weight.data, head.bias.data = values(V * H, phase).view(V, H), values(V, phase + 1)
    parameters = torch.cat(layers + [head.weight.data.flatten(), head.bias.data])

    inputs = torch.tensor([[(3 * t + 2 * b + t * b) % V for b in range(B)] for t in range(T)])
    targets = torch.tensor([[(t * t + b + 1) % V for b in range(B)] for t in range(T)])
    state = values(2 * H * B, 20).view(2, H, B)
    output, last = rnn(torch.nn.functional.one_hot(inputs, V).double(), state.permute(0, 2, 1).contiguous())
    loss = torch.nn.functional.cross_entropy(head(output).view(-1, V), targets.view(-1), reduction="sum")
    loss.backward()

    gradient = []
    for layer in range(2):
        gradient.append(swap(getattr(rnn, f"weight_ih_l{layer}").grad).flatten())
        gradient.append(swap(getattr(rnn, f"weight_hh_l{layer}").grad).flatten())
        gradient.append(swap(getattr(rnn, f"bias_ih_l{layer}").grad))
        gradient.append(getattr(rnn, f"bias_hh_l{layer}").grad[2 * H :])
    gradient += [head.weight.grad.flatten(), head.bias.grad]
    print(
        json.dumps(
            {
                "tokens": V,
                "hidden": H,
                "layers": 2,
                "steps": T,
                "batch": B,
                "inputs": inputs.flatten().tolist(),
                "targets": targets.flatten().tolist(),
                "parameters": parameters.tolist(),
                "state": state.flatten().tolist(),
                "loss": loss.item(),
                "last_state": last.permute(0, 2, 1).flatten().tolist(),
                "gradient": [float(f"{g:.9g}") for g in torch.cat(gradient).tolist()],
            }
        )
    )


main()
