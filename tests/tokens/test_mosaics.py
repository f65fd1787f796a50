"""Mosaics of the original's language-model training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import frames, selection
from neighbours import write_mosaics
from PIL import Image
from test_canvases import same_tokens

from onevision_encoder.errors import InvalidArgumentError, MediaNotFoundError, ShapeError, TokenFileError, WriteError
from onevision_encoder.tokens import export_mosaics, import_mosaics, load_tokens, make_tokens, reorder, save_tokens
from onevision_encoder.types import Kind


@pytest.mark.parametrize("T", [16, 64])
@pytest.mark.parametrize("order", ["raster", "block2"])
def test_png_gives_back_the_very_tokens(tmp_path: Path, T: int, order: str) -> None:
    tokens = make_tokens(frames(T, 6, 4, patch=4), selection((T, 6, 4), 8 * 24, order=order))  # type: ignore[arg-type]
    turns = [{"from": "human", "value": "<video>What happens?"}, {"from": "gpt", "value": "A street."}]
    line = export_mosaics(tmp_path / "m", tokens, sample_id="7", conversations=turns)
    same_tokens(import_mosaics(tmp_path / "m"), tokens)
    assert line["id"] == "7"
    assert line["conversations"] == turns
    assert [Path(p).is_file() for p in line["image"]] == [True] * 8
    rows = np.load(line["positions_thw"])
    assert rows.dtype == np.int32
    assert [tuple(r) for r in rows] == sorted(tuple(r) for r in rows)
    assert (np.load(tmp_path / "m" / "visible_indices.npy") == rows @ [24, 4, 1]).all()


def test_frames_at_their_own_slots_come_back_there(tmp_path: Path) -> None:
    slot_T = np.array([1, 2, 5, 17, 18, 30, 31, 63])
    tokens = make_tokens(replace(frames(8, 6, 4, patch=4), slot_T=slot_T), selection((8, 6, 4), 2 * 24), time="slots")
    line = export_mosaics(tmp_path / "m", tokens, mosaics=2)
    same_tokens(import_mosaics(tmp_path / "m"), tokens)
    assert set(np.load(line["positions_thw"])[:, 0]) == set(slot_T[tokens.positions_N3[:, 0]])


def test_the_original_finds_each_patch_where_its_row_says(tmp_path: Path) -> None:
    source = frames(64, 3, 5, patch=4)
    line = export_mosaics(tmp_path / "m", make_tokens(source, selection((64, 3, 5), 8 * 15)))
    rows = np.load(line["positions_thw"])
    pictures = [np.asarray(Image.open(path)) for path in line["image"]]
    for i, (t, y, x) in enumerate(rows):
        slot = i % 15
        a, b = slot // 5 * 4, slot % 5 * 4
        cut = pictures[i // 15][a : a + 4, b : b + 4]
        assert np.array_equal(cut, source.rgb_THW3[t, y * 4 : y * 4 + 4, x * 4 : x * 4 + 4])


@pytest.mark.parametrize("inside", [(0, 6, 0, 6), (1, 5, 0, 6), (0, 6, 2, 4)])
@pytest.mark.parametrize("last", [0, 1], ids=["ends outside", "ends inside"])
def test_theirs_are_read_to_the_bit(tmp_path: Path, inside: tuple[int, int, int, int], last: int) -> None:
    """With and without letterbox patches left out."""
    top, bottom, left, right = inside
    source = frames(64, 6, 6, patch=4)
    rng = np.random.default_rng(0)
    per = (bottom - top) * (right - left)
    every = [(t, y, x) for t in range(64) for y in range(top, bottom) for x in range(left, right)]
    others = rng.choice(np.arange(per, len(every)), 7 * per, replace=False)
    rows = np.array([every[i] for i in sorted([*range(per), *others])])
    write_mosaics(tmp_path / "m", source.rgb_THW3, rows, grid=(6, 6), inside=inside)
    names = ("valid_h_start", "valid_h_end", "valid_w_start", "valid_w_end")
    corners = (top, bottom - last, left, right - last)
    ranges = {"S_valid": per, "hb_total": 6, "wb_total": 6, **dict(zip(names, corners, strict=True))}
    (tmp_path / "stage1.meta.json").write_text(json.dumps({"valid_ranges": ranges}))
    tokens = import_mosaics(tmp_path / "m", meta=tmp_path / "stage1.meta.json")
    assert np.array_equal(tokens.positions_N3, rows)
    assert np.array_equal(tokens.model_positions_N3, rows)
    for patch, (t, y, x) in zip(tokens.patches_ND, rows, strict=True):
        cut = source.rgb_THW3[t, y * 4 : y * 4 + 4, x * 4 : x * 4 + 4]
        assert np.array_equal(patch, cut.transpose(2, 0, 1).ravel())
    assert (tokens.kind_N[:per] == Kind.ANCHOR).all()
    assert "slots" in tokens.clips[0].provenance["frame_index"]
    save_tokens(tmp_path / "x.safetensors", tokens)
    same_tokens(load_tokens(tmp_path / "x.safetensors"), tokens)


def test_letterbox_needs_the_file_that_tells_of_it(tmp_path: Path) -> None:
    source = frames(64, 6, 6, patch=4)
    rows = np.array([(t, y, x) for t in range(8) for y in range(1, 5) for x in range(6)])
    write_mosaics(tmp_path / "m", source.rgb_THW3, rows, grid=(6, 6), inside=(1, 5, 0, 6))
    with pytest.raises(TokenFileError, match="24 square patches do not fill"):
        import_mosaics(tmp_path / "m")


def test_source_frames_and_times_where_the_files_tell_them(tmp_path: Path) -> None:
    rows = np.array([(t, y, x) for t in range(8) for y in range(2) for x in range(2)])
    write_mosaics(tmp_path / "m", frames(64, 2, 2, patch=4).rgb_THW3, rows, grid=(2, 2), inside=(0, 2, 0, 2))
    np.save(tmp_path / "m" / "frame_ids.npy", np.arange(64, dtype=np.int32) * 3)
    clip = import_mosaics(tmp_path / "m", fps=30).clips[0]
    assert clip.frame_index_T.tolist() == list(range(0, 192, 3))
    assert np.allclose(clip.pts_seconds_T, np.arange(64) / 10)
    np.save(tmp_path / "m" / "frame_ids.npy", np.repeat(np.arange(32, dtype=np.int32), 2))
    short = import_mosaics(tmp_path / "m", fps=30).clips[0]
    assert short.frame_index_T.tolist() == list(range(64)), "repeated frames are no frames"
    assert "slots" in short.provenance["pts_seconds"]


def test_rescaling_is_asked_for_and_recorded(tmp_path: Path) -> None:
    tokens = make_tokens(frames(64, 2, 2, patch=16), selection((64, 2, 2), 32))
    export_mosaics(tmp_path / "m", tokens)
    small = import_mosaics(tmp_path / "m", patch=14)
    assert small.patch == 14
    assert small.clips[0].provenance["mosaics"]["rescaled"].startswith("16 -> 14")
    first = Image.open(tmp_path / "m" / "mosaic_000.png").resize((28, 28), Image.Resampling.BICUBIC)
    assert np.array_equal(small.patches_ND[0], np.asarray(first)[:14, :14].transpose(2, 0, 1).ravel())


def test_what_does_not_make_mosaics_is_named(tmp_path: Path) -> None:
    for count, time, says in ((31, "virtual", "32"), (32, "seconds", "model_time")):
        tokens = make_tokens(frames(64, 2, 2, patch=4), selection((64, 2, 2), count), time=time)  # type: ignore[arg-type]
        with pytest.raises(ShapeError, match=says):
            export_mosaics(tmp_path / "m", tokens)
    tokens = make_tokens(frames(64, 2, 2, patch=4), selection((64, 2, 2), 32))
    with pytest.raises(InvalidArgumentError, match="bmp"):
        export_mosaics(tmp_path / "m", tokens, picture_format="bmp")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    export_mosaics(tmp_path / "m", reorder(tokens, "block2"))
    with pytest.raises(WriteError, match="exists"):
        export_mosaics(tmp_path / "m", tokens)


@pytest.mark.parametrize(
    ("how", "kind", "says"),
    [
        ("repeated", TokenFileError, "1 rows are there more than once"),
        ("outside", TokenFileError, "not inside"),
        ("short", TokenFileError, "31 rows"),
        ("no rows", MediaNotFoundError, "positions_thw"),
        ("no pictures", TokenFileError, "no pictures"),
    ],
)
def test_damaged_folders_are_named(tmp_path: Path, how: str, kind: type[Exception], says: str) -> None:
    rows = np.array([(t, y, x) for t in range(8) for y in range(2) for x in range(2)])
    write_mosaics(tmp_path / "m", frames(64, 2, 2, patch=4).rgb_THW3, rows, grid=(2, 2), inside=(0, 2, 0, 2))
    if how == "repeated":
        rows[-1] = rows[-2]
    elif how == "outside":
        rows[3] = (64, 0, 0)
    elif how == "short":
        rows = rows[:-1]
    np.save(tmp_path / "m" / "positions_thw.npy", rows.astype(np.int32))
    if how == "no rows":
        (tmp_path / "m" / "positions_thw.npy").unlink()
    if how == "no pictures":
        for picture in (tmp_path / "m").glob("*.png"):
            picture.unlink()
    with pytest.raises(kind, match=says):
        import_mosaics(tmp_path / "m")
