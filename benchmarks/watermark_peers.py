"""Watermarks of other people, for `watermark.py peers`; runs in an environment of its own.

    python3 -m venv PEERS && PEERS/bin/pip install invisible-watermark==0.2.0 blind-watermark==0.4.4
    python benchmarks/watermark.py peers SCENES --peers PEERS/bin/python

They bring another build of OpenCV than ours, and torch. So this program imports nothing of
counterproof: it answers on its standard output what it is asked on its standard input, one JSON
line and the bytes of a picture (`uint8` RGB) each way, and tells the CPU time of the call alone.
"""

import json
import os
import sys
import time
from typing import Any, BinaryIO

import cv2
import numpy as np

METHODS = {"dwtDct": 64, "dwtDctSvd": 64, "blind-watermark": 64, "rivaGan": 32}
"""Name → bits of the message, as each is used by its own documentation and by our research."""


def embed(method: str, bgr: np.ndarray, bits: list[int]) -> np.ndarray:
    if method == "blind-watermark":
        from blind_watermark import WaterMark

        mark = WaterMark(password_img=1, password_wm=1)
        mark.read_img(img=bgr)
        mark.read_wm([bool(bit) for bit in bits], mode="bit")
        return np.clip(np.rint(mark.embed()), 0, 255).astype(np.uint8)
    from imwatermark import WatermarkEncoder

    encoder = WatermarkEncoder()
    encoder.set_watermark("bits", bits)
    return np.asarray(encoder.encode(bgr, method), np.uint8)


def read(method: str, bgr: np.ndarray, count: int) -> list[int]:
    if method == "blind-watermark":
        from blind_watermark import WaterMark

        found = WaterMark(password_img=1, password_wm=1).extract(
            embed_img=bgr.astype(np.float32), wm_shape=count, mode="bit"
        )
        return [int(value > 0.5) for value in found]
    from imwatermark import WatermarkDecoder

    return [int(bit) for bit in WatermarkDecoder("bits", count).decode(bgr, method)]


def answer(asked: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    pixels = np.frombuffer(data, np.uint8).reshape(asked["shape"])
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    made, bits, error = b"", [], ""
    started = time.process_time()
    try:
        if asked["do"] == "embed":
            marked = embed(asked["method"], bgr, asked["bits"])
            made = np.ascontiguousarray(marked[..., ::-1]).tobytes()
        else:
            bits = read(asked["method"], bgr, asked["count"])
    except Exception as err:  # other people's code: whatever it raises is "not read"
        error = f"{type(err).__name__}: {err}"[:200]
    spent = 1000 * (time.process_time() - started)
    return {"ms": spent, "bits": bits, "bytes": len(made), "error": error}, made


def main() -> None:
    out: BinaryIO = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the packages print must not come between
    cv2.setNumThreads(1)
    from imwatermark import WatermarkDecoder, WatermarkEncoder

    try:
        import torch

        torch.set_num_threads(1)
        WatermarkEncoder.loadModel()
        WatermarkDecoder.loadModel()
    except ImportError:
        pass  # rivaGan will say that it is not there
    while line := sys.stdin.buffer.readline():
        asked = json.loads(line)
        found, made = answer(asked, sys.stdin.buffer.read(asked["bytes"]))
        out.write(json.dumps(found).encode() + b"\n" + made)
        out.flush()


if __name__ == "__main__":
    main()
