"""Train the watermark's learned demodulator, `provenance/weights/demodulator.onnx`.

    python benchmarks/train_watermark_demodulator.py --data FOLDER --minutes 10 -o demodulator.onnx

FOLDER is the development set of detectors: `dev/manifest.csv` names pictures and licences; only
those with `train_shipped=yes` are used. Random chips are drawn into them as `embed` draws, the
pictures are spoiled as platforms do, read off at the chips with a small error of place, and a
small network learns to tell each chip's sign. It sees what `watermark_demod.features` computes.
Needs the extra `train` and onnx. One thread; same seed and steps, same weights up to rounding.
"""

import argparse
import csv
import math
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterproof.provenance import watermark_mask, watermark_plane
from counterproof.provenance.watermark_code import Profile
from counterproof.provenance.watermark_demod import CHANNELS, features

PATCH = 96


class Demodulator(nn.Module):
    """Features to a field of chip values: four residual convolutions beside a linear filter."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        make = {"padding_mode": "reflect"}
        self.enter = nn.Conv2d(CHANNELS, channels, 3, padding=1, **make)
        self.hidden = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=d, dilation=d, **make) for d in (1, 2, 1, 1)
        )
        self.leave = nn.Conv2d(channels, 1, 3, padding=1, **make)
        self.skip = nn.Conv2d(CHANNELS, 1, 5, padding=2, **make)

    def forward(self, x: Tensor) -> Tensor:
        """Map features, `(N, CHANNELS, H, W)`, to a field, `(N, 1, H, W)`."""
        y = F.leaky_relu(self.enter(x), 0.1)
        for layer in self.hidden:
            y = F.leaky_relu(y + layer(y), 0.1)
        return self.leave(y) + self.skip(x)


def spoil(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Do to a picture what platforms and people do; may change its size."""
    height, width = pixels.shape[:2]
    if rng.random() < 0.15:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.5, 2.2))
    if rng.random() < 0.15:
        noise = rng.normal(0, rng.uniform(2, 11), pixels.shape)
        pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.1:
        soft = cv2.GaussianBlur(pixels, (0, 0), 1.5)
        pixels = cv2.addWeighted(pixels, 2, soft, -1, 0)
    if rng.random() < 0.6:
        size = rng.choice([0.4, 0.5, 0.5, 0.6, 0.75, 0.9])
        small = round(width * size), round(height * size)
        pixels = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    if rng.random() < 0.85:
        quality = int(rng.choice([30, 40, 50, 50, 50, 60, 70, 75, 80, 90, 95]))
        setting = cv2.IMWRITE_WEBP_QUALITY if rng.random() < 0.1 else cv2.IMWRITE_JPEG_QUALITY
        suffix = ".webp" if setting == cv2.IMWRITE_WEBP_QUALITY else ".jpg"
        _, data = cv2.imencode(suffix, pixels[..., ::-1], [setting, quality])
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    return np.ascontiguousarray(pixels)


def example(pixels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """Mark, spoil and read a picture: luma on the chips, and the signs that were drawn."""
    height, width = pixels.shape[:2]
    chips = round(max(height, width) / rng.uniform(1.0, 2.8))
    plane = (1 - 2 * rng.integers(0, 2, (chips, chips))).astype(np.float32)
    gray = watermark_plane.luma(pixels).astype(np.float32)
    strength = watermark_mask.STRENGTHS["full", "standard"]
    allowed = watermark_mask.mask(gray, strength)
    per_chip = max(height, width) / chips
    drawn = watermark_plane.draw_chips(plane, (height, width))
    drawn -= cv2.GaussianBlur(drawn, (0, 0), max(1.0, 2 * per_chip))
    angle = rng.uniform(0, 2 * np.pi, 32)[:, None, None]
    waves = 2 * np.pi / (384 * per_chip) * watermark_plane.PILOTS
    y, x = np.mgrid[:height, :width]
    pilots = np.cos(waves[:, 0, None, None] * x + waves[:, 1, None, None] * y + angle).sum(0)
    pilots *= math.sqrt(0.25 * (drawn**2).mean() / (pilots**2).mean())
    drawn = allowed * (drawn + pilots.astype(np.float32))
    cap = 255 / 10 ** (rng.uniform(41, 45) / 20) / 0.864
    power = math.sqrt(float((drawn**2).mean()))
    drawn *= min(cap, math.sqrt(float((allowed**2).mean()))) / power
    marked = watermark_mask.add(pixels, drawn, watermark_mask.channel_gains(pixels))
    seen = watermark_plane.luma(spoil(marked, rng))
    profile = Profile("", "", chips, chips, 1, 8)
    place = watermark_plane.upright((seen.shape[0], seen.shape[1]), profile)
    matrix = place.matrix * (1 + rng.normal(0, 0.001))
    offset = place.offset + place.pixels_per_chip * rng.normal(0, 0.08, 2)
    found = watermark_plane.sample(seen, watermark_plane.Geometry(matrix, offset), profile)
    if found is None or min(found.values.shape) < PATCH:
        return None
    rows, columns = found.values.shape
    target = plane[found.top : found.top + rows, found.left : found.left + columns]
    i, j = rng.integers(0, rows - PATCH + 1), rng.integers(0, columns - PATCH + 1)
    part = np.s_[i : i + PATCH, j : j + PATCH]
    # features need their surroundings, so they are computed before the patch is cut
    return features(found.values)[:, part[0], part[1]], target[part]


def agreement(field: Tensor, target: Tensor) -> Tensor:
    """Return the correlation of each field with its chips: what a soft bit's quality rests on."""
    both = (field * target).sum((1, 2))
    return both / ((field**2).sum((1, 2)) * (target**2).sum((1, 2)) + 1e-9).sqrt()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--examples", type=int, default=6000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    rows = list(csv.DictReader((args.data / "dev" / "manifest.csv").open()))
    files = [args.data / "dev" / row["file"] for row in rows if row["train_shipped"] == "yes"]
    pictures = [cv2.imread(str(file))[..., ::-1] for file in sorted(files)]
    pictures = [np.ascontiguousarray(p) for p in pictures if min(p.shape[:2]) >= 200]
    made: list[tuple[np.ndarray, np.ndarray, bool]] = []
    held = set(rng.permutation(len(pictures))[: len(pictures) // 12].tolist())
    while len(made) < args.examples:
        which = int(rng.integers(len(pictures)))
        if (found := example(pictures[which], rng)) is not None:
            made.append((found[0].astype(np.float16), found[1].astype(np.int8), which in held))
    print(f"{len(pictures)} pictures, {len(made)} examples", flush=True)
    test = [item for item in made if item[2]]
    train = [item for item in made if not item[2]]

    def batch(items: list[tuple[np.ndarray, np.ndarray, bool]]) -> tuple[Tensor, Tensor]:
        x = torch.from_numpy(np.stack([item[0] for item in items]).astype(np.float32))
        return x, torch.from_numpy(np.stack([item[1] for item in items]).astype(np.float32))

    model = Demodulator()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    started, steps, done = time.monotonic(), 0, 0.0
    while done < 1:
        done = min(1.0, (time.monotonic() - started) / (60 * args.minutes))
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))
        x, target = batch([train[i] for i in rng.integers(0, len(train), 16)])
        turns = int(rng.integers(4))
        x, target = torch.rot90(x, turns, (2, 3)), torch.rot90(target, turns, (1, 2))
        if rng.random() < 0.5:
            x, target = x.flip(3), target.flip(2)
        if rng.random() < 0.5:
            x, target = -x, -target
        value = agreement(model(x)[:, 0], target)
        loss = -(value.clamp_min(0.002) + 0.01).log().mean() - value.mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps += 1
        if steps % 100 == 0 or done >= 1:
            with torch.no_grad():
                x, target = batch(test)
                parts = [
                    agreement(model(a)[:, 0], b)
                    for a, b in zip(x.split(32), target.split(32), strict=True)
                ]
                value, plain = torch.cat(parts), agreement(x[:, -1], target)
            print(
                f"step {steps} {done:.0%} loss {float(loss):.3f} held out: mean {value.mean():.4f} "
                f"log mean {value.clamp_min(1e-3).log().mean().exp():.4f}; "
                f"without the network {plain.mean():.4f} "
                f"{plain.clamp_min(1e-3).log().mean().exp():.4f}",
                flush=True,
            )
    export(model, args.output)


def export(model: Demodulator, path: Path) -> None:
    """Write the network as ONNX, node by node, so that no exporter's version matters."""
    from onnx import TensorProto, checker, helper, numpy_helper

    state = {name: value.numpy() for name, value in model.state_dict().items()}
    constants = [numpy_helper.from_array(value, name) for name, value in state.items()]
    for margin in (1, 2):
        pads = np.array([0, 0, margin, margin, 0, 0, margin, margin], np.int64)
        constants.append(numpy_helper.from_array(pads, f"margin{margin}"))
    nodes = []

    def conv(source: str, name: str, margin: int, into: str, dilation: int = 1) -> None:
        nodes.append(
            helper.make_node("Pad", [source, f"margin{margin}"], [f"{into}.pad"], mode="reflect")
        )
        inputs = [f"{into}.pad", f"{name}.weight", f"{name}.bias"]
        nodes.append(helper.make_node("Conv", inputs, [into], dilations=[dilation, dilation]))

    conv("features", "enter", 1, "entered")
    nodes.append(helper.make_node("LeakyRelu", ["entered"], ["y0"], alpha=0.1))
    for index, layer in enumerate(model.hidden):
        dilation = int(layer.dilation[0])
        conv(f"y{index}", f"hidden.{index}", dilation, f"c{index}", dilation)
        nodes.append(helper.make_node("Add", [f"y{index}", f"c{index}"], [f"s{index}"]))
        nodes.append(helper.make_node("LeakyRelu", [f"s{index}"], [f"y{index + 1}"], alpha=0.1))
    conv(f"y{len(model.hidden)}", "leave", 1, "left")
    conv("features", "skip", 2, "skipped")
    nodes.append(helper.make_node("Add", ["left", "skipped"], ["field"]))
    shape = [1, CHANNELS, None, None]
    graph = helper.make_graph(
        nodes,
        "demodulator",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("field", TensorProto.FLOAT, [1, 1, None, None])],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(made, full_check=True)
    path.write_bytes(made.SerializeToString())


if __name__ == "__main__":
    main()
