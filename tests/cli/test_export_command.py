"""`ove export`, from a checkpoint folder to numbers out of onnxruntime."""

from __future__ import annotations

import importlib.util
import json
import sys

import numpy as np
import pytest

from onevision_encoder import OneVisionEncoderConfig, OneVisionEncoderModel, embed_tokens, load_encoder, tokenize
from onevision_encoder.cli import main

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason='needs the extra: pip install "onevision-encoder[export]"',
)


@pytest.fixture
def folder(tmp_path):
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 1}
    OneVisionEncoderModel(OneVisionEncoderConfig(**sizes)).save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@needs_onnx
def test_export_takes_tokens_as_they_are(folder, tmp_path, capsys):
    import onnxruntime

    file = tmp_path / "encoder.onnx"
    assert main(["export", str(folder), "--out", str(file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["file"] == str(file)
    assert "sha256" in said["weights"]
    tokens = tokenize(np.random.default_rng(0).integers(0, 256, (4, 56, 84, 3), dtype=np.uint8), budget=30)
    given = {
        "patches": tokens.patches_ND,
        "positions": tokens.model_positions_N3,
        "cu_seqlens": tokens.cu_seqlens,
    }
    _, pooled = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, given)
    wanted = embed_tokens(load_encoder(folder, dtype="float32", device="cpu"), tokens)
    np.testing.assert_allclose(pooled, wanted.pooled_SC, atol=1e-4)


def test_without_the_extra_it_says_what_to_install(folder, tmp_path, capsys, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "onnx" else real(name, *rest))
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", str(folder), "--out", str(tmp_path / "encoder.onnx")]) == 2
    assert 'pip install "onevision-encoder[export]"' in capsys.readouterr().err
