"""Train many models of one architecture side by side, each with its own start, data, optimiser settings and length.

In: a module that gives the computation, and lanes. Out: for each lane the tensors at each step it wanted saved, and its loss at the end.
All parameters of a lane lie in one row of one matrix, so the optimisers are a few operations on (lanes, values) whatever the
architecture. Lanes are sorted by length; those still running are always a prefix. Forward and backward run either lane by lane
(`functional_call`) or all lanes at once (`vmap`), see `at_once`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, vmap

from bench.zoo.architectures import Network

MOMENTUM = 0.9
BETAS = (0.9, 0.999)
EPSILON = 1e-8
TAIL_STEPS = 20  # the loss told is the mean over the last so many steps

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """One training.

    Args:
        start: parameters and buffers by name; not changed.
        batch: step -> (inputs, targets), the same shapes for all lanes that are trained together.
        frozen: names of parameters that must not move, bit for bit.
        frozen_stats: batch norm uses its running values and leaves them alone.
        decay_vectors: weight decay also on biases and norms (torch's default) instead of on matrices only.
        clip: largest length of a gradient, or None.
        saves: steps after which the tensors are wanted; the last one is the length of the training.
    """

    start: Mapping[str, Tensor]
    batch: Callable[[int], tuple[Tensor, Tensor]]
    optimiser: str
    learning_rate: float
    weight_decay: float
    schedule: str
    saves: tuple[int, ...]
    frozen: frozenset[str] = frozenset()
    frozen_stats: bool = False
    decay_vectors: bool = True
    clip: float | None = None

    @property
    def steps(self) -> int:
        return self.saves[-1]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingStates:
    """`states`: tensors by name for each entry of `saves`. `loss`: mean cross entropy (nats) over the last steps."""

    states: tuple[Tensors, ...]
    loss: float


def at_once(architecture: str, lanes: int, device: torch.device) -> bool:
    """Whether vmap over lanes beats a loop over lanes: on an accelerator, and on a CPU (measured by bench/zoo/speed.py) for a few lanes or
    more and everything but causal transformers, whose attention vmap runs lane by lane there. The LSTM has no batching rule."""
    if device.type == "cpu" and (lanes < 4 or architecture in ("gpt", "llama")):
        return False
    return architecture != "lstm"


def rate(schedule: str, step: int, steps: int) -> float:
    """Share of the learning rate at a step.

    Raises: ValueError: for a schedule that is none of constant, cosine, warmup, warmup-cosine.
    """
    warm = max(1, steps // 10)
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / steps))
    rise = min(1.0, (step + 1) / warm)
    left = max(0.0, (step - warm) / max(1, steps - warm))
    if schedule == "warmup":
        return rise * (1 - left)
    if schedule == "warmup-cosine":
        return rise * 0.5 * (1 + math.cos(math.pi * left))
    raise ValueError(f"no schedule {schedule!r}")


def train(network: Network, lanes: Sequence[Lane], device: torch.device, together: bool) -> list[TrainingStates]:
    """Train every lane; the answer of a lane does not depend on the others beyond rounding.

    Args:
        network: gives computation, names and shapes; its own values are not used.
        together: vmap over lanes instead of a loop.
    """
    done: dict[int, TrainingStates] = {}
    kinds = sorted({(lane.optimiser, lane.frozen_stats) for lane in lanes})
    for optimiser, frozen_stats in kinds:
        chosen = [i for i, lane in enumerate(lanes) if (lane.optimiser, lane.frozen_stats) == (optimiser, frozen_stats)]
        chosen.sort(key=lambda i: -lanes[i].steps)
        network.train(not frozen_stats)
        cohort = _Cohort(network, [lanes[i] for i in chosen], device, together)
        done.update(zip(chosen, cohort.run(), strict=True))
    return [done[i] for i in range(len(lanes))]


class _Cohort:
    """Lanes of one optimiser, longest first. `flat` is (lanes, values): all parameters of a lane in a row."""

    def __init__(self, network: Network, lanes: Sequence[Lane], device: torch.device, together: bool):
        self.network = network.to("meta") if together else network
        self.lanes, self.device, self.together = lanes, device, together
        self.names = [name for name, _ in network.named_parameters()]
        first = lanes[0].start
        self.shapes = [tuple(first[name].shape) for name in self.names]
        self.sizes = [first[name].numel() for name in self.names]
        self.flat = torch.stack(
            [torch.cat([lane.start[n].reshape(-1).float() for n in self.names]) for lane in lanes]
        ).to(device)
        self.buffers = {
            n: torch.stack([lane.start[n] for lane in lanes]).to(device) for n, _ in network.named_buffers()
        }
        self.grad = torch.zeros_like(self.flat)
        self.moving = self._values(lambda lane, name, shape: 0.0 if name in lane.frozen else 1.0)
        self.decayed = self.moving * self._values(
            lambda lane, name, shape: 1.0 if lane.decay_vectors or len(shape) > 1 else 0.0
        )
        self.first = torch.zeros_like(self.flat)
        self.second = torch.zeros_like(self.flat) if lanes[0].optimiser != "sgd" else None
        self.decay = torch.tensor([[lane.weight_decay] for lane in lanes], device=device)  # (lanes, 1)
        self.clip = torch.tensor([[lane.clip or math.inf] for lane in lanes], device=device)

    def _values(self, of: Callable[[Lane, str, tuple[int, ...]], float]) -> Tensor:
        """(lanes, values) from one number a lane and tensor."""
        table = torch.tensor(
            [[of(lane, n, s) for n, s in zip(self.names, self.shapes, strict=True)] for lane in self.lanes]
        )
        return table.repeat_interleave(torch.tensor(self.sizes), 1).to(self.device)

    def run(self) -> list[TrainingStates]:
        saved: list[list[Tensors]] = [[] for _ in self.lanes]
        tails: list[list[Tensor]] = [[] for _ in self.lanes]
        for step in range(self.lanes[0].steps):
            live = sum(step < lane.steps for lane in self.lanes)
            losses = self._gradients(step, live)
            rates = [lane.learning_rate * rate(lane.schedule, step, lane.steps) for lane in self.lanes[:live]]
            self._update(step, live, torch.tensor(rates, device=self.device)[:, None])
            for i, lane in enumerate(self.lanes[:live]):
                if step >= lane.steps - TAIL_STEPS:
                    tails[i].append(losses[i])
                if step + 1 in lane.saves:
                    saved[i].append(self._state(i))
        return [TrainingStates(tuple(s), float(torch.stack(t).mean())) for s, t in zip(saved, tails, strict=True)]

    def _gradients(self, step: int, live: int) -> Tensor:
        """Fill `grad` of the live lanes; gives their losses, (live,)."""
        batches = [lane.batch(step) for lane in self.lanes[:live]]
        if self.together:
            inputs, targets = (torch.stack(part) for part in zip(*batches, strict=True))
            leaf = self.flat[:live].detach().requires_grad_()
            buffers = {n: b[:live] for n, b in self.buffers.items()}
            losses = vmap(self._loss)(leaf, buffers, inputs, targets)
            self.grad[:live] = torch.autograd.grad(losses.sum(), leaf)[0]
            return losses.detach()
        told = []
        for i, (inputs, targets) in enumerate(batches):
            leaf = self.flat[i].detach().requires_grad_()
            loss = self._loss(leaf, {n: b[i] for n, b in self.buffers.items()}, inputs, targets)
            self.grad[i] = torch.autograd.grad(loss, leaf)[0]
            told.append(loss.detach())
        return torch.stack(told)

    def _loss(self, row: Tensor, buffers: Tensors, inputs: Tensor, targets: Tensor) -> Tensor:
        parts = row.split(self.sizes)
        tensors = {n: p.view(s) for n, p, s in zip(self.names, parts, self.shapes, strict=True)}
        logits = functional_call(self.network, (tensors, buffers), (inputs,))
        return F.cross_entropy(logits.flatten(0, -2), targets.flatten())

    def _update(self, step: int, live: int, rates: Tensor) -> None:
        """One step of torch's SGD with momentum, Adam (decay in the gradient) or AdamW (decay beside it); rates is (live, 1)."""
        flat, grad, first, moving = self.flat[:live], self.grad[:live], self.first[:live], self.moving[:live]
        decay = self.decay[:live] * self.decayed[:live]
        grad *= moving
        grad *= (self.clip[:live] / grad.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp_max(1.0)
        if self.lanes[0].optimiser == "adamw":
            flat.mul_(1 - rates * decay)
        else:
            grad.addcmul_(flat, decay)
        if self.second is None:
            first.mul_(MOMENTUM).add_(grad)
            flat.addcmul_(first, -rates.expand_as(first))
            return
        second = self.second[:live]
        first.lerp_(grad, 1 - BETAS[0])
        second.mul_(BETAS[1]).addcmul_(grad, grad, value=1 - BETAS[1])
        below = (second / (1 - BETAS[1] ** (step + 1))).sqrt_().add_(EPSILON)
        flat.addcdiv_(first * (-rates / (1 - BETAS[0] ** (step + 1))), below)

    def _state(self, i: int) -> Tensors:
        parts = self.flat[i].split(self.sizes)
        tensors = {n: p.view(s).cpu().clone() for n, p, s in zip(self.names, parts, self.shapes, strict=True)}
        return tensors | {n: b[i].cpu().clone() for n, b in self.buffers.items()}
