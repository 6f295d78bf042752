"""Hostile files handed to `mark` and `recover`: refused in one way, or marked and whole."""

import contextlib
import time
from pathlib import Path

import numpy as np
import pytest

from counterproof.errors import CounterproofError
from counterproof.images import ImageFile
from counterproof.provenance.mark import assert_marked, mark
from counterproof.provenance.recovery import Recovery
from counterproof.provenance.store import ManifestStore, default_store
from counterproof.provenance.trust import load_trust
from counterproof.settings import Settings

MAX_SECONDS = 10.0
"""Of CPU for one file."""


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_every_hostile_file(test_data: Path, settings: Settings) -> None:
    ramp = np.arange(300, dtype=np.uint8)[:, None, None] + np.zeros((300, 300, 3), np.uint8)
    mark(ramp, "generated", settings=settings)
    store = ManifestStore.open(default_store(settings.home))
    recovery = Recovery([store], load_trust(settings.home), settings.as_of)
    marked = 0
    for path in sorted(item for item in (test_data / "hostile").rglob("*") if item.is_file()):
        started = time.process_time()
        with contextlib.suppress(CounterproofError):
            made = mark(path, "generated", settings=settings)
            marked += 1
            assert_marked(made.data, "generated")
        with contextlib.suppress(CounterproofError):
            recovery.find(ImageFile.open(path, limits=settings.limits))
        assert time.process_time() - started < MAX_SECONDS, path
    assert marked > 50
