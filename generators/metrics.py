"""How far samples are from pictures: distances in the features of a small net that ships here.

The figures compare models of this project with each other, on one data set; they are not the
published FID or KID, whose net is not used. Every result carries n and the floor: what the same
figure is for training pictures.

Source: Fréchet distance arXiv 1706.08500, kernel distance 1801.01401, precision and recall
1904.06991.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Quality",
    "Reference",
    "copies",
    "feature_classes",
    "features",
    "frechet_distance",
    "kernel_distance",
    "measure",
    "precision_recall",
]

NEIGHBOURS = 5
SIDE = 64  # pixels that the feature net looks at
THUMBNAIL = 16  # pixels a side, where copies are looked for
COPY_QUANTILE = 0.01
COPY_SAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Quality:
    """Samples against held-out pictures, with the floors that training pictures reach.

    Attributes:
        n: samples.
        n_held: held-out pictures.
        frechet: distance; `frechet_floor` is that of as many training pictures.
        kernel: distance × 1000, `kernel_error` its standard error.
        precision: share of samples that lie among held-out pictures.
        recall: share of held-out pictures that lie among samples.
        named: share of samples whose wanted class the net names; None where none was wanted.
        named_held: the same of held-out pictures.
        nearest: 1st percentile of the grey-level distance to the nearest training picture;
            `nearest_held` is that of held-out pictures. Below it, samples may be copies.
    """

    n: int
    n_held: int
    frechet: float
    frechet_floor: float
    kernel: float
    kernel_error: float
    precision: float
    precision_floor: float
    recall: float
    recall_floor: float
    named: float | None
    named_held: float
    nearest: float
    nearest_held: float

    @property
    def copied(self) -> bool:
        """Whether samples lie closer to training pictures than held-out pictures do."""
        return self.nearest < self.nearest_held


def features(pixels: "NDArray[Any]") -> "tuple[NDArray[Any], NDArray[Any]]":
    """Return features `(N, 64)`, z-scored on the net's training pictures, and class logits.

    Args:
        pixels: `uint8`, `(N, side, side, 3)`; looked at in 64 pixels.

    Raises:
        WeightsError: if the net that ships with the project is missing or altered.
    """
    import numpy as np

    from counterproof import weights

    session, pixels = weights.open("generators/features").session, _scaled(pixels)
    made = []
    for start in range(0, len(pixels), 64):
        x = pixels[start : start + 64].transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
        made.append(session.run(None, {"image": x}))
    found = np.concatenate([pair[0] for pair in made]).astype(np.float64)
    return found, np.concatenate([pair[1] for pair in made])


def feature_classes() -> tuple[str, ...]:
    """Return the classes that the feature net names, in the order of its logits."""
    import json

    from counterproof import weights
    from counterproof.generators.sampling import METADATA

    session = weights.open("generators/features").session
    return tuple(json.loads(session.get_modelmeta().custom_metadata_map[METADATA])["classes"])


def _scaled(pixels: "NDArray[Any]") -> "NDArray[Any]":
    import numpy as np
    from PIL import Image

    if pixels.shape[1:3] == (SIDE, SIDE):
        return pixels
    size, way = (SIDE, SIDE), Image.Resampling.LANCZOS
    return np.stack([np.asarray(Image.fromarray(item).resize(size, way)) for item in pixels])


def frechet_distance(a: "NDArray[Any]", b: "NDArray[Any]") -> float:
    """Distance of two Gaussians fitted to features `(N, D)`.

    The square root is taken by eigenvalues of the product, which are real and not negative.
    """
    import numpy as np

    first, second = np.cov(a.T), np.cov(b.T)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    apart = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return float(apart + np.trace(first) + np.trace(second) - 2 * cross)


def kernel_distance(
    a: "NDArray[Any]", b: "NDArray[Any]", seed: int = 0, rounds: int = 40
) -> tuple[float, float]:
    """Polynomial kernel distance of features, unbiased, and its standard error over subsets."""
    import numpy as np

    rng, size = np.random.default_rng(seed), min(400, len(a), len(b))
    found = []
    for _ in range(rounds):
        x, y = (v[rng.choice(len(v), size, replace=False)] for v in (a, b))
        xx, yy, xy = ((u @ v.T / u.shape[1] + 1) ** 3 for u, v in ((x, x), (y, y), (x, y)))
        within = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (size * (size - 1))
        found.append(within - 2 * xy.mean())
    return float(np.mean(found)), float(np.std(found) / np.sqrt(rounds))


def precision_recall(
    known: "NDArray[Any]", made: "NDArray[Any]", seed: int = 0, most: int = 700
) -> tuple[float, float]:
    """Share of samples among pictures, and of pictures among samples, by nearest neighbours."""
    import numpy as np

    rng = np.random.default_rng(seed)
    size = min(most, len(known), len(made))
    a, b = (v[rng.choice(len(v), size, replace=False)] for v in (known, made))
    reach = [np.sort(_distances(v, v), 1)[:, min(NEIGHBOURS, size - 1)] for v in (a, b)]
    between = _distances(a, b)
    precision = (between < reach[0][:, None]).any(0).mean()
    recall = (between < reach[1][None]).any(1).mean()
    return float(precision), float(recall)


def _distances(a: "NDArray[Any]", b: "NDArray[Any]") -> "NDArray[Any]":
    import numpy as np

    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    made: NDArray[Any] = np.sqrt(squares.clip(0))
    return made


def copies(made: "NDArray[Any]", trained: "NDArray[Any]") -> "NDArray[Any]":
    """Mean grey-level distance of each sample to its nearest training picture, or its mirror.

    Args:
        made: `uint8`, `(N, H, W, 3)`; sides are multiples of 16.
        trained: the same of the training pictures.
    """
    return _nearest(_thumbnails(made), _thumbnails(trained))


def _nearest(a: "NDArray[Any]", b: "NDArray[Any]") -> "NDArray[Any]":
    import numpy as np
    from scipy.spatial.distance import cdist

    flat = [v.reshape(len(v), -1) for v in (a, b, b[:, :, ::-1])]
    found = [cdist(flat[0], other, "cityblock").min(1) for other in flat[1:]]
    made: NDArray[Any] = np.minimum(*found) / flat[0].shape[1]
    return made


def _thumbnails(pixels: "NDArray[Any]") -> "NDArray[Any]":
    import numpy as np

    n, height, width, _ = pixels.shape
    tiles = (n, THUMBNAIL, height // THUMBNAIL, THUMBNAIL, width // THUMBNAIL, 3)
    made: NDArray[Any] = pixels.reshape(tiles).mean((2, 4), dtype=np.float64)
    return made


class Reference:
    """The pictures that samples are compared with, looked at once for many comparisons.

    Args:
        trained: pictures that the model was trained on, `uint8`, `(N, side, side, 3)`.
        held: held-out pictures.
        held_labels: their classes.
    """

    def __init__(
        self, trained: "NDArray[Any]", held: "NDArray[Any]", held_labels: "NDArray[Any]"
    ) -> None:
        import numpy as np

        self.held, named = features(held)
        base, _ = features(trained)
        self.named_held = float((named.argmax(1) == held_labels).mean())
        self.frechet_floor = frechet_distance(base, self.held)
        self.precision_floor, self.recall_floor = precision_recall(self.held, base)
        self.thumbnails = _thumbnails(trained)
        nearest = _nearest(_thumbnails(held), self.thumbnails)
        self.nearest_held = float(np.quantile(nearest, COPY_QUANTILE))

    def measure(self, made: "NDArray[Any]", wanted: "NDArray[Any] | None") -> Quality:
        """Compare samples with held-out pictures.

        Args:
            made: samples, `uint8`, `(N, side, side, 3)`; copies are looked for among 1,000.
            wanted: their classes, `(N,)`; None for a model without, or of other classes than
                those of the feature net.
        """
        import numpy as np

        ours, named = features(made)
        kernel, error = kernel_distance(ours, self.held)
        precision, recall = precision_recall(self.held, ours)
        nearest = _nearest(_thumbnails(made[:COPY_SAMPLES]), self.thumbnails)
        return Quality(
            n=len(made),
            n_held=len(self.held),
            frechet=frechet_distance(ours, self.held),
            frechet_floor=self.frechet_floor,
            kernel=1e3 * kernel,
            kernel_error=1e3 * error,
            precision=precision,
            precision_floor=self.precision_floor,
            recall=recall,
            recall_floor=self.recall_floor,
            named=None if wanted is None else float((named.argmax(1) == wanted).mean()),
            named_held=self.named_held,
            nearest=float(np.quantile(nearest, COPY_QUANTILE)),
            nearest_held=self.nearest_held,
        )


def measure(
    made: "NDArray[Any]",
    wanted: "NDArray[Any] | None",
    trained: "NDArray[Any]",
    held: "NDArray[Any]",
    held_labels: "NDArray[Any]",
) -> Quality:
    """Compare samples with held-out pictures once; arguments as those of `Reference`."""
    return Reference(trained, held, held_labels).measure(made, wanted)
