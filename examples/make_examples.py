"""Draw the example pictures beside this file: `python examples/make_examples.py`.

Every picture is drawn here, by arithmetic; none shows a person or a real place. What the
labels and credentials in them say is said for the sake of the example and is not true. The
keys that sign are made for one run and forgotten, so the signer is on no trust list.

Each function below is one picture; `examples/README.md` says what a scan finds in it.
"""

import datetime as dt
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

HERE = Path(__file__).resolve().parent
VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"

Floats = NDArray[np.float64]


# ---------------------------------------------------------------------------- drawing


def noise(rng: np.random.Generator, length: int, cells: int, octaves: int = 5) -> Floats:
    """Return smooth noise of one dimension in about [-1, 1], shape (length,)."""
    total = np.zeros(length)
    for octave in range(octaves):
        points = rng.uniform(-1, 1, cells * 2**octave + 2)
        at = np.linspace(0, cells * 2**octave, length, endpoint=False)
        low = at.astype(int)
        part = at - low
        smooth = part * part * (3 - 2 * part)
        total += (points[low] * (1 - smooth) + points[low + 1] * smooth) / 2**octave
    return total / 2


def blend(canvas: Floats, colour: tuple[int, int, int], cover: Floats) -> None:
    """Paint one colour over a canvas (H, W, 3) where `cover` (H, W) is above 0."""
    canvas += (np.array(colour, float) - canvas) * cover[..., None]


def landscape(
    seed: int,
    sky: tuple[tuple[int, int, int], tuple[int, int, int]],
    land: tuple[tuple[int, int, int], tuple[int, int, int]],
    *,
    size: tuple[int, int] = (960, 640),
    ridges: int = 5,
    roughness: float = 0.10,
    sun: tuple[float, float, float] | None = (0.68, 0.28, 0.05),
    horizon: float = 0.42,
    water: bool = False,
    stars: int = 0,
) -> Image.Image:
    """Draw a landscape: a sky, a sun or moon, ridges that fade into haze, perhaps water.

    Args:
        seed: same seed, same picture.
        sky: colours above and at the horizon.
        land: colours of the farthest and of the nearest ridge.
        size: width and height in pixels.
        ridges: how many.
        roughness: height of their peaks as a share of the picture's.
        sun: x, y and radius as shares of the width, the height and the height.
        horizon: y of the farthest ridge as a share of the height.
        water: whether the lower third mirrors the upper part.
        stars: how many.
    """
    rng = np.random.default_rng(seed)
    width, height = size
    y, x = np.mgrid[0:height, 0:width].astype(float)
    down = (y / height)[..., None]
    canvas = np.array(sky[0], float) * (1 - down) + np.array(sky[1], float) * down
    for _ in range(stars):
        row, column = rng.integers(0, int(height * horizon)), rng.integers(0, width)
        canvas[row, column] += rng.uniform(60, 160)
    if sun:
        distance = np.hypot(x - sun[0] * width, y - sun[1] * height) / height
        blend(canvas, (255, 236, 200), np.clip(0.55 * np.exp(-distance * 6), 0, 1))
        blend(canvas, (255, 249, 232), np.clip((sun[2] - distance) * height / 2 + 0.5, 0, 1))
    far, near = (np.array(colour, float) for colour in land)
    for ridge in range(ridges):
        depth = (ridge + 1) / ridges
        top = height * (horizon + 0.5 * depth**1.4 * (1 - horizon))
        edge = top + noise(rng, width, 3 + ridge) * height * roughness * (0.5 + depth)
        cover = np.clip(y - edge + 0.5, 0, 1)
        haze = np.clip((y - edge) / (height * 0.35), 0, 1) * (1 - depth) * 0.8
        colour = far * (1 - depth) + near * depth
        texture = 1 + 0.06 * depth * noise(rng, width, 40)[None, :] * (y - edge) / height
        layer = colour * texture[..., None]
        layer += (np.array(sky[1], float) - layer) * haze[..., None]
        canvas += (layer - canvas) * cover[..., None]
    if water:
        line = int(height * 0.66)
        rows = np.arange(height - line)
        ripple = (3 * np.sin(rows / 2.3) * (1 + rows / 40)).astype(int)
        source = np.clip(line - 1 - (rows * 1.6).astype(int), 0, height - 1)
        for row in rows:
            canvas[line + row] = np.roll(canvas[source[row]], ripple[row], axis=0)
        canvas[line:] *= 0.86
    canvas += rng.normal(0, 1.2, canvas.shape)  # grain, as of a sensor
    return Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))


def valley() -> Image.Image:
    """Draw a green valley in the morning."""
    return landscape(1, ((92, 148, 206), (226, 220, 206)), ((140, 165, 170), (38, 74, 44)))


def dunes() -> Image.Image:
    """Draw dunes in the evening."""
    sky = ((70, 72, 120), (250, 176, 120))
    return landscape(12, sky, ((206, 140, 104), (116, 62, 40)), ridges=4, roughness=0.05)


def lake() -> Image.Image:
    """Draw a lake between mountains."""
    sky = ((120, 168, 214), (236, 232, 222))
    land = ((150, 170, 188), (44, 66, 84))
    return landscape(23, sky, land, water=True, roughness=0.16, sun=None, horizon=0.3)


def night() -> Image.Image:
    """Draw hills under a moon."""
    sky, land = ((8, 12, 34), (54, 66, 104)), ((44, 54, 86), (8, 12, 22))
    return landscape(34, sky, land, sun=(0.25, 0.2, 0.035), stars=260)


def coast() -> Image.Image:
    """Draw a coast at dusk."""
    sky, land = ((84, 96, 150), (244, 190, 168)), ((128, 120, 150), (40, 38, 56))
    return landscape(45, sky, land, water=True, roughness=0.07, sun=(0.5, 0.5, 0.06))


def red_rocks(size: tuple[int, int] = (480, 320)) -> Image.Image:
    """Draw red rocks at noon."""
    sky, land = ((60, 130, 200), (214, 226, 232)), ((214, 150, 120), (150, 62, 36))
    return landscape(56, sky, land, size=size, roughness=0.2, ridges=4)


def islands(size: tuple[int, int] = (480, 320)) -> Image.Image:
    """Draw islands in fog."""
    sky, land = ((176, 196, 208), (226, 230, 230)), ((196, 208, 212), (70, 96, 104))
    return landscape(67, sky, land, size=size, water=True, sun=None)


# ---------------------------------------------------------------------------- metadata


def xmp(**properties: str) -> bytes:
    """Return an XMP packet; `prefix_name` becomes the property `prefix:name`."""
    namespaces = {
        "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
        "TC260": "http://www.tc260.org.cn/ns/AIGC/1.0/",
        "xmp": "http://ns.adobe.com/xap/1.0/",
    }
    written = ""
    for name, value in properties.items():
        text = value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
        written += f'\n   {name.replace("_", ":", 1)}="{text}"'
    declared = "".join(f'\n   xmlns:{prefix}="{uri}"' for prefix, uri in namespaces.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
        f'  <rdf:Description rdf:about=""{declared}{written}/>\n'
        " </rdf:RDF>\n</x:xmpmeta>\n"
        '<?xpacket end="w"?>'
    ).encode()


def camera_exif() -> Image.Exif:
    """Return what a camera writes; the camera does not exist."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Example Optics", "Imaginary 35"
    exif[0x0112] = 1
    exif[0x0131] = "Imaginary 35 firmware 1.2"
    exif[0x0132] = "2026:05:14 06:42:10"
    details = exif.get_ifd(0x8769)
    details[0x829A], details[0x829D], details[0x8827] = (1, 250), (56, 10), 200
    details[0x9003] = "2026:05:14 06:42:10"
    details[0x920A] = (35, 1)
    return exif


def jpeg(image: Image.Image, quality: int = 84, **options: Any) -> bytes:
    """Return the bytes of a JPEG."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, **options)
    return stream.getvalue()


def png(image: Image.Image, **texts: str) -> bytes:
    """Return the bytes of a PNG with text chunks; `xmp` becomes the XMP packet."""
    info = PngInfo()
    for key, value in texts.items():
        if key == "xmp":
            info.add_itxt("XML:com.adobe.xmp", value)
        else:
            info.add_text(key, value)
    stream = io.BytesIO()
    image.quantize(200, dither=Image.Dither.NONE).save(stream, "PNG", pnginfo=info, optimize=True)
    return stream.getvalue()


# ---------------------------------------------------------------------------- signing


def throwaway_signer() -> Any:
    """Return a C2PA signer whose key exists in memory only and whose root is listed nowhere."""
    import c2pa
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(common: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "counterproof examples"),
                x509.NameAttribute(NameOID.COMMON_NAME, common),
            ]
        )

    def usage(*, signs: bool) -> x509.KeyUsage:
        return x509.KeyUsage(signs, False, False, False, False, not signs, not signs, False, False)

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    begins = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    ends = dt.datetime(2037, 1, 1, tzinfo=dt.UTC)
    claim_signing = x509.ObjectIdentifier("1.3.6.1.4.1.62558.2.1")  # c2pa-kp-claimSigning

    def certificate(subject: str, public: Any, issuer: str, *, authority: bool) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(authority, 0 if authority else None), True)
            .add_extension(usage(signs=not authority), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False
            )
        )
        if not authority:
            uses = x509.ExtendedKeyUsage([claim_signing, ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(uses, False)
        return builder.sign(root_key, hashes.SHA256())

    root = certificate("Example root", root_key.public_key(), "Example root", authority=True)
    public = key.public_key()
    leaf = certificate("Example signer, key thrown away", public, "Example root", authority=False)
    pem = serialization.Encoding.PEM
    chain = leaf.public_bytes(pem) + root.public_bytes(pem)
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo("es256", chain, private, None))


def sign(data: bytes, title: str, source_type: str) -> bytes:
    """Return a JPEG with Content Credentials that name one action, `c2pa.created`."""
    import c2pa

    action = {
        "action": "c2pa.created",
        "digitalSourceType": VOCABULARY + source_type,
        "softwareAgent": {"name": "Example Generator", "version": "1.0"},
    }
    manifest = {
        "claim_generator_info": [{"name": "counterproof examples", "version": "1.0"}],
        "title": title,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
    settings = {
        "version": 1,
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
        "core": {"allowed_network_hosts": []},
        "builder": {"thumbnail": {"enabled": False}},
    }
    source, target = io.BytesIO(data), io.BytesIO()
    context = c2pa.Context.from_dict(settings)
    with c2pa.Builder(manifest, context) as builder:
        builder.sign(throwaway_signer(), "image/jpeg", source, target)
    return target.getvalue()


def credential_of(data: bytes) -> tuple[bytes, int]:
    """Return the APP11 segments of a JPEG, joined, and where they begin."""
    found, begins, at = b"", 0, 2
    while data[at + 1] != 0xDA:
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xEB:
            begins = begins or at
            found += data[at : at + length]
        at += length
    return found, begins


# ---------------------------------------------------------------------------- pictures


def plain() -> bytes:
    """Camera metadata, no statement about models."""
    return jpeg(valley(), exif=camera_exif())


def plain_smaller() -> bytes:
    """The same picture at half the size, metadata gone: a near-duplicate."""
    return jpeg(valley().resize((480, 320), Image.Resampling.LANCZOS), quality=70)


def labelled() -> bytes:
    """The IPTC label for pictures made by a model."""
    label = VOCABULARY + "trainedAlgorithmicMedia"
    return jpeg(dunes(), xmp=xmp(Iptc4xmpExt_DigitalSourceType=label))


def labelled_gb45438() -> bytes:
    """The implicit label that GB 45438-2025 asks for."""
    label = {
        "Label": "1",
        "ContentProducer": "Example-Studio",
        "ProduceID": "example-000001",
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
    return png(islands(), xmp=xmp(TC260_AIGC=json.dumps(label)).decode())


def with_parameters() -> bytes:
    """What a widely used generator program leaves in its PNG files."""
    parameters = (
        "red rocks at noon, wide angle\n"
        "Negative prompt: people, text\n"
        "Steps: 28, Sampler: Euler a, CFG scale: 6.5, Seed: 20260514, Size: 480x320, "
        "Model hash: 0123abcdef, Model: example-model-v1, Version: v1.10.1"
    )
    return png(red_rocks(), parameters=parameters)


def retouched() -> bytes:
    """The IPTC label for pictures edited with a model's help, beside a camera's metadata."""
    label = VOCABULARY + "compositeWithTrainedAlgorithmicMedia"
    return jpeg(coast(), exif=camera_exif(), xmp=xmp(Iptc4xmpExt_DigitalSourceType=label))


def signed() -> bytes:
    """An intact credential by a signer that no list names, saying: made by a model."""
    return sign(jpeg(lake()), "lake.jpg", "trainedAlgorithmicMedia")


def altered() -> bytes:
    """A signed picture in which a second moon was painted afterwards."""
    original = night()
    credential, at = credential_of(sign(jpeg(original), "night.jpg", "digitalCreation"))
    pixels = np.asarray(original, float).copy()
    y, x = np.mgrid[0 : original.height, 0 : original.width].astype(float)
    blend(pixels, (236, 226, 206), np.clip(16 - np.hypot(x - 640, y - 150), 0, 1))
    painted = jpeg(Image.fromarray(pixels.astype(np.uint8)))
    return painted[:at] + credential + painted[at:]


def contradictory() -> bytes:
    """A label that says *captured* inside a picture whose credential says *made by a model*."""
    label = xmp(Iptc4xmpExt_DigitalSourceType=VOCABULARY + "digitalCapture")
    picture = landscape(
        78, ((66, 70, 84), (176, 172, 168)), ((120, 122, 126), (34, 36, 40)), sun=None
    )
    return sign(
        jpeg(picture, exif=camera_exif(), xmp=label), "storm.jpg", "trainedAlgorithmicMedia"
    )


def cut_off() -> bytes:
    """A file of which the last third is missing."""
    sky, land = ((160, 174, 190), (232, 226, 214)), ((170, 160, 150), (92, 78, 60))
    whole = jpeg(landscape(89, sky, land, roughness=0.06, sun=None), exif=camera_exif())
    return whole[: len(whole) * 2 // 3]


EXAMPLES = {
    "coast-edited.jpg": retouched,
    "cut-off.jpg": cut_off,
    "dunes-labelled.jpg": labelled,
    "islands-gb45438.png": labelled_gb45438,
    "lake-signed.jpg": signed,
    "night-altered.jpg": altered,
    "rocks-parameters.png": with_parameters,
    "storm-contradiction.jpg": contradictory,
    "valley.jpg": plain,
    "valley-small.jpg": plain_smaller,
}


def main() -> None:
    """Write every example beside this file."""
    for name, make in EXAMPLES.items():
        data = make()
        (HERE / name).write_bytes(data)
        print(f"{len(data):8,} {name}")


if __name__ == "__main__":
    main()
