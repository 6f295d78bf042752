"""Turn a finished training into what ships: ONNX files, and a card that says how it was made.

Training room.
"""

import dataclasses
import datetime as dt
import hashlib
import json
from pathlib import Path

from counterproof.errors import UserError
from counterproof.generators.checkpoint import Progress, read_model, write_whole
from counterproof.generators.codec_net import CodecNet
from counterproof.generators.config import Config
from counterproof.generators.dataset import Pictures
from counterproof.generators.generator import Generator
from counterproof.weights import CardFile, DataSource, Metric, ModelCard, Training

__all__ = ["export_checkpoint", "write_card"]


def export_checkpoint(checkpoint: Path, out: Path, data: Pictures) -> tuple[Config, Progress]:
    """Export the averaged network of a checkpoint.

    Args:
        checkpoint: written by the training.
        out: the `.onnx` file; the codec writes `-encoder.onnx` and `.npz` beside it.
        data: the pictures of the training, which VAE and codec fit their tables on.

    Raises:
        UserError: if there is no checkpoint, or data is not that of the training.
        WeightsError: if it is defective.
    """
    config, progress, net, _ = read_model(checkpoint)
    if progress.digest != data.digest:
        raise UserError(f"{checkpoint}: was trained on other pictures than those given")
    if not isinstance(net, CodecNet):
        model = Generator.load(checkpoint).fit_density(data, progress.seed)
        model.save(out)
        return config, progress
    from counterproof.generators.codec_tables import fit_tables
    from counterproof.generators.export import export_codec

    export_codec(net, out, out.with_name(f"{out.stem}-encoder.onnx"))
    pixels, _ = data.train()
    small = pixels.reshape(len(pixels), pixels.shape[1] // 2, 2, -1, 2, 3).mean((2, 4))
    tables = fit_tables(net, [small[::2].round().astype("uint8"), pixels[::8]])
    write_whole(out.with_suffix(".npz"), tables.to_bytes())
    return config, progress


def write_card(
    model: Path,
    *,
    version: str,
    task: str,
    data: tuple[DataSource, ...],
    training: Training,
    metrics: tuple[Metric, ...],
    limits: tuple[str, ...],
    licence: str = "Apache-2.0",
    beside: tuple[Path, ...] = (),
) -> ModelCard:
    """Write `NAME.card.json` beside a model, over its files as they lie there."""
    files = tuple(
        CardFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
        for path in (model, *beside)
    )
    card = ModelCard(
        name=model.stem,
        version=version,
        task=task,
        files=files,
        licence=licence,
        data=data,
        training=training,
        metrics=metrics,
        thresholds={},
        limits=limits,
        date=dt.datetime.now(dt.UTC).date().isoformat(),
    )
    text = json.dumps(dataclasses.asdict(card), indent=1, ensure_ascii=False) + "\n"
    model.with_name(f"{model.stem}.card.json").write_text(text, encoding="utf-8")
    return card
