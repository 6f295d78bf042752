"""Pairs of pictures side by side, the matched region drawn on both, as one HTML file."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from counterproof import __version__
from counterproof.audit.thumbnails import Size, encode
from counterproof.audit.writer import Target, open_atomically
from counterproof.errors import ImageError
from counterproof.images import ImageFile
from counterproof.settings import Limits
from counterproof.text import Catalogue, visible

__all__ = ["Pair", "write_pairs"]

_SIZE = Size("pair.webp", 480, 60)
_MAX_PAIRS = 60
_CSS = Path(__file__).parent / "templates" / "compare.css"

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures that belong together.

    Attributes:
        picture: path of the one that was looked at.
        reference: path of the work.
        says: one sentence about both.
        region: what of the picture shows the work, in its pixels; None for all of it.
        source: what of the work is shown, in its pixels; None for all of it.
        labels: codes of the words for the two.
    """

    picture: str
    reference: str
    says: str
    region: Box | None = None
    source: Box | None = None
    labels: tuple[str, str] = ("index.picture", "index.reference")


def write_pairs(
    target: Target,
    words: Catalogue,
    title: str,
    lead: Sequence[str],
    table: Sequence[Sequence[str]],
    pairs: Sequence[Pair],
    limits: Limits,
) -> None:
    """Write a page: sentences, a table whose first row is its head, then the pairs.

    At most 60 pairs are drawn; the page says how many are left out.

    Raises:
        UserError: if the file cannot be written.
    """
    style = _CSS.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'"
    lang = {"zh": "zh-Hans"}.get(words.language, words.language)
    parts = [
        f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>",
        f'<h1>{escape(title)}</h1><ul class="lead">',
        *(f"<li>{escape(item)}</li>" for item in lead),
        "</ul>",
    ]
    if table:
        head, *rows = table
        parts.append('<div class="scroll" tabindex="0"><table class="asked"><thead><tr>')
        parts += [f"<th>{escape(cell)}</th>" for cell in head]
        parts.append("</tr></thead><tbody>")
        for row in rows:
            first, *rest = (escape(cell) for cell in row)
            cells = "".join(f"<td>{cell}</td>" for cell in rest)
            parts.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
        parts.append("</tbody></table></div>")
    for pair in pairs[:_MAX_PAIRS]:
        parts.append(f'<section class="match"><p class="note">{escape(pair.says)}</p>')
        parts.append('<div class="pair">')
        paths, boxes = (pair.picture, pair.reference), (pair.region, pair.source)
        named = zip(pair.labels, paths, boxes, strict=True)
        for key, path, box in named:
            label = f"<b>{escape(words.ui(key))}</b> {escape(visible(path))}"
            parts.append(f"<figure><figcaption>{label}</figcaption>{_view(path, box, limits)}")
            parts.append("</figure>")
        parts.append("</div></section>")
    if len(pairs) > _MAX_PAIRS:
        more = words.ui("report.more", n=len(pairs) - _MAX_PAIRS)
        parts.append(f'<p class="note">{escape(more)}</p>')
    said = escape(words.ui("index.not_a_verdict"))
    parts.append(f"<footer>counterproof {__version__} · {said}</footer></main></body></html>\n")
    with open_atomically(target) as stream:
        stream.write("".join(parts).encode("utf-8", "backslashreplace"))


def _view(path: str, box: Box | None, limits: Limits) -> str:
    """Return the picture as SVG with its region drawn; an empty string if it is gone."""
    try:
        image = ImageFile.open(path, limits=limits)
        blob = encode(image, _SIZE)
    except ImageError:
        return ""
    info = image.info
    x, y, w, h = box or (0, 0, info.width, info.height)
    data = base64.b64encode(blob.data).decode()
    shape = f'x="{x}" y="{y}" width="{w}" height="{h}"'
    return (
        f'<svg viewBox="0 0 {info.width} {info.height}" role="img" '
        f'aria-label="{escape(visible(path))}">'
        f'<image href="data:image/webp;base64,{data}" width="{info.width}" '
        f'height="{info.height}" preserveAspectRatio="none"/>'
        f'<rect class="under" {shape}/><rect {shape}/></svg>'
    )
