"""Who saved a file last, as far as its structure tells: the analyzer `saved`, profile `quick`.

A program that saves a picture again lays the file out in its own way and puts its own tables in, so
the structure shows the last writer, whatever the metadata say. It is set beside them: a file that
names a camera and is laid out by a program was saved again after the camera. That says nothing of
whether anything in the picture was changed: turning, shrinking and sending do the same.

Source: audit/saving_programs.py; rates in docs/benchmarks.md, "Who saved a file last".
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from counterproof.analysis import Analyzer, Observation, Stage
from counterproof.findings import Finding
from counterproof.images import ImageFile
from counterproof.tiff import clean

if TYPE_CHECKING:
    from counterproof.audit.saving_programs import Program

__all__ = ["SavedByAnalyzer", "named_programs"]

_XMP = "http://ns.adobe.com/xap/1.0/"
_HISTORY = ("http://ns.adobe.com/xap/1.0/mm/", "History")
_AGENT = ("http://ns.adobe.com/xap/1.0/sType/ResourceEvent#", "softwareAgent")
_UNKNOWN, _NONE = "unknown", "none"


class SavedByAnalyzer(Analyzer):
    """Says which program's or camera's way of laying a JPEG or PNG out this file has."""

    name: ClassVar[str] = "saved"
    prefixes: ClassVar[tuple[str, ...]] = ("file",)
    stage: ClassVar[Stage] = Stage.QUICK
    version: ClassVar[str] = "3"

    def analyze(self, image: ImageFile) -> Iterator[Observation]:
        """Yield one of `file.saved.camera`, `.after_camera`, `.program`, `.undetermined`.

        The last only where EXIF names a camera; nothing for other formats than JPEG and PNG.
        """
        if image.format == "png":
            from counterproof.audit.saving_programs import png_program

            if program := png_program(image.data):
                yield Finding(self.name, "file.saved.program", details=_details(image, program))
        elif image.format == "jpeg":
            yield from self._jpeg(image)

    def _jpeg(self, image: ImageFile) -> Iterator[Finding]:
        from counterproof.audit.saving_programs import camera_files, jpeg_program
        from counterproof.jpeg_structure import read_structure

        found = read_structure(image.data)
        if found is None:
            return
        exif = image.exif_directories
        make = exif.text("ifd0", 0x010F) if exif else ""
        program = jpeg_program(found)
        details = _details(image, program) | {
            "layout": found.layout,
            "sampling": found.sampling,
            "standard_huffman": found.standard_huffman,
        }
        if not make:
            if program:
                yield Finding(self.name, "file.saved.program", details=details)
            return
        details["make"] = make
        own = program and program.name == "imageio" and make.upper().startswith("APPLE")
        if program:  # a phone saves by its maker's library when it sends or converts a picture
            state = "program" if own else "after_camera"
            yield Finding(self.name, f"file.saved.{state}", details=details)
        elif seen := camera_files(found, make):
            details |= {"files": seen.files, "models": seen.models}
            yield Finding(self.name, "file.saved.camera", details=details)
        else:
            yield Finding(self.name, "file.saved.undetermined", details=details)


def _details(image: ImageFile, program: "Program | None") -> dict[str, Any]:
    """Say what the structure shows and, beside it, which programs the metadata name."""
    details: dict[str, Any] = {"named": named_programs(image) or _NONE}
    if program:
        quality = _UNKNOWN if program.quality is None else program.quality
        details |= {"saver": program.name, "quality": quality}
    return details


def named_programs(image: ImageFile) -> list[str]:
    """Return the programs that the metadata name, each once: EXIF, PNG text, XMP, its last step."""
    from counterproof.xmp import packets

    exif = image.exif_directories
    found = [exif.text("ifd0", 0x0131)] if exif else []
    for block in image.blocks("text"):
        if block.key == "Software":
            found.append(clean(block.data[:1024].decode("utf-8", "replace")))
    only = ((_XMP, "CreatorTool"), _HISTORY)
    for packet in packets(image, (b"CreatorTool", b"softwareAgent"), only):
        found += [clean(value) for value in packet.get(_XMP, "CreatorTool")[:1]]
        for step in packet.fields.get(_HISTORY, ())[-1:]:
            found += [clean(value) for value in step.get(_AGENT, ())[:1]]
    return list(dict.fromkeys(text for text in found if text))[:8]
