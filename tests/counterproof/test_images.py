"""Opening a picture: what is read once, and what is refused at the door."""

import hashlib
import io
import itertools
import os
from pathlib import Path

import pytest
from PIL import Image

from counterproof.errors import ImageError
from counterproof.images import ImageFile
from counterproof.settings import Limits


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a picture.png"
    Image.new("RGB", (20, 10), (1, 2, 3)).save(path)
    return path


def test_a_path_and_its_bytes_are_the_same_picture(picture: Path) -> None:
    data = picture.read_bytes()
    for image in (ImageFile.open(picture), ImageFile.open(str(picture)), ImageFile.open(data)):
        assert image.data == data
        assert image.sha256 == hashlib.sha256(data).hexdigest()
        assert image.format == "png"
        assert image.info.to_json() == {
            "format": "png", "mime": "image/png", "bytes": len(data), "width": 20, "height": 10,
            "frames": 1, "mode": "RGB", "bit_depth": 8, "alpha": False, "orientation": 1,
            "planes": [],
        }  # fmt: skip
        assert image.stream().read() == data
        assert image.stored().shape == (10, 20, 3)
    assert ImageFile.open(picture).name == str(picture)
    assert ImageFile.open(data, name="upload").name == "upload"


def refused(source: Path | bytes, limits: Limits | None = None) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        ImageFile.open(source, limits=limits)
    return caught.value.cause, str(caught.value)


def test_what_cannot_be_opened_says_why(tmp_path: Path, picture: Path) -> None:
    assert refused(tmp_path / "none.jpg")[0] == "missing"
    assert refused(tmp_path)[0] == "unsupported"
    (tmp_path / "empty.jpg").touch()
    assert refused(tmp_path / "empty.jpg")[0] == "empty"
    assert refused(b"")[0] == "empty"
    cause, message = refused(picture, Limits(max_bytes=10))
    assert cause == "too_large"
    assert message.endswith(f"{picture.stat().st_size:,} bytes; the limit is 10")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of Unix")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert refused(tmp_path / "pipe.jpg")[0] == "unsupported"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file(picture: Path) -> None:
    picture.chmod(0)
    assert refused(picture)[0] == "forbidden"


def test_the_sidecar_beside_a_picture(picture: Path) -> None:
    assert ImageFile.open(picture).sidecar is None
    assert ImageFile.open(picture).sidecar_sha256 == ""
    picture.with_suffix(".c2pa").write_bytes(b"store")
    image = ImageFile.open(picture)
    assert image.sidecar == b"store"
    assert image.sidecar_sha256 == hashlib.sha256(b"store").hexdigest()
    assert ImageFile.open(picture, sidecar=b"other").sidecar == b"other"
    assert ImageFile.open(picture.with_suffix(".c2pa")).sidecar is None


def test_a_bad_sidecar_does_not_hide_the_picture(picture: Path) -> None:
    picture.with_suffix(".c2pa").touch()
    image = ImageFile.open(picture)
    assert image.sidecar is None
    assert image.flaws == ["its sidecar could not be read (empty)"]
    assert image.pixels().shape == (10, 20, 3)


def test_names_in_any_encoding(tmp_path: Path, picture: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png")
    try:
        Path(name).write_bytes(picture.read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert ImageFile.open(name).pixels().shape == (10, 20, 3)


def test_thumbnails_are_planes() -> None:
    inner = io.BytesIO()
    Image.new("RGB", (16, 12)).save(inner, "JPEG")
    tags = Image.Exif()
    tags[0x010F] = "Maker"
    tags.get_ifd(0xFFFFFFF)  # no such directory: ignored
    block = tags.tobytes()[6:]
    # a second directory that names the thumbnail (EXIF 2.32 §4.5.5)
    first = int.from_bytes(block[4:8], "little" if block[:2] == b"II" else "big")
    order = "little" if block[:2] == b"II" else "big"
    count = int.from_bytes(block[first : first + 2], order)  # type: ignore[arg-type]
    link = first + 2 + 12 * count
    ifd1 = len(block)
    entries = [(0x0201, ifd1 + 2 + 24 + 4), (0x0202, len(inner.getvalue()))]
    body = (2).to_bytes(2, order)  # type: ignore[arg-type]
    for tag, value in entries:
        body += b"".join(
            number.to_bytes(size, order)  # type: ignore[arg-type]
            for number, size in ((tag, 2), (4, 2), (1, 4), (value, 4))
        )
    block = block[:link] + ifd1.to_bytes(4, order) + block[link + 4 :]  # type: ignore[arg-type]
    block += body + bytes(4) + inner.getvalue()
    out = io.BytesIO()
    Image.new("RGB", (64, 48)).save(out, "JPEG", exif=b"Exif\0\0" + block)
    image = ImageFile.open(out.getvalue())
    assert image.exif_directories is not None
    assert image.exif_directories.thumbnail() == inner.getvalue()
    assert image.info.planes == ("thumbnail",)


def test_what_is_made_once_is_kept_while_the_picture_is_in_hand(picture: Path) -> None:
    image, numbers = ImageFile.open(picture), itertools.count()
    assert [image.once(key, numbers.__next__) for key in ("a", "b", "a")] == [0, 1, 0]
    with pytest.raises(ZeroDivisionError):
        image.once("fails", lambda: 1 // 0)
    assert image.once("fails", lambda: 1) == 1
    image.release()
    assert image.once("fails", lambda: 2) == 2


def test_info_never_raises() -> None:
    for data in (b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"II*\0", b"nothing", b"RIFF\0\0\0\0WEBP"):
        assert ImageFile.open(data).info.bytes == len(data)
