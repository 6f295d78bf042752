"""For other people's programs: mark what a callable returns, and assert that a file is marked."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from counterproof.images import ImageFile
from counterproof.provenance.mark_options import MARKING, Intent, intent_of
from counterproof.settings import Settings, load_settings

if TYPE_CHECKING:
    from counterproof.provenance.mark import MarkedImage

__all__ = ["assert_marked", "marking"]


def assert_marked(
    image: "str | os.PathLike[str] | bytes | MarkedImage",
    intent: Intent | str | None = None,
    *,
    settings: Settings | None = None,
) -> None:
    """Assert, in a test, that a file carries an intact credential and every layer it states.

    Args:
        image: a path, the bytes of a file, or what `mark` returned.
        intent: what it must have been marked as; any if None.
        settings: limits and trust lists; by default as the environment says.

    Raises:
        AssertionError: if a layer is missing, broken or says something else.
        ImageError: if the file cannot be read.
    """
    from counterproof.provenance.credentials import read_credential
    from counterproof.provenance.mark import MarkedImage
    from counterproof.provenance.trust import load_trust

    used = settings or load_settings()
    if isinstance(image, MarkedImage):
        opened = ImageFile.open(image.data, name=image.name, sidecar=image.sidecar)
    else:
        opened = ImageFile.open(image, limits=used.limits)
    credential = read_credential(opened, load_trust(used.home), used.as_of)
    if credential is None:
        raise AssertionError(f"{opened.name}: carries no credential")
    if credential.state not in ("verified", "intact"):
        why = ", ".join(credential.failures) or credential.reading.error
        raise AssertionError(f"{opened.name}: its credential is {credential.state} ({why})")
    said = _stated(credential.reading.contents.get(credential.reading.active) or {})
    if said is None:
        raise AssertionError(f"{opened.name}: its credential was not made by `mark`")
    if intent is not None and said.get("intent") != intent_of(intent).value:
        raise AssertionError(
            f"{opened.name}: marked as {said.get('intent')}, expected {intent_of(intent).value}"
        )
    layers = said.get("layers") or {}
    stated = {name for name, layer in layers.items() if layer.get("state") == "applied"}
    for name, there in _present(opened, used, stated):
        if not there:
            raise AssertionError(f"{opened.name}: its manifest states the layer {name}, it is gone")


def _stated(content: Any) -> dict[str, Any] | None:
    """Return what the manifest says of its layers."""
    store = content.get("assertion_store") if isinstance(content, Mapping) else None
    found = store.get(MARKING) if isinstance(store, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else None


def _present(
    image: ImageFile, settings: Settings, names: Collection[str]
) -> Iterator[tuple[str, bool]]:
    """Yield each of the named layers that can be looked for, and whether it is there."""
    from counterproof.findings import Finding
    from counterproof.provenance import watermark
    from counterproof.provenance.labels import LabelsAnalyzer

    labels = LabelsAnalyzer(settings).analyze(image)
    codes = [item.code for item in labels if isinstance(item, Finding)]
    for name, code in (("iptc", "label.iptc.source_type"), ("aigc", "label.aigc.declared")):
        if name in names:
            yield name, code in codes
    if "watermark" in names:
        reading = watermark.read(image.pixels(), [path.read_bytes() for path in settings.keys])
        yield "watermark", bool(reading and reading.payload)


class marking:
    """Mark whatever a callable or a diffusers pipeline returns.

        pipe = marking(pipe, "generated", system="Example Model")
        pipe("a lighthouse").images[0].save("lighthouse.png")

    Pictures, arrays, lists of them, and objects with `.images` are marked; the last keep their
    other fields. Everything else about the wrapped object is reached through the wrapper.
    """

    def __init__(
        self, make: Callable[..., Any], intent: Intent | str = Intent.GENERATED, **options: Any
    ) -> None:
        self._make = make
        self._intent = intent_of(intent)
        self._options = options

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call what is wrapped and mark what it returns."""
        return self._marked(self._make(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._make, name)

    def _marked(self, result: Any) -> Any:
        images = getattr(result, "images", None)
        if images is not None and not callable(images):
            result.images = _mark(images, self._intent, self._options)
            return result
        if isinstance(result, tuple) and result:  # diffusers with return_dict=False
            return (_mark(result[0], self._intent, self._options), *result[1:])
        return _mark(result, self._intent, self._options)


def _mark(images: Any, intent: Intent, options: dict[str, Any]) -> Any:
    from counterproof.provenance.mark import mark

    return mark(images, intent, **options)
