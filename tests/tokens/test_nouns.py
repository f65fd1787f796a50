"""What the nouns of types.py refuse, and how they print."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made import frames, selection

from onevision_encoder.errors import ShapeError
from onevision_encoder.tokens import make_tokens, pack
from onevision_encoder.types import ClipInfo, CodecSignals, Selection


def fields(T: int = 3, y: int = 2, x: int = 4) -> dict[str, Any]:
    return {
        "residual_Tyx": np.zeros((T, y, x), np.float32),
        "motion_Tyx2": np.zeros((T, y, x, 2), np.float32),
        "intra_Tyx": np.broadcast_to(np.arange(T)[:, None, None] == 0, (T, y, x)).copy(),
        "valid_T": np.ones(T, np.bool_),
        "cut_T": np.arange(T) == 0,
        "interval": "sample",
        "frame_size": (8 * y, 8 * x),
        "bits_Tyx": np.zeros((T, y, x), np.float32),
    }


@pytest.mark.parametrize("name", ["residual_Tyx", "motion_Tyx2", "bits_Tyx"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_signals_are_finite(name: str, value: float) -> None:
    given = fields()
    CodecSignals(**given)
    CodecSignals(**(given | {"bits_Tyx": None}))
    given[name].ravel()[[3, 5]] = value
    with pytest.raises(ShapeError, match=f"{name}='2 values that are not finite'"):
        CodecSignals(**given)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("residual_Tyx", np.float64),
        ("motion_Tyx2", np.int16),
        ("bits_Tyx", np.float16),
        ("intra_Tyx", np.uint8),
        ("valid_T", np.int64),
        ("cut_T", np.uint8),
    ],
)
def test_signals_are_of_their_dtypes(name: str, dtype: type) -> None:
    given = fields()
    with pytest.raises(ShapeError, match=rf"{name}.*{np.dtype(dtype)}.*(float32|bool)"):
        CodecSignals(**(given | {name: given[name].astype(dtype)}))


def test_signals_of_no_frame_and_of_no_axes() -> None:
    with pytest.raises(ShapeError, match=r"T=0.*at least one frame"):
        CodecSignals(**fields(T=0))
    with pytest.raises(ShapeError):
        CodecSignals(**(fields() | {"residual_Tyx": np.float32(0)}))


def test_cuts_are_all_intra() -> None:
    given = fields(T=4)
    given["cut_T"][2] = True
    with pytest.raises(ShapeError, match=r"predicted cells in frames \[2\].*all True where cut_T"):
        CodecSignals(**given)
    given["intra_Tyx"][2] = True
    CodecSignals(**given)
    given["intra_Tyx"][0, 1, 1] = False
    with pytest.raises(ShapeError, match=r"frames \[0\]"):
        CodecSignals(**given)


@pytest.mark.parametrize(
    "change",
    [
        {"order": "spiral"},
        {"layout": "foo"},
        {"kind_K": np.full(9, 3, np.uint8)},
        {"kind_K": np.zeros(9, np.int64)},
        {"score_K": np.full(9, np.nan, np.float32)},
        {"score_K": np.zeros(9)},
    ],
)
def test_selections(change: dict[str, Any]) -> None:
    made = selection((5, 4, 6), 9)
    names = ("positions_K3", "score_K", "kind_K", "shape")
    with pytest.raises(ShapeError, match=next(iter(change))):
        Selection(**({name: getattr(made, name) for name in names} | change))


@pytest.mark.parametrize(
    "change",
    [
        {"patch": 0},
        {"grid": (0, 4)},
        {"grid": (4,)},
        {"layout": "foo"},
        {"order": "foo"},
        {"frame_index_T": np.array([0, 2, 2])},
        {"frame_index_T": np.zeros((3, 3), np.int64)},
        {"pts_seconds_T": np.array([0.0, 2.0, 1.0])},
        {"pts_seconds_T": np.array([0.0, 1.0, np.inf])},
        {"model_time_T": np.array([0, np.nan, 1], np.float32)},
    ],
)
def test_clips(change: dict[str, Any]) -> None:
    given = {
        "name": "c",
        "patch": 14,
        "grid": (4, 6),
        "frame_index_T": np.arange(3),
        "pts_seconds_T": np.arange(3) / 25,
        "model_time_T": np.arange(3, dtype=np.float32),
    }
    ClipInfo(**given)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=next(iter(change))):
        ClipInfo(**(given | change))


def test_nouns_print_in_one_line() -> None:
    clip, chosen = frames(), selection((5, 4, 6), 9)
    tokens = make_tokens(clip, chosen)
    for noun, words in (
        (clip, ["FrameSequence(", "uint8[5, 56, 84, 3]", "'made-0.mp4'", "patch=14"]),
        (CodecSignals(**fields()), ["CodecSignals(", "float32[3, 2, 4, 2]", "interval='sample'"]),
        (chosen, ["Selection(", "int32[9, 3]", "shape=(5, 4, 6)", "order='raster'"]),
        (tokens.clips[0], ["ClipInfo(", "'made-0.mp4'", "grid=(4, 6)", "float64[5]"]),
        (pack([tokens] * 900), ["PatchTokens(", "uint8[8100, 588]", "<900 ClipInfo>"]),
    ):
        text = repr(noun)
        assert "\n" not in text
        assert len(text) < 300
        assert "provenance" not in text
        for word in words:
            assert word in text
