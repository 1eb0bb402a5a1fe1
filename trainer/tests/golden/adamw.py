"""Prints what the test of optimizer.rs expects: torch.optim.AdamW on one parameter."""

import torch

for decay in (0.5, 0.0):
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([parameter], lr=0.1, betas=(0.9, 0.99), weight_decay=decay)
    for gradient in (1.0, -2.0, 0.5):
        parameter.grad = torch.tensor([gradient])
        optimizer.step()
    print(f"weight_decay {decay}: {parameter.item():.9f}")
