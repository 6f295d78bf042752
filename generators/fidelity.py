"""The published FID and KID, as torch-fidelity computes them, where its weights are at hand.

Nothing is downloaded: the file of the Inception network is named by whoever asks. Training room;
needs the extra `fid`, and a torchvision built for the torch that is installed.

Source: arXiv 1706.08500 (FID), 1801.01401 (KID); computed by torch-fidelity, Apache-2.0.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterproof.errors import MissingExtra, UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Published", "check_weights", "published_distances"]

WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
DIGEST = "6726825d"  # how the SHA-256 of that file begins, as its name says
SUBSETS = 1000  # pictures in a subset of KID at most, as in the paper


@dataclass(frozen=True, slots=True)
class Published:
    """Distances that may be compared with published ones of the same reference and n.

    Attributes:
        fid: Fréchet distance in 2,048 Inception features; with few pictures it is too large.
        kid: kernel distance × 1000, `kid_error` the standard deviation over its subsets.
        n: samples.
        n_held: held-out pictures.
    """

    fid: float
    kid: float
    kid_error: float
    n: int
    n_held: int


def published_distances(
    made: "NDArray[Any]", held: "NDArray[Any]", weights: str | Path
) -> Published:
    """Compare samples with held-out pictures in Inception features.

    Args:
        made: samples, `uint8` RGB, `(N, H, W, 3)`.
        held: pictures, the same.
        weights: torch-fidelity's file of the Inception network.

    Raises:
        UserError: if the file is missing or another one, or torchvision does not load.
        MissingExtra: if torch-fidelity is not installed.
    """
    check_weights(weights)
    fidelity = _library()
    import torch

    class Tensors(torch.utils.data.Dataset[torch.Tensor]):
        def __init__(self, pixels: "NDArray[Any]") -> None:
            self.pixels = torch.from_numpy(pixels).permute(0, 3, 1, 2)

        def __len__(self) -> int:
            return len(self.pixels)

        def __getitem__(self, index: int) -> torch.Tensor:
            return self.pixels[index].contiguous()

    found = fidelity.calculate_metrics(
        input1=Tensors(made), input2=Tensors(held), fid=True, kid=True, cuda=False, cache=False,
        verbose=False, kid_subset_size=min(SUBSETS, len(made), len(held)),
        feature_extractor_weights_path=str(weights),
    )  # fmt: skip
    return Published(
        fid=float(found["frechet_inception_distance"]),
        kid=1e3 * float(found["kernel_inception_distance_mean"]),
        kid_error=1e3 * float(found["kernel_inception_distance_std"]),
        n=len(made),
        n_held=len(held),
    )


def check_weights(weights: str | Path) -> None:
    """Make sure that it is the file it should be: torch-fidelity unpickles what it is given.

    Raises:
        UserError: if it is missing or another one.
    """
    path = Path(weights)
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; FID and KID need {WEIGHTS}, from the releases of torch-fidelity"
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(DIGEST):
        raise UserError(f"{path}: expected {WEIGHTS}, whose SHA-256 begins so; got {digest[:8]}")


def _library() -> Any:
    try:
        import torch_fidelity
    except ImportError as err:
        raise MissingExtra("the published FID and KID", "fid") from err
    except RuntimeError as err:  # torchvision built for another torch: its operators are missing
        raise UserError(
            f"torch-fidelity cannot be loaded: {str(err).splitlines()[0]}; install the torchvision "
            "that was built for your torch"
        ) from err
    return torch_fidelity
