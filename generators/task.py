"""What every training step has: a batch, networks with their optimisers, numbers to keep.

A task owns networks and optimisers. Its step takes a batch and a random stream made for that
step alone, so that a run that was stopped goes on bit for bit. Training room.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.optim import Optimizer

__all__ = ["Autocast", "Batch", "Task", "adam", "iterate_state", "normal", "schedule"]

Autocast = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step sees.

    Attributes:
        pixels: `(N, 3, H, W)`, -1 to 1.
        labels: one-hot, `(N, classes)`; `(N, 0)` without classes.
        rng: the random stream of this step, on the device of the pixels.
        step: number of the step, from 0.
        done: share of the training that is done, 0 to 1.
        images: pictures seen before this step.
    """

    pixels: Tensor
    labels: Tensor
    rng: torch.Generator
    step: int
    done: float
    images: int = 0


class Task:
    """Base of the tasks.

    Attributes:
        nets: by name, saved in checkpoints; the one called `main` is averaged and exported.
        optimizers: by the name of the net they train.
        numbers: other state of the training, saved in checkpoints.
        shared: called on a net's gradients before each update, to average them over processes.
        shared_number: the same of a number that steers the training.
    """

    def __init__(self) -> None:
        self.nets: dict[str, nn.Module] = {}
        self.optimizers: dict[str, Optimizer] = {}
        self.numbers: dict[str, float] = {}
        self.shared: Callable[[nn.Module], None] = lambda net: None
        self.shared_number: Callable[[float], float] = lambda value: value

    def step(self, batch: Batch, autocast: Autocast) -> dict[str, float]:
        """Train on one batch; return what to log."""
        raise NotImplementedError

    def update(self, name: str, loss: Tensor, clip: float | None = None) -> None:
        """Take one optimiser step on a net."""
        net, optimizer = self.nets[name], self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.shared(net)
        if clip is not None:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()


def adam(net: nn.Module, rate: float, first: float) -> "Optimizer":
    """Return an Adam optimiser; `first` is its momentum, 0 against a discriminator."""
    return torch.optim.Adam(net.parameters(), rate, (first, 0.99))


def normal(batch: Batch, width: int) -> Tensor:
    """Draw `(N, width)` normal numbers from a step's own stream."""
    shape = (len(batch.pixels), width)
    return torch.randn(shape, generator=batch.rng, device=batch.pixels.device)


def schedule(
    optimizer: "Optimizer", rate: float, batch: Batch, hold: float = 0.5, warm_up: int = 100
) -> None:
    """Set the learning rate: rise over the first steps, hold, then fall linearly to a fiftieth.

    Args:
        optimizer: to set.
        rate: the highest.
        batch: says how far the training is.
        hold: share of the training after which the rate falls.
        warm_up: steps of the rise.
    """
    factor = min(1.0, (batch.step + 1) / warm_up)
    factor *= min(1.0, max(0.02, (1 - batch.done) / (1 - hold)))
    for group in optimizer.param_groups:
        group["lr"] = rate * factor


def iterate_state(task: Task) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor of a task that a checkpoint must hold, by a stable name."""
    for name, net in task.nets.items():
        for key, tensor in net.state_dict().items():
            yield f"net.{name}.{key}", tensor
    for name, optimizer in task.optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            for key, tensor in state.items():
                yield f"optimizer.{name}.{index}.{key}", tensor
