"""Values that canvases and mosaics must not take: each is a typed error, and no folder is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import frames, selection
from neighbours import some_blocks, write_canvases, write_mosaics

from onevision_encoder.errors import InvalidArgumentError, OneVisionError, ShapeError, TokenFileError
from onevision_encoder.tokens import (
    canvas_bounds,
    export_canvases,
    export_mosaics,
    import_canvases,
    import_mosaics,
    make_tokens,
)
from onevision_encoder.types import PatchTokens, Selection


def clip(patch: int = 4) -> PatchTokens:
    return make_tokens(frames(16, 2, 2, patch=patch), selection((16, 2, 2), 32))


def theirs(folder: Path) -> Path:
    """Canvases as their tool writes them."""
    seen = dict(zip((0, 5), frames(2, 2, 4, patch=2).rgb_THW3, strict=True))
    write_canvases(folder, seen, some_blocks(seen, 2, 4, 2, 2), h=2, w=4, patch=2)
    return folder


def original(folder: Path) -> Path:
    """Mosaics as the original writes them."""
    rows = np.array([(t, y, x) for t in range(8) for y in range(2) for x in range(2)])
    write_mosaics(folder, frames(64, 2, 2, patch=4).rgb_THW3, rows, grid=(2, 2), inside=(0, 2, 0, 2))
    return folder


def edit(folder: Path, change: dict[str, Any], *, raw: str = "") -> None:
    path = folder / "meta.json"
    meta = json.loads(path.read_text()) if path.is_file() else {}
    text = json.dumps(meta | change)
    path.write_text(text.replace('"RAW"', raw))


def test_our_folders_keep_their_times(tmp_path: Path) -> None:
    """fps= is for those who say no times; ours do."""
    export_canvases(tmp_path / "c", clip(), block=1, fps=25)
    export_mosaics(tmp_path / "m", clip())
    for read, name in ((import_canvases, "c"), (import_mosaics, "m")):
        with pytest.raises(InvalidArgumentError, match="fps=3"):
            read(tmp_path / name, fps=3)


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize(
    "ids",
    [np.arange(64) + 0.5, np.array([str(i) for i in range(64)]), np.zeros((8, 8), np.int32)],
    ids=["floats", "strings", "two axes"],
)
def test_frames_are_counted_in_integers(tmp_path: Path, ours: bool, ids: Any) -> None:
    tokens = make_tokens(frames(64, 2, 2, patch=4), selection((64, 2, 2), 32))
    if ours:
        export_mosaics(tmp_path / "m", tokens)
    else:
        original(tmp_path / "m")
    theirs(tmp_path / "c")
    for read, name in ((import_mosaics, "m"), (import_canvases, "c")):
        read(tmp_path / name)
        np.save(tmp_path / name / "frame_ids.npy", ids)
        with pytest.raises(TokenFileError, match=r"frame_ids\.npy"):
            read(tmp_path / name)


def test_windows_are_of_whole_blocks() -> None:
    half = make_tokens(frames(4, 4, 4, patch=4), selection((4, 4, 4), 32, order="block2"))
    with pytest.raises(ShapeError, match="half blocks"):
        canvas_bounds(half)


def test_shifted_blocks_are_half_blocks(tmp_path: Path) -> None:
    """2 x 2 patches side by side, but of four blocks: canvases cannot be filled with them."""
    corners = [(0, y + 1, x + 1) for y, x in [(0, 0)]]
    places = [(t, y + dy, x + dx) for t, y, x in corners for dy in (0, 1) for dx in (0, 1)]
    rows = np.array([(t, *place[1:]) for t in range(4) for place in places], np.int32)
    chosen = Selection(
        positions_K3=rows,
        score_K=np.zeros(16, np.float32),
        kind_K=np.ones(16, np.uint8),
        shape=(4, 4, 4),
        order="raster",
    )
    with pytest.raises(ShapeError, match="half blocks"):
        export_canvases(tmp_path / "c", make_tokens(frames(4, 4, 4, patch=4), chosen), fps=25)


@pytest.mark.parametrize("total", ["1e400", "1000", "NaN", "-1", "2.5", "null", "true", '"x"'])
def test_valid_ranges(tmp_path: Path, total: str) -> None:
    names = ("valid_h_start", "valid_h_end", "valid_w_start", "valid_w_end")
    original(tmp_path / "m")
    ranges = {"hb_total": "RAW", **dict(zip(names, (0, 2, 0, 2), strict=True))}
    edit(tmp_path / "m", {"valid_ranges": ranges}, raw=total)
    with pytest.raises(TokenFileError, match="valid_ranges"):
        import_mosaics(tmp_path / "m")


@pytest.mark.parametrize("rate", ["1" + "0" * 400, "1e400", "NaN", "true", "0", "-1", '"25"'])
def test_rates_in_files(tmp_path: Path, rate: str) -> None:
    edit(theirs(tmp_path / "c"), {"fps": "RAW"}, raw=rate)
    with pytest.raises(OneVisionError, match="fps"):
        import_canvases(tmp_path / "c")


@pytest.mark.parametrize("files", [["n" * 5000 + ".png"], ["canvas_000.png"] * 2, [7, 8], ["a\0.png"]])
def test_names_of_pictures(tmp_path: Path, files: list[Any]) -> None:
    edit(theirs(tmp_path / "c"), {"canvas_files": files})
    with pytest.raises(OneVisionError, match="c"):
        import_canvases(tmp_path / "c")


@pytest.mark.parametrize(
    "options",
    [
        {"block": [2]},
        {"block": True},
        {"block": 1.0},
        {"canvases": 3.5},
        {"canvases": "9"},
        {"canvases": True},
        {"fps": float("inf")},
        {"fps": float("nan")},
        {"fps": True},
        {"fps": 10**400},
    ],
    ids=str,
)
def test_arguments_of_canvases(tmp_path: Path, options: dict[str, Any]) -> None:
    given = {"block": 1, "fps": 25, **options}
    with pytest.raises(InvalidArgumentError, match=next(iter(options))):
        export_canvases(tmp_path / "c", clip(), **given)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"patch": 7.5}, {"patch": 0}, {"patch": True}, {"patch": 10**6}], ids=str)
def test_patches_of_mosaics(tmp_path: Path, options: dict[str, Any]) -> None:
    """A mistyped size asks for no more memory than pictures may have."""
    with pytest.raises(InvalidArgumentError, match="patch"):
        import_mosaics(original(tmp_path / "m"), **options)


@pytest.mark.parametrize("rate", [float("inf"), True, "25", 10**400])
def test_rates_given(tmp_path: Path, rate: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="fps"):
        import_mosaics(original(tmp_path / "m"), fps=rate)
    with pytest.raises(InvalidArgumentError, match="fps"):
        import_canvases(theirs(tmp_path / "c"), fps=rate)


@pytest.mark.parametrize("options", [{"conversations": ["x"]}, {"conversations": 3}, {"mosaics": 8.0}], ids=str)
def test_arguments_of_mosaics(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(options))):
        export_mosaics(tmp_path / "m", clip(), **options)
    assert list(tmp_path.iterdir()) == []
