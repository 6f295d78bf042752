"""One training step of the codec, and the task of every family; the loop is in `training.py`.

GAN and StyleGAN2 stand in `adversarial.py`, the VAE in `vae_task.py`. Training room.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from counterproof.generators.adversarial import GanTask
from counterproof.generators.codec_net import CodecNet
from counterproof.generators.config import CodecConfig, Config, VaeConfig
from counterproof.generators.task import Autocast, Batch, Task, adam, schedule
from counterproof.generators.vae_task import VaeTask

__all__ = ["CodecTask", "make_task"]


class CodecTask(Task):
    """Rate against distortion at a random quality per picture."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config, self.net = config, CodecNet(config)
        self.nets = {"main": self.net}
        self.optimizers = {"main": adam(self.net, config.rate, 0.9)}

    def step(self, batch: Batch, autocast: Autocast) -> dict[str, float]:
        """Train on pictures twice the size: half the steps see crops, half see them shrunk."""
        schedule(self.optimizers["main"], self.config.rate, batch)
        x, n, device = batch.pixels / 2 + 0.5, len(batch.pixels), batch.pixels.device
        size = self.config.size
        if x.shape[2] > size:
            x = self._view(x, size, batch)
        quality = torch.randint(len(self.config.weights), (n,), generator=batch.rng, device=device)
        shape = (n, self.config.latent, size // 8, size // 8)
        noise = torch.rand(shape, generator=batch.rng, device=device) - 0.5
        with autocast():
            loss, error, bits = self.net.loss(x, quality, noise)
        self.update("main", loss, clip=1.0)
        psnr = -10 * math.log10(max(error.mean().item(), 1e-9))
        return {"loss": loss.item(), "psnr_db": psnr, "bits_per_pixel": bits.mean().item()}

    @staticmethod
    def _view(x: Tensor, size: int, batch: Batch) -> Tensor:
        if batch.step % 2:
            return F.interpolate(x, size=(size, size), mode="area")
        room = x.shape[2] - size + 1
        top, left = torch.randint(room, (2,), generator=batch.rng, device=x.device).tolist()
        return x[:, :, top : top + size, left : left + size]


def make_task(config: Config, device: torch.device, seed: int) -> Task:
    """Build the networks of a family from a seed, without touching the global stream."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        task: Task
        if isinstance(config, VaeConfig):
            task = VaeTask(config)
        elif isinstance(config, CodecConfig):
            task = CodecTask(config)
        else:
            task = GanTask(config)
    for net in task.nets.values():
        net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return task
