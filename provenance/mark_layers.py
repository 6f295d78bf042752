"""One picture on its way through the layers of `mark`, in the order in which they must go."""

import contextlib
import datetime as dt
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from counterproof import __version__
from counterproof.errors import ImageError, ProvenanceError, UserError
from counterproof.images import ImageFile
from counterproof.provenance.keys import Identity
from counterproof.provenance.label_writer import SOURCE_TYPES
from counterproof.provenance.mark_options import LAYERS, MARKING, Intent, Layer, MarkOptions
from counterproof.provenance.mark_rights import Reserved, merged, read_reserved
from counterproof.provenance.rights import reserved_properties
from counterproof.provenance.sign import (
    SIGNABLE,
    TRAINING_MINING,
    Ingredient,
    Signed,
    actions_of,
    sign,
    training_of,
)
from counterproof.settings import Settings

if TYPE_CHECKING:
    from counterproof.provenance.watermark_bind import Binding

__all__ = ["Layers", "check_signable"]

_BOXED = ("avif", "heic", "heif")


def check_signable(image: ImageFile) -> None:
    """Check that a picture is of a format that is signed.

    Raises:
        ImageError: `unsupported` if it is not.
    """
    if image.format not in SIGNABLE:
        what = image.format or "of no known format"
        raise ImageError(
            "unsupported", f"{image.name}: expected {', '.join(SIGNABLE)}; the file is {what}"
        )


class Layers:
    """One picture on its way through the layers."""

    def __init__(
        self,
        image: ImageFile,
        intent: Intent,
        options: MarkOptions,
        identity: Identity,
        settings: Settings,
        in_memory: bool,
    ) -> None:
        self.original = self.image = image
        self.intent = intent
        self.options = options
        self.identity = identity
        self.settings = settings
        self.in_memory = in_memory
        self.layers: dict[str, Layer] = dict.fromkeys(LAYERS, Layer("off"))
        self.replaced: list[str] = []
        self.bindings: list[dict[str, Any]] = []
        self.record: Binding | None = None  # what scans here compare the mark's picture with
        self.mark_id = ""
        self.label: dict[str, Any] = {}
        self.reserved = Reserved()

    @property
    def wants_watermark(self) -> bool:
        """Whether a watermark is asked for; of a photograph only if it plainly is."""
        asked = self.options.watermark
        return self.intent is not Intent.CAPTURED if asked is None else asked

    def check(self) -> None:
        """Refuse what would damage the picture, and a claim of capture that it contradicts.

        Raises:
            ImageError: `unsupported` for a TIFF of several pages that is not to have a sidecar.
            UserError: if it says that a model made or edited it, or a label is asked for; or if
                training is to be allowed and a source reserves it.
        """
        image = self.original
        self.reserved = read_reserved(self._sources(), self.settings)
        if self.options.training == "allowed" and self.reserved.codes:
            raise UserError(
                f"{image.name}: it, its parent or a component reserves rights "
                f"({', '.join(self.reserved.codes)}); it cannot be marked as allowed for training"
            )
        if image.format == "tiff" and image.info.frames > 1 and not self.options.sidecar:
            raise ImageError(
                "unsupported",
                f"{image.name}: a credential inside a TIFF of several pages adds an empty page, "
                "which other readers stumble over; write it beside the picture (--sidecar)",
            )
        if self.intent is not Intent.CAPTURED:
            return
        if self.options.visible:
            raise UserError("a picture marked as captured takes no visible label of a model's work")
        if words := _admissions(self.original, self.settings):
            raise UserError(
                f"{self.original.name}: it says itself that a model made or edited it "
                f"({', '.join(words)}); it cannot be marked as captured"
            )

    # -- pixels

    def change_pixels(self) -> None:
        """Apply the layers that lie in the pixels, code the file once, and read the mark back.

        A watermark that does not survive the file's own coding is not claimed, and for its
        sake not one pixel is changed.
        """
        self._draw(self.wants_watermark)
        self._code()
        if self.layers["watermark"].state == "applied" and not self._reads_back():
            self.image, self.bindings, self.mark_id = self.original, [], ""
            self.record = None
            self._draw(False)
            self._code()
            self.layers["watermark"] = Layer("missing", "coding")

    def _draw(self, watermark: bool) -> None:
        """Draw the visible label and the watermark in one pass."""
        options = self.options
        if not options.visible and not watermark:
            return
        from counterproof.provenance.pixel_layers import (
            Unchangeable,
            draw_label,
            place_label,
            redraw,
        )

        def change(pixels: Any) -> Any:
            if options.visible:
                height, width = pixels.shape[:2]
                place = place_label(width, height, options.visible, options.font)
                pixels = draw_label(pixels, place)
                self.label = place.to_json()
                self.layers["visible"] = Layer("applied")
            return self._watermark(pixels) if watermark else pixels

        try:
            if not options.visible and not self._can_watermark():
                return
            data = redraw(self.image, change)
        except Unchangeable as err:
            if options.visible:
                raise UserError(
                    f"{self.image.name}: no visible label can be drawn into it without loss "
                    f"({err.reason})"
                ) from err
            self.layers["watermark"] = Layer("missing", err.reason)
            self.bindings, self.mark_id, self.record = [], "", None
            return
        if options.visible or self.layers["watermark"].state == "applied":
            self.image = self._reopened(data)

    def _reads_back(self) -> bool:
        """Tell whether the coded file gives the watermark that was drawn."""
        from counterproof.provenance import watermark

        key = self.options.watermark_key
        reading = watermark.read(self.image.pixels(), [key] if key else [])
        found = reading.payload if reading else None
        return found is not None and f"{found.id:x}" == self.mark_id

    def _can_watermark(self) -> bool:
        """Tell whether a watermark needs to be drawn, before anything is coded anew."""
        from counterproof.provenance.pixel_layers import check_changeable

        check_changeable(self.image)
        info = self.image.info
        if _profile(info.width, info.height) is None:
            self.layers["watermark"] = Layer("missing", "too_small")
            return False
        return True

    def _watermark(self, pixels: Any) -> Any:
        from counterproof.provenance import watermark

        profile = _profile(pixels.shape[1], pixels.shape[0])
        if profile is None:
            self.layers["watermark"] = Layer("missing", "too_small")
            return pixels
        payload = watermark.new_payload(self.intent.value, profile=profile)
        try:
            made = watermark.embed(
                pixels,
                payload,
                key=self.options.watermark_key,
                strength=self.options.strength,
                profile=profile,
            )
        except watermark.AlreadyMarked:
            self.layers["watermark"] = Layer("kept")
            return pixels
        except ImageError:
            self.layers["watermark"] = Layer("missing", "contrast")
            return pixels
        from counterproof.provenance.watermark_bind import ALGORITHM, Binding

        self.layers["watermark"] = Layer("applied")
        self.mark_id = f"{payload.id:x}"
        self.bindings = [_binding(payload.algorithm, payload.to_bytes())]
        if profile == "full":
            content = watermark.bind(made.pixels)
            self.bindings.append(_binding(ALGORITHM, content))
            key, signer = self.options.watermark_key, self.identity.name
            self.record = Binding.seal(payload, content, signer, key)
        return made.pixels

    def _code(self) -> None:
        """Code pixels that came from memory into the format that was asked for."""
        options = self.options
        if not self.in_memory or options.format == "png":
            return
        from counterproof.provenance.pixel_input import from_png

        self.image = self._reopened(from_png(self.image, options.format, options.quality))

    def _reopened(self, data: bytes) -> ImageFile:
        name, limits = self.original.name, self.settings.limits
        return ImageFile.open(data, name=name, limits=limits)

    # -- labels

    def write_labels(self) -> None:
        """Write the XMP labels, or say why not."""
        if not self.options.labels:
            return
        from counterproof.provenance import label_writer
        from counterproof.provenance.xmp_place import Unplaceable, packet_of, place

        options, text = self.options, ""
        if self.intent is not Intent.CAPTURED:
            if _has_aigc(self.image, self.settings):
                self.layers["aigc"] = Layer("kept")  # one label per file, and theirs was first
            else:
                producer = options.producer or self.identity.organisation
                text = label_writer.aigc_text(producer, self.mark_id)
        labels = label_writer.Labels(
            self.intent.source_type,
            options.system,
            options.version,
            options.prompt,
            options.prompt_writer,
            options.training,
            options.constraint,
            text,
        )
        kept = reserved_properties(self.image)
        carried = {n: text for n, text in self.reserved.properties.items() if n not in kept}
        values = carried | label_writer.properties(labels)
        reason = ""
        try:
            packet, before = label_writer.merge(packet_of(self.image), values)
            self.image = self._reopened(place(self.image, packet))
        except Unplaceable as err:
            reason = err.reason
        except ProvenanceError:
            reason = "malformed"
        state = Layer("missing", reason) if reason else Layer("applied")
        self.layers["iptc"] = state
        if text:
            self.layers["aigc"] = state
        if not reason:
            self.replaced = [
                f"{name}: {old[:200]}"
                for (space, name), old in before.items()
                if old != values[space, name]
            ]

    # -- signature

    def sign(self, title: str) -> Signed:
        """Sign what the other layers made of the picture."""
        self.layers["credential"] = Layer("applied")
        steps, ingredients = self._steps()
        assertions = [actions_of(steps), *self.bindings]
        entries = self.reserved.entries_without(reserved_properties(self.image))
        if self.options.training:
            asked = training_of(self.options.training, self.options.constraint)
            entries = merged(asked["data"]["entries"], entries)
        if entries:
            assertions.append({"label": TRAINING_MINING, "data": {"entries": entries}})
        said = {name: layer.to_json() for name, layer in self.layers.items()}
        marking: dict[str, Any] = {"intent": self.intent.value, "layers": said}
        if self.label:
            marking["label"] = self.label
        if self.options.trained_on:
            marking["trained_on"] = self.options.trained_on
        assertions.append({"label": MARKING, "data": marking})
        self._settle()
        self._clear()
        signed = sign(
            self.image.data,
            self.image.metadata.mime,
            self.identity,
            assertions,
            name=self.original.name,
            title=title,
            ingredients=ingredients,
            tsa=self.options.tsa,
            sidecar=self.options.sidecar,
        )
        self._check_whole(signed.data)
        return signed

    def _sources(self) -> list[ImageFile]:
        """Return the picture, its parent and its components."""
        limits, options = self.settings.limits, self.options
        named = [*([] if options.parent is None else [options.parent]), *options.components]
        return [self.original, *(ImageFile.open(_path(item), limits=limits) for item in named)]

    def _settle(self) -> None:
        """Lay out an AVIF or HEIC so that the C2PA library can follow it."""
        if self.image.format not in _BOXED or self.options.sidecar:
            return
        from counterproof.provenance.xmp_bmff import Unfit, settle

        try:
            data = settle(self.image.data)
        except (Unfit, ValueError, struct.error):
            return  # `_check_whole` says whether it went well all the same
        if data is not self.image.data:
            self.image = self._reopened(data)

    def _clear(self) -> None:
        """Take the old credential, by now an ingredient, out of a WebP that gets a sidecar.

        The C2PA library does so for every other format; readers prefer what is inside.
        """
        found = self.image.blocks("c2pa")
        if not found or not self.options.sidecar or self.image.format != "webp":
            return
        data = self.image.data
        for block in reversed(found):
            stop = block.offset + block.length + (block.length & 1)
            data = data[: block.offset] + data[stop:]
        size = struct.unpack_from("<I", data, 4)[0] - (len(self.image.data) - len(data))
        self.image = self._reopened(data[:4] + struct.pack("<I", size) + data[8:])

    def _check_whole(self, data: bytes) -> None:
        """Check that a signed file still shows its picture and holds all it held.

        Asked of containers in which places move with a signature, and of files with flaws, on
        which two readers may differ.

        Raises:
            ProvenanceError: if it does not.
        """
        flawed = bool(self.original.flaws or self.original.metadata.damage)
        if self.options.sidecar or not (flawed or self.image.format in (*_BOXED, "tiff")):
            return
        from counterproof.provenance.xmp_bmff import Unfit, item_bytes

        same = True
        try:
            after = self._reopened(data)
            if self.image.format in _BOXED:
                with contextlib.suppress(Unfit):
                    same = item_bytes(data) == item_bytes(self.image.data)
            side = None if flawed else 256
            same = same and (after.pixels(side) == self.image.pixels(side)).all()
        except (ImageError, ValueError, struct.error):
            same = False
        if not same:
            raise ProvenanceError(
                f"{self.original.name}: signing would damage it, since the C2PA library does not "
                "handle how it is laid out; sign it beside the picture (--sidecar)"
            )

    def _steps(self) -> tuple[list[dict[str, Any]], list[Ingredient]]:
        """Return the actions of the manifest, and what they refer to."""
        source_type = SOURCE_TYPES + self.intent.source_type
        said: dict[str, Any] = {"digitalSourceType": source_type}
        if self.options.system:
            agent = {"name": self.options.system}
            if self.options.version:
                agent["version"] = self.options.version
            said["softwareAgent"] = agent
        if self.options.trained_on:
            said["description"] = self.options.trained_on
        moment = self.options.when or (dt.datetime.now(dt.UTC) if self.in_memory else None)
        if moment is not None:
            said["when"] = _stamp(moment)
        ingredients = self._ingredients()
        steps: list[dict[str, Any]] = []
        if ingredients and ingredients[0].relationship == "parentOf":
            opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["ingredient0"]}}
            if self.intent in (Intent.GENERATED, Intent.CAPTURED):
                steps.append({**opened, **said})
            else:
                steps += [opened, {"action": "c2pa.edited", **said}]
        else:
            steps.append({"action": "c2pa.created", **said})
        for index, item in enumerate(ingredients):
            if item.relationship == "componentOf":
                parameters = {"ingredientIds": [f"ingredient{index}"]}
                steps.append({"action": "c2pa.placed", "parameters": parameters})
        own = {
            "softwareAgent": {"name": "counterproof", "version": __version__},
            "when": _stamp(dt.datetime.now(dt.UTC)),
        }
        if self.layers["visible"].state == "applied":
            steps.append({"action": "c2pa.addedText", **own})
        if self.bindings:
            steps.append({"action": "c2pa.watermarked.bound", **own})
        return steps, ingredients

    def _ingredients(self) -> list[Ingredient]:
        from counterproof.provenance.manifest_store import carries_credential

        found = []
        options, limits = self.options, self.settings.limits
        if carries_credential(self.original):
            if options.parent is not None:
                raise UserError(
                    f"{self.original.name}: its own credential already makes it its parent; "
                    "another parent cannot be named"
                )
            found.append(_ingredient(self.original, "parentOf"))
        elif options.parent is not None:
            if self.intent in (Intent.GENERATED, Intent.CAPTURED):
                raise UserError(f"a picture marked as {self.intent.value} has no parent")
            found.append(_ingredient(ImageFile.open(_path(options.parent), limits=limits)))
        for item in options.components:
            found.append(_ingredient(ImageFile.open(_path(item), limits=limits), "componentOf"))
        return found


def _path(value: str | os.PathLike[str] | bytes) -> Any:
    return bytes(value) if isinstance(value, bytes) else value


def _ingredient(image: ImageFile, relationship: str = "parentOf") -> Ingredient:
    check_signable(image)
    store = None if image.blocks("c2pa") else image.sidecar
    mime = image.metadata.mime
    return Ingredient(image.data, mime, Path(image.name).name, relationship, store)


def _stamp(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _binding(algorithm: str, value: bytes) -> dict[str, Any]:
    data = {"alg": algorithm, "blocks": [{"scope": {}, "value": list(value)}]}
    return {"label": "c2pa.soft-binding", "data": data}


def _profile(width: int, height: int) -> Literal["full", "small"] | None:
    """Return the watermark's profile for a picture of this size; None if it is too small."""
    short, longest = sorted((width, height))
    if longest >= 256 and short >= 128:
        return "full"
    return "small" if longest >= 64 and short >= 48 and longest <= 512 else None


# -- what the picture says of itself ----------------------------------------------------------


def _findings(image: ImageFile, settings: Settings) -> list[Any]:
    """Return what labels, traces and the credential of a picture say."""
    from counterproof.findings import Finding
    from counterproof.provenance.credentials import CredentialsAnalyzer
    from counterproof.provenance.labels import LabelsAnalyzer
    from counterproof.provenance.traces import TracesAnalyzer

    found: list[Any] = []
    for kind in (CredentialsAnalyzer, LabelsAnalyzer, TracesAnalyzer):
        found += [item for item in kind(settings).analyze(image) if isinstance(item, Finding)]
    return found


def _admissions(image: ImageFile, settings: Settings) -> list[str]:
    """Name what in a picture says that a model made or edited it."""
    from counterproof.findings import WEAK_STATES, Claim
    from counterproof.provenance import watermark
    from counterproof.provenance.watermark_code import MarkClass

    admitting = (Claim.SYNTHETIC, Claim.MODEL_EDITED)
    words = [
        item.code
        for item in _findings(image, settings)
        if item.claim in admitting and item.state not in WEAK_STATES
    ]
    reading = watermark.read(image.pixels())
    if reading and reading.payload and reading.payload.mark_class is not MarkClass.CAPTURED:
        words.append(f"watermark, {reading.payload.mark_class.value}")
    return list(dict.fromkeys(words))


def _has_aigc(image: ImageFile, settings: Settings) -> bool:
    from counterproof.findings import Finding
    from counterproof.provenance.labels import LabelsAnalyzer

    return any(
        isinstance(item, Finding) and item.code.startswith("label.aigc.")
        for item in LabelsAnalyzer(settings).analyze(image)
    )
