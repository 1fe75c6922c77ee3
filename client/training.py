"""Local DP-SGD in Opacus's classes: Poisson samples and noise from a cryptographic stream.

Sampling rate, expected batch, steps, clipping norm and noise are the plan's constants, whatever the data:
one more row changes none of them. One row is one data subject; all heads are in one loss. The engine is
behind `train`, so that a faster one can take its place.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from privacy.noise import CryptographicStream
from privacy.plan import Plan
from profiles.model import ProfileModel, parameters_of, set_parameters

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer


@dataclass(frozen=True, slots=True)
class Rows:
    """Normalised inputs (n, inputs) and labels (n, tasks), float32, one row per data subject."""

    inputs: NDArray[np.float32]
    labels: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """What a training release looked like inside the region; exact, so it never leaves."""

    share_clipped: float
    mean_norm: float
    loss: float
    signal_to_noise: float


@dataclass(frozen=True, slots=True)
class Trained:
    """Parameters after the local steps, float32 (p,), and facts for the region's own eyes."""

    parameters: NDArray[np.float32]
    facts: TrainingFacts


class CryptographicOptimizer(DPOptimizer):  # type: ignore[misc]  # opacus is untyped
    """Opacus's optimizer with noise from a cryptographic stream."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, *, stream: CryptographicStream, plan: Plan, expected: float
    ) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=plan.training.noise_multiplier,
            max_grad_norm=plan.training.clipping_norm,
            expected_batch_size=expected,
        )
        self._stream = stream
        self.norms: list[torch.Tensor] = []

    def clip_and_accumulate(self) -> None:
        """Leaves out gradients that are not finite, keeps the norms for the region, clips as Opacus does.

        One subject's infinite gradient would otherwise turn the sum into a sign that they are there.
        """
        usable = torch.stack([sample.flatten(1).isfinite().all(dim=1) for sample in self.grad_samples])
        for parameter in self.params:
            parameter.grad_sample[~usable.all(dim=0)] = 0
        flat = [sample.flatten(1).norm(dim=1) for sample in self.grad_samples]
        self.norms.append(torch.stack(flat, dim=1).norm(dim=1))
        super().clip_and_accumulate()

    def add_noise(self) -> None:
        """Adds normal noise of deviation noise_multiplier * max_grad_norm to each clipped sum."""
        scale = self.noise_multiplier * self.max_grad_norm
        for parameter in self.params:
            noise = torch.from_numpy(self._stream.normals(parameter.numel())).view_as(parameter)
            parameter.grad = (parameter.summed_grad + scale * noise).to(parameter.dtype)


def build_model(plan: Plan, inputs: int) -> ProfileModel:
    """Returns the plan's model for `inputs` inputs, parameters unset."""
    return ProfileModel(plan.model.kind, inputs=inputs, hidden=plan.model.hidden, tasks=tuple(plan.tasks))


def train(
    plan: Plan, *, region: str, rows: Rows, start: NDArray[np.float32], stream: CryptographicStream
) -> Trained:
    """Takes the plan's local steps from start and returns where they lead.

    Gradients are divided by the public expected batch q * training size, never by a count of rows.

    | nobody sampled -> the step is noise only | rows empty -> likewise | q = 1 -> everyone in each step |
    """
    training = plan.training
    model = build_model(plan, rows.inputs.shape[1])
    set_parameters(model, start)
    hooked = GradSampleModule(model, loss_reduction="sum")
    plain = torch.optim.SGD(hooked.parameters(), lr=training.learning_rate, momentum=training.momentum)
    expected = training.sampling_rate * plan.training_size(region)
    optimizer = CryptographicOptimizer(plain, stream=stream, plan=plan, expected=expected)
    inputs, labels = torch.from_numpy(rows.inputs), torch.from_numpy(rows.labels)
    losses = []
    for _ in range(training.local_steps):
        sample = torch.from_numpy(stream.poisson_sample(len(inputs), training.sampling_rate))
        optimizer.zero_grad(set_to_none=True)
        batch = inputs[sample].requires_grad_()  # or torch warns that Opacus's hooks fire early
        loss = binary_cross_entropy_with_logits(hooked(batch), labels[sample], reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        losses.append(loss.detach() / max(1, len(sample)))
    parameters = parameters_of(model)
    return Trained(parameters, _facts(optimizer, losses, parameters - start))


def _facts(
    optimizer: CryptographicOptimizer, losses: list[torch.Tensor], update: NDArray[np.float32]
) -> TrainingFacts:
    norms = torch.cat(optimizer.norms)
    bound = optimizer.max_grad_norm
    clipped_sum = float(norms.clamp(max=bound).sum()) / len(losses)
    noise = optimizer.noise_multiplier * bound * update.size**0.5
    return TrainingFacts(
        share_clipped=float((norms > bound).float().mean()) if len(norms) else 0.0,
        mean_norm=float(norms.mean()) if len(norms) else 0.0,
        loss=float(torch.stack(losses).mean()),
        signal_to_noise=clipped_sum / noise,
    )
