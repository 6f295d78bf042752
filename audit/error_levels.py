"""Error levels: what coding a picture once more changes, drawn for a person to look at.

An aid for viewing and no evidence: it follows detail and contrast, and lights up in innocent
photographs about as often as in changed ones. Nothing is counted, scored or found here, and a scan
never runs it.

Source: N. Krawetz, "A Picture's Worth… Digital Image Analysis and Forensics", Black Hat 2007 (the
picture); docs/forgery.md says what was measured of it.
"""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FACTOR", "QUALITY", "error_levels"]

QUALITY = 90
FACTOR = 15


def error_levels(pixels: "NDArray[np.uint8]", side: int) -> "NDArray[np.uint8]":
    """Draw by how much each place changes when the picture is saved as JPEG once more.

    Args:
        pixels: `uint8` RGB, shape `(H, W, 3)`, at the picture's own size: scaling hides it.
        side: longest side of what is drawn, in pixels.

    Returns:
        `uint8` RGB; each grey value of difference is drawn `FACTOR` times as bright.
    """
    import cv2
    import numpy as np
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=QUALITY)
    change = cv2.absdiff(pixels, np.asarray(Image.open(out).convert("RGB")))
    scale = side / max(change.shape[:2])
    if scale < 1:
        change = cv2.resize(change, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.convertScaleAbs(change, alpha=FACTOR), np.uint8)
