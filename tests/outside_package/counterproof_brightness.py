"""Says how bright a picture is: the smallest useful analyzer."""

from collections.abc import Iterator

from counterproof.analysis import Analyzer, Observation, Stage
from counterproof.findings import Basis, Claim, Fact, Finding
from counterproof.images import ImageFile


class Brightness(Analyzer):
    name, prefixes, stage, timeout_s = "brightness", ("detector",), Stage.QUICK, 5.0

    def analyze(self, image: ImageFile) -> Iterator[Observation]:
        mean = float(image.pixels(max_side=256).mean())
        yield Fact("brightness", round(mean, 1))
        if mean > 250:
            # Asks for more than an outside analyzer gets: the scan lowers the basis.
            claim, basis = Claim.SYNTHETIC, Basis.CRYPTOGRAPHIC
            yield Finding(self.name, "detector.brightness", claim, basis, details={"score": mean})
