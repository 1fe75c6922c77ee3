"""The profile models: a trunk, and a linear head per task that gives one logit.

Parameters travel as one flat float32 vector in a fixed order. Shapes follow from the plan alone.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters


class ProfileModel(nn.Module):
    """Inputs (n, inputs) -> logits (n, tasks). logistic has no trunk; mlp has one tanh layer."""

    def __init__(
        self, kind: Literal["logistic", "mlp"], *, inputs: int, hidden: int, tasks: tuple[str, ...]
    ) -> None:
        super().__init__()
        mlp = kind == "mlp"
        self.trunk = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh()) if mlp else nn.Identity()
        self.heads = nn.ModuleDict({task: nn.Linear(hidden if mlp else inputs, 1) for task in tasks})

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Returns logits, float32 (n, tasks), tasks in the order given."""
        shared = self.trunk(rows)
        return torch.cat([head(shared) for head in self.heads.values()], dim=1)


def parameters_of(model: nn.Module) -> NDArray[np.float32]:
    """Returns all parameters as one float32 vector."""
    return parameters_to_vector(model.parameters()).detach().numpy().astype(np.float32)


def set_parameters(model: nn.Module, values: NDArray[np.float32]) -> None:
    """Sets all parameters from one vector.

    Raises:
        ValueError: the vector has not as many values as the model.
    """
    wanted = sum(parameter.numel() for parameter in model.parameters())
    if len(values) != wanted:
        raise ValueError(f"the model has {wanted} parameters, got {len(values)}")
    vector_to_parameters(torch.from_numpy(values.astype(np.float32)), model.parameters())


def initial_parameters(model: ProfileModel, seed: int) -> NDArray[np.float32]:
    """Returns public initial values: heads zero, trunk Xavier-uniform from seed."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.startswith("trunk") and parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter, generator=generator)
        else:
            nn.init.zeros_(parameter)
    return parameters_of(model)
