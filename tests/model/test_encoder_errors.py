"""Every wrong argument is named with its value and what would have been accepted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from encoders import scaled_model, small_config

from onevision_encoder.errors import InvalidArgumentError, OneVisionError, ShapeError
from onevision_encoder.model import OneVisionEncoderModel, preset_config
from onevision_encoder.tokens import tokenize


@pytest.fixture(scope="module")
def model():
    return scaled_model()


VIDEO = torch.zeros(2, 3, 4, 8, 8)  # 16 patches of 4 x 4
PACK, POSITIONS = torch.zeros(6, 48), torch.zeros(6, 3)
INDEX = torch.zeros(2, 3, dtype=torch.long)


@pytest.mark.parametrize(
    ("pixels", "given", "error", "words"),
    [
        (torch.zeros(1, 3, 8, 10), {}, ShapeError, ["(1, 3, 8, 10)", "patch_size = 4"]),
        (torch.zeros(1, 3, 2, 9, 8), {}, ShapeError, ["(1, 3, 2, 9, 8)", "patch_size = 4"]),
        (torch.zeros(1, 1, 8, 8), {}, ShapeError, ["3 channels"]),
        (torch.zeros(3, 8, 8), {}, ShapeError, ["(3, 8, 8)", "[B, 3, H, W]"]),
        (torch.zeros(0, 3, 8, 8), {}, ShapeError, ["at least one patch"]),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), {}, InvalidArgumentError, ["uint8", "floats"]),
        (VIDEO, {"visible_indices": INDEX + 16}, InvalidArgumentError, ["16..16", "0..15"]),
        (VIDEO, {"visible_indices": INDEX - 1}, InvalidArgumentError, ["-1..-1", "0..15"]),
        (
            VIDEO,
            {"visible_indices": torch.full((2, 16), 256)},
            InvalidArgumentError,
            ["256..256", "0..255"],
        ),  # 64 frames x 2 x 2
        (VIDEO[:, :, 0], {"visible_indices": torch.full((2, 4), 4)}, InvalidArgumentError, ["4..4", "0..3"]),
        (VIDEO, {"visible_indices": INDEX[:1]}, ShapeError, ["(1, 3)", "[2, K]"]),
        (VIDEO, {"visible_indices": INDEX[:, :0]}, ShapeError, ["(2, 0)"]),
        (VIDEO, {"visible_indices": INDEX.float()}, InvalidArgumentError, ["float32", "integer"]),
        (VIDEO, {"patch_positions": torch.zeros(2, 15, 3)}, ShapeError, ["(2, 15, 3)", "[2, 16, 3]"]),
        (VIDEO, {"patch_positions": torch.zeros(16, 3)}, ShapeError, ["(16, 3)"]),
        (
            VIDEO,
            {"patch_positions": torch.zeros(2, 16, 3), "visible_indices": INDEX},
            ShapeError,
            ["(2, 16, 3)", "[2, 3, 3]"],
        ),
        (VIDEO, {"cu_seqlens": [0, 16, 32]}, InvalidArgumentError, ["cu_seqlens", "dense"]),
        (PACK, {}, InvalidArgumentError, ["patch_positions=None", "[N, 3]"]),
        (PACK[:, :47], {"patch_positions": POSITIONS}, ShapeError, ["(6, 47)", "[N, 48]"]),
        (PACK, {"patch_positions": POSITIONS[:5]}, ShapeError, ["(5, 3)", "(6, 3)"]),
        (PACK, {"patch_positions": POSITIONS * torch.nan}, InvalidArgumentError, ["18 numbers", "finite"]),
        (PACK, {"patch_positions": POSITIONS.bool()}, InvalidArgumentError, ["torch.bool"]),
        (
            PACK,
            {"patch_positions": POSITIONS, "visible_indices": INDEX},
            InvalidArgumentError,
            ["visible_indices", "packed"],
        ),
        *(
            (PACK, {"patch_positions": POSITIONS, "cu_seqlens": bounds}, ShapeError, ["cu_seqlens", "0 ... 6"])
            for bounds in ([0, 5], [1, 6], [0, 3, 3, 6], [0, 4, 2, 6], [6], [], [[0, 6]], [0.0, 6.0])
        ),
    ],
)
def test_wrong_inputs(model, pixels, given, error, words):
    with pytest.raises(error) as caught:
        model(pixels, **given)
    assert isinstance(caught.value, OneVisionError)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"layer_norm_type": "batch_norm"}, "rms_norm"),
        ({"rope_mode": "spiral"}, "rotary"),
        ({"hidden_size": 130}, "multiple of 32"),
        ({"hidden_size": 96}, "multiple of 32"),
        ({"num_channels": 1}, "3 (RGB)"),
        ({"patch_size": 0}, "at least 1"),
        ({"num_hidden_layers": 1.5}, "integer"),
        ({"rope_temporal_size": 0}, "None or at least 1"),
        ({"attention_dropout": 1.0}, "p < 1"),
    ],
)
def test_wrong_configurations(fields, word):
    with pytest.raises(InvalidArgumentError) as caught:
        small_config(**fields)
    assert word in str(caught.value)
    assert next(iter(fields)) in str(caught.value)


def test_unknown_names():
    with pytest.raises(InvalidArgumentError, match=r"giant.*tiny"):
        preset_config("giant")
    with pytest.raises(InvalidArgumentError, match="hidden_act='softsign'"):
        scaled_model(hidden_act="softsign")


def test_what_is_no_tensor_is_sent_where_it_belongs(model):
    for given, shown in (
        ("clip.mp4", "'clip.mp4'"),
        (tokenize(np.zeros((2, 28, 28, 3), np.uint8), policy="dense"), "'PatchTokens'"),
        (np.zeros((1, 3, 8, 8), np.float32), r"'ndarray', \(1, 3, 8, 8\), 'float32'"),
        (None, "'NoneType'"),
    ):
        with pytest.raises(InvalidArgumentError, match=rf"{shown}.*encode_video.*embed_tokens.*processor"):
            model(given)


def test_positions_of_one_video_are_named_once(model):
    with pytest.raises(ShapeError) as caught:
        model(VIDEO[:1], patch_positions=torch.zeros(1, 15, 3))
    assert str(caught.value).count("[1, 16, 3]") == 1


def test_bounds_that_a_collator_put_end_to_end(model):
    with pytest.raises(ShapeError, match=r"\[0, 3, 0, 3\].*list of images.*batch_size=1"):
        model(PACK, patch_positions=POSITIONS, cu_seqlens=torch.tensor([0, 3, 0, 3]))


def test_a_preset_is_not_looked_for_on_the_hub(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgumentError, match=r"load_encoder\('tiny'\)"):
        OneVisionEncoderModel.from_pretrained("tiny")
