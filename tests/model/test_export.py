"""Exported graphs against the model, for sizes that were not there when the graph was made."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from encoders import quiet_encoder, random_pack, scaled_model

from onevision_encoder.errors import InvalidArgumentError, MissingExtraError, WriteError
from onevision_encoder.model import export_onnx, export_program, normalize_patches

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason='needs the extra: pip install "onevision-encoder[export]"',
)
PACKS = ([1, 1], [3, 20], [2, 3, 4, 5], [130, 70])


def packed(lengths, patch=4):
    patches, positions, bounds = random_pack(lengths, patch)
    return {
        "patches": (patches * 60 + 128).clamp(0, 255).to(torch.uint8),
        "positions": positions,
        "cu_seqlens": bounds.to(torch.int32),
        "window_cu_seqlens": bounds.to(torch.int32),
    }


def expected(model, given, clips):
    bounds = given["cu_seqlens"] if clips == "any" else None
    windows = given["window_cu_seqlens"] if model.config.window_frames else None
    with torch.inference_mode():
        output = model(
            normalize_patches(given["patches"]),
            patch_positions=given["positions"],
            cu_seqlens=bounds,
            window_cu_seqlens=windows,
        )
    return [x for x in (output.last_hidden_state, output.pooler_output) if x is not None]


def session(path):
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run(loaded, given):
    return loaded.run(None, {i.name: given[i.name].numpy() for i in loaded.get_inputs()})


@pytest.mark.parametrize(
    ("mode", "clips"),
    [
        ("pairwise", "any"),
        pytest.param("pairwise", "one", marks=pytest.mark.slow),
        pytest.param("rotary", "one", marks=pytest.mark.slow),
    ],
)
def test_program_takes_any_sizes(mode, clips):
    model = scaled_model(rope_mode=mode).train()
    program = export_program(model, clips=clips).module()
    assert model.training
    model.eval()
    for lengths in PACKS:
        given = packed(lengths)
        wanted = expected(model, given, clips)
        names = ["patches", "positions"] + ["cu_seqlens"] * (clips == "any")
        got = program(**{name: given[name] for name in names})
        for mine, theirs in zip(got, wanted, strict=True):
            assert mine.shape == theirs.shape
            assert (mine - theirs).abs().max() < 2e-5


@pytest.mark.slow
def test_clips_of_a_program_never_see_each_other():
    program = export_program(scaled_model(), pixels="float32").module()
    patches, positions, bounds = random_pack([5, 9, 4])
    changed = patches.clone()
    changed[5:14] += 1
    before, after = (
        program(patches=x, positions=positions, cu_seqlens=bounds.to(torch.int32)) for x in (patches, changed)
    )
    same = (before[0] == after[0]).all(-1)
    assert same.tolist() == [True] * 5 + [False] * 9 + [True] * 4
    assert (before[1] == after[1]).all(-1).tolist() == [True, False, True]


@needs_onnx
@pytest.mark.parametrize(
    ("clips", "fields"),
    [
        ("any", {"rope_mode": "rotary"}),
        pytest.param("one", {}, marks=pytest.mark.slow),
        pytest.param("any", {"window_frames": 2}, marks=pytest.mark.slow),
        pytest.param(
            "one",
            {"use_head": False, "rope_mode": "rotary", "layer_norm_type": "rms_norm"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_onnxruntime_gives_the_same_numbers(tmp_path, clips, fields):
    model = scaled_model(**fields)
    path = export_onnx(model, tmp_path / "encoder.onnx", clips=clips, facts={"weights": "of a test"})
    loaded = session(path)
    about = json.loads(loaded.get_modelmeta().custom_metadata_map["onevision_encoder"])
    assert about["patch_size"] == 4
    assert about["rope_mode"] == model.config.rope_mode
    assert about["window_frames"] == model.config.window_frames
    assert about["normalized_in_graph"]
    assert about["weights"] == "of a test"
    assert about["inputs"] == [i.name for i in loaded.get_inputs()]
    assert about["outputs"] == [o.name for o in loaded.get_outputs()]
    for lengths in (*PACKS, [1], [40]):  # one clip too
        given = packed(lengths)
        for mine, theirs in zip(run(loaded, given), expected(model, given, clips), strict=True):
            assert mine.shape == tuple(theirs.shape)
            np.testing.assert_allclose(mine, theirs, atol=1e-4)


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("preset", ["tiny", "small"])
@pytest.mark.parametrize("mode", ["pairwise", "rotary"])
def test_presets_in_onnxruntime(tmp_path, preset, mode):
    model = quiet_encoder(preset, device="cpu", dtype="float32").model
    model.config.rope_mode = mode
    loaded = session(export_onnx(model, tmp_path / "encoder.onnx"))
    for lengths in ([257], [64, 300]):
        given = packed(lengths, patch=14)
        for mine, theirs in zip(run(loaded, given), expected(model, given, "any"), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-4)


@needs_onnx
@pytest.mark.slow
def test_large_weights_go_beside_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("onevision_encoder.model.export.WHOLE_FILE", 1000)
    model = scaled_model()
    path = export_onnx(model, tmp_path / "encoder.onnx", clips="one")
    assert (tmp_path / "encoder.onnx.data").stat().st_size > 1e6
    given = packed([6])
    np.testing.assert_allclose(run(session(path), given)[0], expected(model, given, "one")[0], atol=1e-4)


@needs_onnx
def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(WriteError, match="no such folder"):
        export_onnx(scaled_model(), tmp_path / "no" / "encoder.onnx", clips="one")


def test_what_does_not_export_says_so(tmp_path, monkeypatch):
    model = scaled_model()
    for given, words in (({"clips": "many"}, "clips='many'"), ({"pixels": "int8"}, "pixels='int8'")):
        with pytest.raises(InvalidArgumentError, match=words):
            export_program(model, **given)
    with pytest.raises(InvalidArgumentError, match="an OneVisionEncoderModel"):
        export_program(object())
    with pytest.raises(InvalidArgumentError, match=r"bfloat16.*dtype=\"float32\""):
        export_program(scaled_model().to(torch.bfloat16))
    model.set_attn_implementation("flex_attention")
    with pytest.raises(InvalidArgumentError, match=r"flex_attention.*set_attn_implementation"):
        export_program(model)


def test_missing_extra_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "onnx" else real(name, *rest))
    with pytest.raises(MissingExtraError, match=r'pip install "onevision-encoder\[export\]"') as caught:
        export_onnx(scaled_model(), tmp_path / "encoder.onnx")
    assert "onnx" in caught.value.packages
    assert isinstance(caught.value, ImportError)


class HalfWritten:
    """Stands for a traced program whose file does not fit the disk."""

    def __init__(self, fails):
        self.model, self.fails = SimpleNamespace(metadata_props={}), fails

    def save(self, path, **_):
        Path(path).write_bytes(b"half")
        Path(path + ".data").write_bytes(b"weights")
        if self.fails:
            raise OSError("no space left")


@pytest.mark.parametrize("fails", [True, False])
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch, fails):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: True)
    monkeypatch.setattr("onevision_encoder.model.export.export_program", lambda *_, **__: None)
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: HalfWritten(fails))
    (tmp_path / "encoder.onnx").write_bytes(b"old")
    if fails:
        with pytest.raises(WriteError, match="no space left"):
            export_onnx(scaled_model(), tmp_path / "encoder.onnx")
    else:
        export_onnx(scaled_model(), tmp_path / "encoder.onnx")
    found = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    whole = {"encoder.onnx": b"half", "encoder.onnx.data": b"weights"}
    assert found == ({"encoder.onnx": b"old"} if fails else whole)


@pytest.mark.parametrize("facts", [{"x": {1, 2}}, {"x": float("nan")}, {(1, 2): 3}])
def test_facts_are_looked_at_before_the_model_is_traced(tmp_path, monkeypatch, facts):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: True)
    monkeypatch.setattr("onevision_encoder.model.export.export_program", lambda *_, **__: pytest.fail("traced"))
    with pytest.raises(InvalidArgumentError, match="facts"):
        export_onnx(scaled_model(), tmp_path / "encoder.onnx", facts=facts)
