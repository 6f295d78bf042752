"""Pseudo-pictures: whole photographs passed through decoders that were trained here.

A generator's last step is a decoder, and what it leaves is what a detector looks for. A
photograph that went through such a decoder shows the same scene with those traces, and costs
no machine-made picture. Decoders of many kinds are trained on the photographs themselves:
strides 2, 4 and 8; four ways to enlarge; plain, noisy and adversarial. Pictures are decoded
whole; resizing and recompression come after, with the deliveries of training.

Source: reconstruction as training material: Chen et al., DRCT, ICML 2024, and arXiv 2505.14359
(DDA); kinds of enlarging: Zhang et al., arXiv 1907.06515.
"""

import csv
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counterproof.detectors.deliveries import within
from counterproof.detectors.gathering import open_picture
from counterproof.detectors.samples import Sample
from counterproof.errors import ImageError, MissingExtra, UserError

__all__ = ["KINDS", "Kind", "decoded", "patches", "trained", "write_pictures"]

PATCH = 96
"""Edge of a training patch in pixels."""

POOL = 4_000
"""Most patches that are cut from photographs to train decoders on: 110 MB."""

STRIP, MARGIN = 256, 64
"""Rows that are decoded at once, and rows around them that a decoder may look at: it sees less than
40 pixels far, so that strips give what the whole would, in a fraction of the memory."""

SIDE = 1024
"""Longer edge that a photograph is reduced to before it is decoded: bounds time and memory."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of decoder.

    Attributes:
        stride: pixels that one latent covers, a side: 2, 4 or 8.
        enlarging: `nearest`, `bilinear`, `transposed` or `shuffle`.
        latent: `plain`, or `noisy` as in a VAE.
        adversarial: whether a small critic of patches takes part.
    """

    stride: int
    enlarging: str
    latent: str = "plain"
    adversarial: bool = False

    @property
    def name(self) -> str:
        """Return a name for files and sources."""
        parts = [f"{self.stride}", self.enlarging, self.latent]
        return "-".join([*parts, *(["adversarial"] if self.adversarial else [])])


KINDS = tuple(
    Kind(stride, enlarging, ("plain", "noisy")[number % 2], number % 3 == 2)
    for number, (stride, enlarging) in enumerate(
        itertools.product((2, 4, 8), ("nearest", "bilinear", "transposed", "shuffle"))
    )
)
"""Twelve kinds: each stride with each way to enlarge; half are noisy, a third adversarial."""


def _torch() -> Any:
    try:
        import torch
    except ImportError as err:
        raise MissingExtra("training decoders (torch)", "train") from err
    return torch


def autoencoder(kind: Kind, width: int = 24, channels: int = 8) -> Any:
    """Return an untrained autoencoder: `float` pictures -1 to 1, `(N, 3, H, W)`, to the same."""
    torch = _torch()
    nn = torch.nn
    halvings = kind.stride.bit_length() - 1
    encoder: list[Any] = [nn.Conv2d(3, width, 3, 1, 1), nn.SiLU()]
    decoder: list[Any] = [nn.Conv2d(channels, width, 3, 1, 1), nn.SiLU()]
    for _ in range(halvings):
        encoder += [nn.Conv2d(width, width, 4, 2, 1), nn.SiLU()]
        if kind.enlarging == "transposed":
            decoder += [nn.ConvTranspose2d(width, width, 4, 2, 1), nn.SiLU()]
        elif kind.enlarging == "shuffle":
            decoder += [nn.Conv2d(width, 4 * width, 3, 1, 1), nn.PixelShuffle(2), nn.SiLU()]
        else:
            smooth = {} if kind.enlarging == "nearest" else {"align_corners": False}
            decoder += [
                nn.Upsample(scale_factor=2, mode=kind.enlarging, **smooth),
                nn.Conv2d(width, width, 3, 1, 1),
                nn.SiLU(),
            ]
    encoder.append(nn.Conv2d(width, channels, 3, 1, 1))
    decoder.append(nn.Conv2d(width, 3, 3, 1, 1))
    return nn.ModuleDict({"encoder": nn.Sequential(*encoder), "decoder": nn.Sequential(*decoder)})


def trained(
    kind: Kind,
    pool: NDArray[np.uint8],
    *,
    steps: int = 400,
    batch: int = 8,
    seed: int = 0,
    device: str = "cpu",
) -> Any:
    """Train one autoencoder on patches of photographs.

    Args:
        kind: of the decoder.
        pool: what `patches` returns.
        steps: of training, 0.1 to 0.3 s of CPU each.
        batch: patches of one step.
        seed: of weights and patches.
        device: `cpu` or `cuda`.

    Raises:
        MissingExtra: without torch.
    """
    torch = _torch()
    nn = torch.nn
    torch.manual_seed(seed)
    net = autoencoder(kind).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    critic = nn.Sequential(
        nn.Conv2d(3, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1),
        nn.LeakyReLU(0.2), nn.Conv2d(32, 1, 3, 1, 1),
    ).to(device)  # fmt: skip
    against = torch.optim.AdamW(critic.parameters(), lr=1e-3)
    for step in range(steps):
        rng = np.random.default_rng([seed, step])
        drawn = pool[rng.integers(len(pool), size=batch)].transpose(0, 3, 1, 2)  # [N3HW]
        given = torch.from_numpy(drawn.astype(np.float32) / 127.5 - 1).to(device)
        latent = net["encoder"](given)
        if kind.latent == "noisy":
            latent = latent + 0.2 * torch.randn_like(latent)
        made = net["decoder"](latent)
        loss = (made - given).abs().mean() + 1e-3 * (latent**2).mean()
        if kind.adversarial and step >= steps // 3:
            apart = torch.relu(1 - critic(given)).mean()
            apart = apart + torch.relu(1 + critic(made.detach())).mean()
            against.zero_grad()
            apart.backward()
            against.step()
            loss = loss - 0.02 * critic(made).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.cpu().eval()


def patches(pictures: Sequence[Path], seed: int = 0) -> NDArray[np.uint8]:
    """Cut patches from photographs, as many from each, shape `(N, PATCH, PATCH, 3)`.

    Raises:
        ImageError: if a photograph cannot be read.
    """
    rng = np.random.default_rng(seed)
    found = []
    for path in pictures[:POOL]:
        pixels = np.asarray(within(open_picture(path), SIDE))
        for _ in range(max(1, min(20, POOL // len(pictures)))):
            y, x = (int(rng.integers(max(1, edge - PATCH + 1))) for edge in pixels.shape[:2])
            patch = pixels[y : y + PATCH, x : x + PATCH]
            if patch.shape[:2] == (PATCH, PATCH):
                found.append(patch)
    return np.stack(found)


def decoded(net: Any, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pass a whole picture through an autoencoder.

    Args:
        net: what `trained` returns.
        pixels: `uint8` RGB, shape `(H, W, 3)`.

    Returns:
        The same shape; the edges are mirrored to whole blocks first and cut afterwards.
    """
    height, width = pixels.shape[:2]
    whole = np.pad(pixels, ((0, -height % 8), (0, -width % 8), (0, 0)), mode="symmetric")
    strips = []
    for top in range(0, len(whole), STRIP):
        above = min(MARGIN, top)
        made = _run(net, whole[top - above : top + STRIP + MARGIN])
        strips.append(made[above : above + STRIP])
    return np.concatenate(strips)[:height, :width]


def _run(net: Any, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    torch = _torch()
    with torch.inference_mode():
        given = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32)) / 127.5 - 1
        made = net["decoder"](net["encoder"](given))[0].numpy().transpose(1, 2, 0)
    return np.asarray(((made + 1) * 127.5).round().clip(0, 255), np.uint8)


def write_pictures(
    photographs: Sequence[Sample],
    folder: Path,
    *,
    kinds: Sequence[Kind] = KINDS,
    steps: int = 400,
    seed: int = 0,
    told: Callable[[str], None] = lambda text: None,
) -> Path:
    """Train decoders and pass each photograph through one of them, in turn.

    Decoders and pictures that the folder holds are not made again.

    Args:
        photographs: with their sources.
        folder: gets `decoders/KIND.safetensors`; `pictures/…png`, each photograph as it goes
            into a decoder and as it comes out, so that size and format say nothing; and
            `pseudo.csv`, a table of both, where what comes out has the kind as its source.
        kinds: of decoders.
        steps: of training of each.
        seed: of everything random.
        told: gets a line for each decoder and each photograph that cannot be read.

    Returns:
        The table.

    Raises:
        UserError: if no photograph can be read.
    """
    readable = [sample for sample in photographs if _is_readable(sample.path, told)]
    if not readable:
        raise UserError("expected readable photographs to train decoders on")
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    key = f"{steps} {seed} {len(readable)}"
    rows: list[tuple[str, str, str]] = []
    pool: NDArray[np.uint8] | None = None
    for turn, kind in enumerate(kinds[: len(readable)]):
        own = readable[turn :: len(kinds)]
        names = [f"pictures/{kind.name}-{number:05}" for number in range(len(own))]
        if not all((folder / f"{name}.png").exists() for name in names):
            net = _kept(kind, folder / "decoders", key)
            if net is None:
                pool = patches([sample.path for sample in readable], seed) if pool is None else pool
                net = trained(kind, pool, steps=steps, seed=seed)
                _keep(net, kind, folder / "decoders", key)
            for name, sample in zip(names, own, strict=True):
                if not (folder / f"{name}.png").exists():
                    picture = within(open_picture(sample.path), SIDE)
                    _write(picture, folder / f"{name}-before.png")
                    made = decoded(net, np.asarray(picture))
                    _write(Image.fromarray(made), folder / f"{name}.png")
        for name, sample in zip(names, own, strict=True):
            rows.append((f"{name}-before.png", "real", sample.source))
            rows.append((f"{name}.png", "fake", f"pseudo-{kind.name}"))
        told(f"{turn + 1} of {len(kinds)} kinds: {kind.name}, {len(own)} pictures")
    table = folder / "pseudo.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label", "source"))
        writer.writerows(rows)
    return table


def _is_readable(path: Path, told: Callable[[str], None]) -> bool:
    try:
        open_picture(path)
    except ImageError as err:
        told(f"skipped {err}")
        return False
    return True


def _write(picture: Image.Image, target: Path) -> None:
    partial = target.with_suffix(".part")
    picture.save(partial, "PNG", compress_level=1)
    partial.replace(target)


def _kept(kind: Kind, folder: Path, key: str) -> Any:
    """Return the decoder that the folder keeps for the same training, or None."""
    from safetensors import safe_open

    file = folder / f"{kind.name}.safetensors"
    if not file.is_file():
        return None
    with safe_open(file, "pt") as kept:
        if kept.metadata().get("key") != key:
            return None
        net = autoencoder(kind)
        net.load_state_dict({name: kept.get_tensor(name) for name in net.state_dict()})
    return net.eval()


def _keep(net: Any, kind: Kind, folder: Path, key: str) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{kind.name}.part"
    save_file(dict(net.state_dict()), partial, metadata={"key": key})
    partial.replace(folder / f"{kind.name}.safetensors")
