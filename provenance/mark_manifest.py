"""The last layer of `mark`: the manifest that says what was done, and the signature over all."""

import datetime as dt
from pathlib import Path
from typing import Any

from counterproof import __version__
from counterproof.errors import UserError
from counterproof.images import ImageFile
from counterproof.provenance.label_writer import SOURCE_TYPES
from counterproof.provenance.manifest_store import carries_credential
from counterproof.provenance.mark_job import Job, check_signable, open_named
from counterproof.provenance.mark_options import MARKING, Intent, Layer
from counterproof.provenance.mark_rights import merged
from counterproof.provenance.mark_whole import check_whole, clear_old, settle_boxes
from counterproof.provenance.rights import reserved_properties
from counterproof.provenance.sign import (
    TRAINING_MINING,
    Ingredient,
    Signed,
    actions_of,
    sign,
    training_of,
)

__all__ = ["sign_job"]


def sign_job(job: Job, title: str) -> Signed:
    """Sign what the other layers made of the picture."""
    job.layers["credential"] = Layer("applied")
    steps, ingredients = _steps(job)
    assertions = [actions_of(steps), *job.bindings]
    entries = job.reserved.entries_without(reserved_properties(job.image))
    if job.options.training:
        asked = training_of(job.options.training, job.options.constraint)
        entries = merged(asked["data"]["entries"], entries)
    if entries:
        assertions.append({"label": TRAINING_MINING, "data": {"entries": entries}})
    said = {name: layer.to_json() for name, layer in job.layers.items()}
    marking: dict[str, Any] = {"intent": job.intent.value, "layers": said}
    if job.label:
        marking["label"] = job.label
    if job.options.trained_on:
        marking["trained_on"] = job.options.trained_on
    assertions.append({"label": MARKING, "data": marking})
    settle_boxes(job)
    clear_old(job)
    signed = sign(
        job.image.data,
        job.image.metadata.mime,
        job.identity,
        assertions,
        name=job.original.name,
        title=title,
        ingredients=ingredients,
        tsa=job.options.tsa,
        sidecar=job.options.sidecar,
    )
    check_whole(job, signed.data)
    return signed


def _steps(job: Job) -> tuple[list[dict[str, Any]], list[Ingredient]]:
    """Return the actions of the manifest, and what they refer to."""
    source_type = SOURCE_TYPES + job.intent.source_type
    said: dict[str, Any] = {"digitalSourceType": source_type}
    if job.options.system:
        agent = {"name": job.options.system}
        if job.options.version:
            agent["version"] = job.options.version
        said["softwareAgent"] = agent
    if job.options.trained_on:
        said["description"] = job.options.trained_on
    moment = job.options.when or (dt.datetime.now(dt.UTC) if job.in_memory else None)
    if moment is not None:
        said["when"] = _stamp(moment)
    ingredients = _ingredients(job)
    steps: list[dict[str, Any]] = []
    if ingredients and ingredients[0].relationship == "parentOf":
        opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["ingredient0"]}}
        if job.intent in (Intent.GENERATED, Intent.CAPTURED):
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
    if job.layers["visible"].state == "applied":
        steps.append({"action": "c2pa.addedText", **own})
    if job.bindings:
        steps.append({"action": "c2pa.watermarked.bound", **own})
    return steps, ingredients


def _ingredients(job: Job) -> list[Ingredient]:
    found = []
    options = job.options
    if carries_credential(job.original):
        if options.parent is not None:
            raise UserError(
                f"{job.original.name}: its own credential already makes it its parent; "
                "another parent cannot be named"
            )
        found.append(_ingredient(job.original, "parentOf"))
    elif options.parent is not None:
        if job.intent in (Intent.GENERATED, Intent.CAPTURED):
            raise UserError(f"a picture marked as {job.intent.value} has no parent")
        found.append(_ingredient(open_named(options.parent, job.settings)))
    for item in options.components:
        found.append(_ingredient(open_named(item, job.settings), "componentOf"))
    return found


def _ingredient(image: ImageFile, relationship: str = "parentOf") -> Ingredient:
    check_signable(image)
    store = None if image.blocks("c2pa") else image.sidecar
    mime = image.metadata.mime
    return Ingredient(image.data, mime, Path(image.name).name, relationship, store)


def _stamp(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
