"""Training the upper half: it learns a planted sign, goes on where it stopped, and exports."""

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image

from counterproof.detectors.features import WIDTH
from counterproof.detectors.samples import Sample
from tests.detectors.drawn import textured

pytest.importorskip("torch", reason="training needs the extra 'train'")
pytest.importorskip("efficientnet_lite_pytorch", reason="training needs the extra 'train'")

if TYPE_CHECKING:
    from counterproof.detectors.finetune import Kept


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tests run side by side; torch would take every core for each."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Two classes told apart by what a decoder leaves: a grid of small blocks."""
    folder = tmp_path_factory.mktemp("labelled")
    found = []
    for number in range(8):
        pixels = textured(230, 230, number)
        if number % 2:
            small = cv2.resize(pixels, (58, 58), interpolation=cv2.INTER_AREA)
            pixels = cv2.resize(small, (230, 230), interpolation=cv2.INTER_NEAREST)
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        found.append(Sample(path, bool(number % 2), f"source {number // 2}"))
    return found


@pytest.fixture(scope="module")
def kept(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> "Kept":
    from counterproof.detectors import finetune

    return finetune.gather(samples, tmp_path_factory.mktemp("kept"), 0)


def test_the_halves_make_the_whole() -> None:
    import torch

    from counterproof.detectors import lite0

    network = lite0.pretrained()
    tiles = torch.from_numpy(np.stack([textured(224, 224, seed) for seed in (1, 2)]))
    with torch.no_grad():
        activations, below = network.lower(tiles)
        features = network(tiles)
        again = network.upper(activations, below)
    assert activations.shape[1:] == lite0.KEPT_SHAPE
    assert below.shape[1] == lite0.KEPT_WIDTH
    assert again.numpy() == pytest.approx(features.numpy())


def test_training_moves_the_network_towards_its_labels(
    kept: "Kept", samples: list[Sample], tmp_path: Path
) -> None:
    from counterproof.detectors import lite0
    from counterproof.detectors.finetune import Tuner, Tuning

    chosen = [0, 1, 2, 3]
    told: list[str] = []
    tuner = Tuner(kept, samples, tmp_path, Tuning(steps=4, batch=4), told.append)
    tuned = tuner.fit(chosen)
    scores = tuned.scores([4, 5, 6, 7], len(samples))
    assert np.isnan(scores[0][:4]).all()
    assert scores[0][[5, 7]].min() > scores[0][[4, 6]].max()
    frozen, trained = lite0.pretrained().learning(), tuned.network.learning()
    assert not all(bool((a == b).all()) for a, b in zip(frozen, trained, strict=True))

    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    again = tuner.fit(chosen).scores([4, 5, 6, 7], len(samples))
    assert file.stat().st_mtime_ns == written
    assert again[0] == pytest.approx(scores[0], nan_ok=True)


def test_a_view_is_the_mean_of_its_tiles(kept: "Kept") -> None:
    from counterproof.detectors import finetune

    views = finetune.means(kept.table, [1, 2])
    assert sorted(set(zip(views.picture.tolist(), views.delivery.tolist(), strict=True))) == [
        (picture, delivery) for picture in (1, 2) for delivery in range(4)
    ]
    own = (kept.table.picture == 2) & (kept.table.delivery == 0)
    (found,) = views.values[(views.picture == 2) & (views.delivery == 0)]
    assert found == pytest.approx(kept.table.values[own].astype(np.float32).mean(0), abs=1e-3)


def test_the_file_answers_as_the_network_does(kept: "Kept", samples: list[Sample]) -> None:
    import onnxruntime
    import torch

    from counterproof.detectors.finetune import Tuner, Tuning

    tuned = Tuner(kept, samples, None, Tuning(steps=1, batch=2)).fit([0, 1])
    session = onnxruntime.InferenceSession(tuned.onnx(), providers=["CPUExecutionProvider"])
    tiles = np.stack([textured(224, 224, seed) for seed in (1, 2, 3)])
    with torch.no_grad():
        expected = tuned.network.head(tuned.network(torch.from_numpy(tiles)))[:, 0].numpy()
    (features,) = session.run(None, {"tiles": tiles})
    head = tuned.head("digest")
    assert head.usual.shape == (WIDTH,)
    assert head.logits(features) == pytest.approx(expected, abs=0.05)


def test_what_was_kept_is_not_made_again(samples: list[Sample], tmp_path: Path) -> None:
    from counterproof.detectors import finetune

    finetune.gather(samples[:2], tmp_path, 0)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    finetune.gather(samples[:2], tmp_path, 0)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(before) == 2


@pytest.mark.slow
def test_the_recipe_writes_what_evaluate_can_measure(samples: list[Sample], tmp_path: Path) -> None:
    from counterproof.detectors.recipes import tuned
    from counterproof.detectors.trained import open_trained
    from counterproof.detectors.training import Recipe

    told: list[str] = []
    made = tuned(samples, tmp_path, Recipe(folds=2), told.append, steps=2)
    assert made.thresholds.keys() >= {"accuse", "small_accuse"}
    own = open_trained(tmp_path)
    scores = [own.score(np.asarray(Image.open(sample.path))) for sample in samples]
    assert min(scores[1::2]) > max(scores[::2])
    before = len(told)
    tuned(samples, tmp_path, Recipe(folds=2), told.append, steps=2)
    assert not any("skipped" in text or "step" in text for text in told[before:])
