"""Several processes that train one model, as `torchrun` starts them. Training room.

Each trains on batches of its own. Gradients and what steers the training are averaged, so that
all hold the same weights; the first process writes.
"""

import os

import torch
from torch import nn

__all__ = ["agreed", "average", "average_gradients", "device_of", "join", "leave"]


def join() -> tuple[int, int]:
    """Return rank and number of processes, as `torchrun` set them."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return 0, 1
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return torch.distributed.get_rank(), world


def leave() -> None:
    """Wait for the others and end the group, if there is one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def device_of(name: str) -> torch.device:
    """Return the device of this process; `cuda` is the GPU that `torchrun` gave it."""
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return torch.device(name)


def average_gradients(net: nn.Module) -> None:
    """Average the gradients of a network over all processes."""
    world = torch.distributed.get_world_size()
    for parameter in net.parameters():
        if parameter.grad is not None:
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= world


def average(value: float, device: torch.device) -> float:
    """Return the mean of a number over all processes; the number itself in one process."""
    if not torch.distributed.is_initialized():
        return value
    held = torch.tensor(value, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(held)
    return held.item() / torch.distributed.get_world_size()


def agreed(flag: bool, device: torch.device) -> bool:
    """Whether any process says yes, so that all leave a loop at the same step."""
    return average(float(flag), device) > 0
