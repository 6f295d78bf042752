"""Draw pictures from a model file with numpy and onnxruntime alone: pixels, not yet marked.

What is random is drawn here, so that onnxruntime and torch draw the same. Picture i of a seed
depends on seed and i only, not on how many are drawn. These arrays are for training, metrics and
research. What leaves as a file goes through `marked_output`, which marks.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from counterproof.errors import UserError, WeightsError

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray

    from counterproof.weights import Weights

__all__ = [
    "BUNDLED",
    "METADATA",
    "ModelFacts",
    "Sampler",
    "facts_from_json",
    "open_sampler",
    "read_model_file",
]

METADATA = "counterproof.generator"
BUNDLED = ("gan", "vae", "stylegan")
BATCH = 16
MAX_BYTES = 1 << 30
MAX_SEED = 2**63 - 1
MAX_STATEMENT = 500  # characters

# named inputs of a model to its pictures, float32, (N, 3, H, W), -1 to 1
Backend: TypeAlias = "Callable[[dict[str, NDArray[Any]]], NDArray[Any]]"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model file says of itself.

    Attributes:
        family: `gan`, `vae` or `stylegan`.
        latent: dimensions of z.
        classes: names that can be asked for; empty if none can.
        shares: of the classes among the training pictures.
        mixture: weights of a VAE's Gaussians.
        mixed: the class of each.
        depth: layers that StyleGAN2's styles steer.
        trained_on: what it was trained on, in a sentence.
        config: settings of the model as JSON; empty in files that cannot be read into torch.
    """

    family: str
    latent: int
    classes: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    mixture: tuple[float, ...] = ()
    mixed: tuple[int, ...] = ()
    depth: int = 0
    trained_on: str = ""
    config: str = ""


class Sampler:
    """A model that can be drawn from.

    Args:
        backend: runs the model.
        facts: what the model says of itself.
        name: of the model.
        version: of the model.
        digest: SHA-256 of the file, hex.
    """

    def __init__(
        self, backend: Backend, facts: ModelFacts, name: str, version: str = "", digest: str = ""
    ) -> None:
        self.backend, self.facts = backend, facts
        self.name, self.version, self.digest = name, version, digest

    def labels(self, n: int, seed: int, label: str | None = None) -> "NDArray[Any]":
        """Return the class of each picture, `(n,)`; -1 where the model draws freely.

        Raises:
            UserError: if the model knows no such class.
        """
        import numpy as np

        classes = self.facts.classes
        if label is not None:
            if label not in classes:
                known = ", ".join(classes) or "none"
                raise UserError(f"{self.name}: expected a label of {known}, got {label!r}")
            return np.full(n, classes.index(label))
        if self.facts.family == "vae" or not classes:
            return np.full(n, -1)
        return np.array([_stream(seed, i).choice(len(classes), p=self._shares()) for i in range(n)])

    def _shares(self) -> "NDArray[Any]":
        import numpy as np

        shares = np.array(self.facts.shares or [1.0] * len(self.facts.classes))
        made: NDArray[Any] = shares / shares.sum()
        return made

    def sample(
        self, n: int, seed: int = 0, label: str | None = None, truncation: float = 1.0
    ) -> "NDArray[Any]":
        """Draw pictures: `uint8` RGB, `(n, size, size, 3)`, not marked.

        Args:
            n: how many.
            seed: 0 to 2^63 - 1; the same seed gives the same pictures.
            label: class to draw; any if None.
            truncation: 1 for all that the model can do, less for more usual pictures.

        Raises:
            UserError: if the label, n or seed is wrong.
        """
        import numpy as np

        if n < 1 or not 0 <= seed <= MAX_SEED or not 0 <= truncation <= 2:
            raise UserError(
                f"expected n of 1 or more, a seed of 0 to {MAX_SEED} and a truncation of 0 to 2, "
                f"got {n}, {seed}, {truncation:g}"
            )
        labels = self.labels(n, seed, label)
        parts = []
        for start in range(0, n, BATCH):
            numbers = range(start, min(start + BATCH, n))
            parts.append(
                self._draw(numbers, seed, labels[numbers.start : numbers.stop], truncation)
            )
        return np.concatenate(parts)

    def _draw(
        self, numbers: range, seed: int, labels: "NDArray[Any]", truncation: float
    ) -> "NDArray[Any]":
        return self.run(self._inputs(numbers, seed, labels, truncation))

    def inputs(self, n: int, seed: int = 0) -> "tuple[dict[str, NDArray[Any]], NDArray[Any]]":
        """Return what `sample` gives to the model, and the classes."""
        labels = self.labels(n, seed)
        return self._inputs(range(n), seed, labels, 1.0), labels

    def _inputs(
        self, numbers: range, seed: int, labels: "NDArray[Any]", truncation: float
    ) -> "dict[str, NDArray[Any]]":
        import numpy as np

        streams = [_stream(seed, i, 1) for i in numbers]
        z = np.stack([rng.standard_normal(self.facts.latent, np.float32) for rng in streams])
        if self.facts.family == "vae":
            component = np.array(
                [self._component(rng, label) for rng, label in zip(streams, labels, strict=True)],
                np.int64,
            )
            scale = np.array(truncation, np.float32)
            return {"z": z, "component": component, "truncation": scale}
        if self.facts.family == "stylegan":
            return self._styled(z, z, labels, self.facts.depth, truncation)
        return {"z": z * np.float32(truncation), "label": self._one_hot(labels)}

    def _component(self, rng: Any, label: int) -> int:
        """Draw one of a VAE's Gaussians: of a class, or of any for -1."""
        import numpy as np

        weights = np.array(self.facts.mixture)
        if label >= 0:
            weights = weights * (np.array(self.facts.mixed) == label)
        return int(rng.choice(len(weights), p=weights / weights.sum()))

    def styled(
        self, z: "NDArray[Any]", other: "NDArray[Any]", labels: "NDArray[Any]", cut: int,
        truncation: float = 1.0,
    ) -> "NDArray[Any]":  # fmt: skip
        """Draw with StyleGAN2, with the style of `other` from layer `cut` on.

        Args:
            z: `(N, latent)`, float32.
            other: the same.
            labels: classes, `(N,)`.
            cut: 0 to `facts.depth`.
            truncation: as for `sample`.
        """
        return self.run(self._styled(z, other, labels, cut, truncation))

    def _styled(
        self, z: "NDArray[Any]", other: "NDArray[Any]", labels: "NDArray[Any]", cut: int,
        truncation: float,
    ) -> "dict[str, NDArray[Any]]":  # fmt: skip
        import numpy as np

        return {
            "z": z, "other": other, "label": self._one_hot(labels),
            "truncation": np.array(truncation, np.float32), "cut": np.array(cut, np.int64),
        }  # fmt: skip

    def latents(self, n: int, seed: int) -> "NDArray[Any]":
        """Return the z that `sample` uses: `(n, latent)`, float32."""
        import numpy as np

        streams = [_stream(seed, i, 1) for i in range(n)]
        return np.stack([rng.standard_normal(self.facts.latent, np.float32) for rng in streams])

    def _one_hot(self, labels: "NDArray[Any]") -> "NDArray[Any]":
        import numpy as np

        named = labels[:, None] == np.arange(len(self.facts.classes))[None]
        made: NDArray[Any] = named.astype(np.float32)
        return made

    def run(self, given: "dict[str, NDArray[Any]]") -> "NDArray[Any]":
        """Run the model; return `uint8` RGB, `(N, H, W, 3)`."""
        return to_pixels(self.backend(given))


def to_pixels(made: "NDArray[Any]") -> "NDArray[Any]":
    """Turn `(N, 3, H, W)`, -1 to 1, into `uint8`, `(N, H, W, 3)`."""
    import numpy as np

    scaled = (made.clip(-1, 1) + 1) * 127.5
    return np.ascontiguousarray(scaled.round().astype(np.uint8).transpose(0, 2, 3, 1))


def _stream(seed: int, number: int, purpose: int = 0) -> Any:
    """Random stream of one picture; counters keep streams apart (Philox, doi 10.1145/2063384)."""
    import numpy as np

    return np.random.Generator(np.random.Philox(key=[seed, 2 * number + purpose]))


def open_sampler(model: str) -> Sampler:
    """Open a bundled model by name, or a model file.

    Raises:
        UserError: if it is neither a bundled name nor a file.
        WeightsError: if the file is not such a model.
    """
    from counterproof import weights

    if model in BUNDLED:
        return _described(weights.open(f"generators/{model}"))
    path = Path(model)
    card = path.with_name(f"{path.stem}.card.json")
    if path.is_file() and card.is_file():
        return _described(weights.load(card))
    data = read_model_file(model)
    digest = hashlib.sha256(data).hexdigest()
    session = weights.session_of(data, path)
    return Sampler(_backend(session), _facts(session, path.name), path.stem, "", digest)


def read_model_file(model: str) -> bytes:
    """Return the ONNX file of a bundled model by name, or of a path.

    Raises:
        UserError: if it is neither a bundled name nor a file.
        WeightsError: if it is too large, or a bundled one was altered.
    """
    from counterproof import weights

    if model in BUNDLED:
        return weights.open(f"generators/{model}").read()
    path = Path(model)
    if not path.is_file():
        known = ", ".join(BUNDLED)
        raise UserError(f"{model}: expected a model of {known}, or an .onnx file that was exported")
    if path.stat().st_size > MAX_BYTES:
        raise WeightsError(f"{path}: larger than {MAX_BYTES:,} bytes")
    return path.read_bytes()


def _described(found: "Weights") -> Sampler:
    card, session = found.card, found.session
    facts = dataclasses.replace(_facts(session, card.name), trained_on=card.data_statement())
    return Sampler(_backend(session), facts, card.name, card.version, found.sha256)


def _backend(session: "onnxruntime.InferenceSession") -> Backend:
    wanted = {item.name for item in session.get_inputs()}

    def run(given: "dict[str, NDArray[Any]]") -> "NDArray[Any]":
        made: NDArray[Any] = session.run(None, {k: v for k, v in given.items() if k in wanted})[0]
        return made

    return run


def _facts(session: "onnxruntime.InferenceSession", name: str) -> ModelFacts:
    return facts_from_json(session.get_modelmeta().custom_metadata_map.get(METADATA, "null"), name)


def facts_from_json(text: str, name: str) -> ModelFacts:
    """Read what an exported file says of itself.

    Raises:
        WeightsError: if it is not a generator's.
    """
    try:
        value = json.loads(text)
        facts = ModelFacts(
            family=str(value["family"]),
            latent=int(value["latent"]),
            classes=tuple(str(item) for item in value.get("classes", ())),
            shares=tuple(float(item) for item in value.get("shares", ())),
            mixture=tuple(float(item) for item in value.get("mixture", ())),
            mixed=tuple(int(item) for item in value.get("mixed", ())),
            depth=int(value.get("depth", 0)),
            trained_on=str(value.get("trained_on", ""))[:MAX_STATEMENT],
            config=str(value.get("config", "")),
        )
    except (ValueError, KeyError, TypeError) as err:
        raise WeightsError(f"{name}: not a generator that this project exported") from err
    if facts.family not in BUNDLED or not 0 < facts.latent <= 65_536:
        raise WeightsError(f"{name}: expected a family of {', '.join(BUNDLED)}")
    if facts.family == "vae" and (not facts.mixture or len(facts.mixed) != len(facts.mixture)):
        raise WeightsError(f"{name}: does not say of which class its Gaussians are: export it anew")
    return facts
