import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterproof import weights
from counterproof.errors import WeightsError


def tiny_model() -> bytes:
    """Return the ONNX bytes of y = 2 x + 1 over float32 of shape (N, 3)."""
    onnx = pytest.importorskip("onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "two"], ["doubled"]),
            helper.make_node("Add", ["doubled", "one"], ["y"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", float32, ["N", 3])],
        [helper.make_tensor_value_info("y", float32, ["N", 3])],
        [
            helper.make_tensor("two", float32, [], [2.0]),
            helper.make_tensor("one", float32, [], [1.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def card_of(data: bytes, **changes: Any) -> dict[str, Any]:
    return {
        "name": "tiny",
        "version": "1",
        "task": "y = 2 x + 1",
        "files": [
            {
                "path": "tiny.onnx",
                "sha256": hashlib.sha256(data).hexdigest(),
                "bytes": len(data),
            }
        ],
        "licence": "Apache-2.0",
        "data": [{"name": "none", "licence": "CC0-1.0", "n": 0}],
        "training": {"recipe": "none", "commit": "", "seed": 0, "steps": 0, "device": "cpu"},
        "metrics": [
            {
                "name": "error",
                "value": 0,
                "low": 0,
                "high": 0.1,
                "n": 1,
                "set": "none",
                "command": "pytest",
            }
        ],
        "thresholds": {"flag": 0.5},
        "limits": ["adds and multiplies, no more"],
        "date": "2026-11-01",
    } | changes


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return the card of a tiny model that is complete and right."""
    data = tiny_model()
    (tmp_path / "tiny.onnx").write_bytes(data)
    card = tmp_path / "tiny.card.json"
    card.write_text(json.dumps(card_of(data)))
    return card


def test_golden_output(model: Path) -> None:
    loaded = weights.load(model)
    (y,) = loaded.session.run(None, {"x": np.array([[0, 1, -2]], np.float32)})
    np.testing.assert_array_equal(y, [[1, 3, -3]])
    assert loaded.card.metrics[0].high == 0.1
    assert loaded.card.thresholds["flag"] == 0.5
    assert loaded.sha256 == hashlib.sha256(loaded.path.read_bytes()).hexdigest()


def test_session_is_single_threaded_and_kept(model: Path) -> None:
    loaded = weights.load(model)
    options = loaded.session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert loaded.session is loaded.session


def test_load_starts_no_session(model: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from counterproof import weights;"
        f"weights.load(Path({str(model)!r})); assert 'onnxruntime' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_any_altered_byte_is_refused(model: Path) -> None:
    path = model.with_name("tiny.onnx")
    good = path.read_bytes()
    for position in range(0, len(good), 7):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        with pytest.raises(WeightsError, match="altered: expected SHA-256"):
            _ = weights.load(model).session


def test_other_length_is_refused(model: Path) -> None:
    path = model.with_name("tiny.onnx")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=r"altered: expected [\d,]+ bytes"):
        _ = weights.load(model).session


def test_missing_model(model: Path) -> None:
    model.with_name("tiny.onnx").unlink()
    with pytest.raises(WeightsError, match=r"no such file, though tiny\.card\.json describes it"):
        weights.load(model)


def test_undescribed_model(model: Path) -> None:
    model.unlink()
    with pytest.raises(WeightsError, match="has no model card beside it"):
        weights.load(model)


def test_neither_model_nor_card(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weights"):
        weights.load(tmp_path / "tiny.card.json")


def test_further_files_are_checked_too(model: Path) -> None:
    value = json.loads(model.read_text())
    value["files"].append({"path": "labels.json", "sha256": "0" * 64, "bytes": 2})
    model.write_text(json.dumps(value))
    with pytest.raises(WeightsError, match=r"labels\.json: cannot be read"):
        _ = weights.load(model).session
    model.with_name("labels.json").write_text("[]")
    with pytest.raises(WeightsError, match=r"labels\.json: altered"):
        _ = weights.load(model).session


def test_not_a_model(model: Path) -> None:
    data = b"cos\nsystem\n(S'touch /tmp/never'\ntR."  # what a pickle would run
    model.with_name("tiny.onnx").write_bytes(data)
    model.write_text(json.dumps(card_of(data)))
    with pytest.raises(WeightsError, match="not a model that onnxruntime can run"):
        _ = weights.load(model).session


@pytest.mark.parametrize("location", ["secret.bin", "sub/../secret.bin", "{folder}/secret.bin"])
def test_external_data_is_not_followed(
    model: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    """A model that names another file for its numbers must not make us read that file."""
    onnx = pytest.importorskip("onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    monkeypatch.chdir(model.parent)  # onnxruntime would look in the working folder
    Path("sub").mkdir()
    numbers = np.ones((64, 64), np.float32)  # too many to be folded into the graph at loading
    Path("secret.bin").write_bytes(numbers.tobytes())
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", float32, ["N", 64])],
        [helper.make_tensor_value_info("y", float32, ["N", 64])],
        [onnx.numpy_helper.from_array(numbers, "w")],
    )
    tensor = graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location.format(folder=model.parent))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data = made.SerializeToString()
    Path("tiny.onnx").write_bytes(data)
    model.write_text(json.dumps(card_of(data)))
    with pytest.raises(WeightsError, match="External data path"):
        _ = weights.load(model).session


@pytest.mark.parametrize(
    "name",
    [
        "residual",
        "detectors/",
        "detectors/../provenance/x",
        "../detectors/residual",
        "/etc/passwd",
        "detectors/a/b",
        "detectors/.hidden",
        "detectors\\residual",
        "app/residual",
        "detectors/residual\n",
        "",
    ],
)
def test_names_that_are_not_weights(name: str) -> None:
    with pytest.raises(WeightsError, match="expected weights WING/NAME"):
        weights.open(name)


def test_open_names_what_is_missing() -> None:
    with pytest.raises(WeightsError, match=r"no-such-model\.onnx: no such weights"):
        weights.open("detectors/no-such-model")


@pytest.mark.parametrize("path", ["../tiny.onnx", "/etc/passwd", "a/b", "", "..", "a\\b", ".x"])
def test_a_card_cannot_point_elsewhere(model: Path, path: str) -> None:
    value = json.loads(model.read_text())
    value["files"].append({"path": path, "sha256": "0" * 64, "bytes": 1})
    model.write_text(json.dumps(value))
    with pytest.raises(WeightsError, match="expected a bare file name"):
        weights.load(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "other"}, "describes 'other', expected 'tiny'"),
        ({"files": []}, r"does not describe tiny\.onnx"),
        ({"files": {}}, r"card\.files: expected a list, got dict"),
        ({"version": 1}, r"card\.version: expected str, got 1"),
        ({"training": []}, r"card\.training: expected an object, got list"),
        ({"thresholds": {"flag": "high"}}, r"card\.thresholds\.flag: expected float"),
        ({"limits": [True]}, r"card\.limits\[0\]: expected str"),
        ({"score": 1}, "unknown field 'score'"),
    ],
)
def test_defective_cards(model: Path, change: dict[str, Any], message: str) -> None:
    model.write_text(json.dumps(card_of(model.with_name("tiny.onnx").read_bytes(), **change)))
    with pytest.raises(WeightsError, match=message):
        weights.load(model)


def test_incomplete_card(model: Path) -> None:
    value = json.loads(model.read_text())
    del value["licence"]
    model.write_text(json.dumps(value))
    with pytest.raises(WeightsError, match="'licence' is missing"):
        weights.load(model)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"tiny"'])
def test_a_card_that_is_no_card(model: Path, text: str) -> None:
    model.write_text(text)
    with pytest.raises(WeightsError, match=r"tiny\.card\.json: "):
        weights.load(model)
