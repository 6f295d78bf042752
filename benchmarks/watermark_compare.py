"""Marks, changes and reads the same pictures with ours and other people's watermarks.

This is `watermark.py peers`; theirs live in a process of their own, `watermark_peers.py`.
"""

import argparse
import itertools
import json
import subprocess
import time
import zlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from watermark_attacks import CHANGES, Pixels
from watermark_peers import METHODS
from watermark_scenes import scenes, ssim

from counterproof.provenance import watermark

# What platforms and people do most; `--changes` takes any others.
PEER_CHANGES = (
    *("none", "jpeg 90", "jpeg 75", "jpeg 50", "webp 80", "resize 0.5", "resize 0.5 and back"),
    *("crop to 75 %", "crop to 50 %", "rotate 1", "rotate 90", "flip", "blur 1", "noise 5"),
    *("brightness +20 %", "social 1080 jpeg 75", "social 640 jpeg 70", "screenshot"),
)
SLOW_PEERS = ("rivaGan",)


class Peers:
    """The other watermarks, in a process of their own environment."""

    def __init__(self, python: str) -> None:
        program = Path(__file__).with_name("watermark_peers.py")
        self.process = subprocess.Popen(
            [python, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def _ask(self, pixels: Pixels, **asked: object) -> tuple[dict[str, Any], bytes]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        data = np.ascontiguousarray(pixels).tobytes()
        line = json.dumps(asked | {"shape": pixels.shape, "bytes": len(data)})
        self.process.stdin.write(line.encode() + b"\n" + data)
        self.process.stdin.flush()
        found = json.loads(self.process.stdout.readline())
        return found, self.process.stdout.read(found["bytes"])

    def embed(self, pixels: Pixels, method: str, bits: list[int]) -> tuple[Pixels | None, float]:
        """Return the marked picture, None if it would not be marked, and the CPU time in ms."""
        found, data = self._ask(pixels, do="embed", method=method, bits=bits)
        if found["error"]:
            return None, found["ms"]
        return np.frombuffer(data, np.uint8).reshape(pixels.shape), found["ms"]

    def read(self, pixels: Pixels, method: str) -> tuple[list[int], float]:
        """Return the bits, none if the reader failed, and the CPU time in ms."""
        found, _ = self._ask(pixels, do="read", method=method, count=METHODS[method])
        return found["bits"], found["ms"]


def psnr(a: Pixels, b: Pixels) -> float:
    """Return the PSNR over all three channels, in dB."""
    return float(10 * np.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2)))


def ssim_channels(a: Pixels, b: Pixels) -> float:
    """Return the mean SSIM of red, green and blue: luma alone is blind to marks in the colour."""
    single = [
        np.repeat(pixels[..., channel, None], 3, 2) for pixels in (a, b) for channel in (0, 1, 2)
    ]
    return float(np.mean([ssim(single[channel], single[channel + 3]) for channel in (0, 1, 2)]))


def peers(args: argparse.Namespace) -> dict[str, object]:
    other = Peers(args.peers)
    names = ("ours", *METHODS)
    hits: dict[str, dict[str, list[bool]]] = {name: defaultdict(list) for name in names}
    bits_right: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in names}
    looks: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in names}
    spent: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in names}
    said: dict[str, list[bool]] = {name: [] for name in names}
    for index, (picture, pixels) in enumerate(itertools.islice(scenes(args.folder[0]), args.most)):
        seed = zlib.crc32(picture.encode())
        rng = np.random.default_rng(seed)
        payload = watermark.Payload(watermark.MarkClass.GENERATED, int(rng.integers(1 << 54)))
        for name in names:
            if name in SLOW_PEERS and index >= args.slow:
                continue
            bits = [int(bit) for bit in rng.integers(0, 2, METHODS.get(name, 0))]
            if name == "ours":
                started = time.process_time()
                marked: Pixels | None = watermark.embed(pixels, payload).pixels
                took = 1000 * (time.process_time() - started)
            else:
                marked, took = other.embed(pixels, name, bits)
            if marked is None:
                print(f"{picture}: {name} would not mark it", flush=True)
                continue
            spent[name]["embed"].append(took)
            looks[name]["psnr"].append(psnr(pixels, marked))
            looks[name]["ssim"].append(ssim_channels(pixels, marked))
            for change in ("unmarked", *(args.changes or PEER_CHANGES)):
                draw = np.random.default_rng([seed, zlib.crc32(change.encode())])
                copy = pixels if change == "unmarked" else CHANGES[change](marked, draw)
                copy = np.ascontiguousarray(copy)
                if name == "ours":
                    started = time.process_time()
                    reading = watermark.read(copy)
                    took = 1000 * (time.process_time() - started)
                    found = reading.payload if reading else None
                    right, share, says = (
                        found == payload,
                        float(found == payload),
                        found is not None,
                    )
                else:
                    read, took = other.read(copy, name)
                    same = [a == b for a, b in zip(bits, read, strict=False)]
                    right, says = len(same) == len(bits) and all(same), bool(read)
                    share = sum(same) / len(bits)
                kind = {"unmarked": "absent", "none": "direct"}.get(change, "read changed")
                spent[name][kind].append(took)
                if change == "unmarked":
                    said[name].append(says)
                    continue
                hits[name][change].append(right)
                bits_right[name][change].append(share)
        print(f"{picture}: done", flush=True)
    table = {
        name: {
            "bits": METHODS.get(name, 56),
            "psnr": round(float(np.mean(looks[name]["psnr"])), 2),
            "ssim": round(float(np.mean(looks[name]["ssim"])), 4),
            "message in unmarked": [sum(said[name]), len(said[name])],
            "median ms": {what: round(float(np.median(v)), 1) for what, v in spent[name].items()},
            "read": {change: [sum(v), len(v)] for change, v in hits[name].items()},
            "bits right": {c: round(float(np.mean(v)), 3) for c, v in bits_right[name].items()},
        }
        for name in names
        if looks[name]["psnr"]
    }
    print(json.dumps(table, indent=1))
    return table
