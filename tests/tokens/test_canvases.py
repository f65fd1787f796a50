"""Canvases of LLaVA-OneVision-2 and Mage-VL: read as they were written, written as they are read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import frames, selection
from neighbours import read_as_a_processor, some_blocks, write_canvases

from onevision_encoder.errors import InvalidArgumentError, MediaNotFoundError, ShapeError, TokenFileError, WriteError
from onevision_encoder.tokens import (
    canvas_bounds,
    canvas_folder_name,
    export_canvases,
    import_canvases,
    load_tokens,
    make_tokens,
    model_time,
    order_permutation,
    pack,
    reorder,
    save_tokens,
)
from onevision_encoder.types import Kind, Order, PatchTokens, Selection, order_rank

ARRAYS = ("patches_ND", "positions_N3", "model_positions_N3", "score_N", "kind_N", "cu_seqlens")


def same_tokens(one: PatchTokens, other: PatchTokens) -> None:
    for name in ARRAYS:
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype, name
        assert np.array_equal(a, b), name
    for clip, twin in zip(one.clips, other.clips, strict=True):
        for name in ("name", "patch", "grid", "layout", "order"):
            assert getattr(clip, name) == getattr(twin, name)
        for name in ("frame_index_T", "pts_seconds_T", "model_time_T"):
            assert np.array_equal(getattr(clip, name), getattr(twin, name)), name


def blocks(shape: tuple[int, int, int], count: int, block: int, order: Order, seed: int = 0) -> Selection:
    """``count`` whole blocks at random places."""
    T, h, w = shape
    rng = np.random.default_rng(seed)
    flat = rng.choice(T * (h // block) * (w // block), count, replace=False)
    t, row, column = np.unravel_index(flat, (T, h // block, w // block))
    inside = np.arange(block**2)
    y = row[:, None] * block + inside // block
    x = column[:, None] * block + inside % block
    positions = np.stack([np.repeat(t, block**2), y.ravel(), x.ravel()], axis=1).astype(np.int32)
    positions = positions[np.argsort(order_rank(positions, shape, order))]
    return Selection(
        positions_K3=positions,
        score_K=rng.random(len(positions)).astype(np.float32),
        kind_K=rng.choice([Kind.ANCHOR, Kind.CODEC], len(positions)).astype(np.uint8),
        shape=shape,
        order=order,
    )


def tokens_of(shape=(10, 6, 12), canvases: int = 2, block: int = 2, order: Order = "raster", time="virtual"):
    T, h, w = shape
    chosen = blocks(shape, canvases * h * w // block**2, block, order)
    tokens = make_tokens(frames(T, h, w, patch=4), chosen, time=time)
    clip = tokens.clips[0]
    source = {**clip.provenance["source"], "fps": 25.0}
    return replace(tokens, clips=(replace(clip, provenance={**clip.provenance, "source": source}),))


@pytest.mark.parametrize("block", [1, 2, 3])
@pytest.mark.parametrize("order", ["raster", "block2", "block3"])
@pytest.mark.parametrize("time", ["virtual", "seconds"])
def test_png_gives_back_the_very_tokens(tmp_path: Path, block: int, order: Order, time: str) -> None:
    tokens = tokens_of(block=block, order=order, time=time)
    export_canvases(tmp_path / "c", tokens, block=block, canvases=5)
    back = import_canvases(tmp_path / "c")
    same_tokens(back, tokens)
    facts = back.clips[0].provenance["canvases"]
    assert facts == {"folder": "c", "pictures": "png", "canvases": 2, "padding": 3, "in_time_order": True}
    assert {k: v for k, v in back.clips[0].provenance.items() if k != "canvases"} == json.loads(
        json.dumps(tokens.clips[0].provenance)
    )
    save_tokens(tmp_path / "x.safetensors", back)
    same_tokens(load_tokens(tmp_path / "x.safetensors"), tokens)


@pytest.mark.parametrize("block", [2, 3])
def test_a_models_own_processor_reads_ours(tmp_path: Path, block: int) -> None:
    """Patch by patch in block order, with the source frame as t, sorted by time: what their timestamps rely on."""
    tokens = tokens_of(block=block)
    export_canvases(tmp_path / "c", tokens, block=block, canvases=3)
    patches, places = read_as_a_processor(tmp_path / "c", block)
    wanted = reorder(tokens, "block2" if block == 2 else "block3")
    assert np.array_equal(patches, wanted.patches_ND)
    assert np.array_equal(places[:, 0], wanted.clips[0].frame_index_T[wanted.positions_N3[:, 0]])
    assert np.array_equal(places[:, 1:], wanted.positions_N3[:, 1:])
    assert (np.diff(places[:, 0]) >= 0).all()
    table = np.load(tmp_path / "c" / "src_patch_position.npy")
    assert (table.dtype, table.shape) == (np.int32, (3 * 72, 3))
    assert (table[2 * 72 :] == -1).all()
    assert (tmp_path / "c" / "_DONE").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("block", [2, 3])
def test_the_image_processor_of_these_models_gives_our_rows(tmp_path: Path, block: int) -> None:
    """Both models patchify canvases with transformers' Qwen2-VL image processor."""
    from PIL import Image
    from transformers import Qwen2VLImageProcessor

    tokens = tokens_of(block=block)
    export_canvases(tmp_path / "c", tokens, block=block)
    as_they_are = {"do_resize": False, "do_rescale": False, "do_normalize": False}
    processor = Qwen2VLImageProcessor(patch_size=4, merge_size=block, temporal_patch_size=1, **as_they_are)
    pictures = [Image.open(path) for path in sorted((tmp_path / "c").glob("canvas_*.png"))]
    given = processor(images=pictures, return_tensors="pt")
    wanted = reorder(tokens, "block2" if block == 2 else "block3")
    assert given["image_grid_thw"].tolist() == [[1, 6, 12]] * 2
    assert np.array_equal(given["pixel_values"].numpy().reshape(len(wanted), -1), wanted.patches_ND)


@pytest.mark.parametrize("old", [False, True], ids=["codec-video-prep", "its predecessor"])
@pytest.mark.parametrize("block", [2, 3])
@pytest.mark.parametrize("suffix", ["png", "npy"])
def test_theirs_are_read_to_the_bit(tmp_path: Path, old: bool, block: int, suffix: str) -> None:
    h, w, patch = 6, 12, 4
    pixels = frames(5, h, w, patch=patch).rgb_THW3
    seen = dict(zip((3, 10, 11, 40, 41), pixels, strict=True))
    rows = some_blocks(seen, h, w, block, count=2 * h * w // block**2)
    write_canvases(tmp_path / "c", seen, rows, h=h, w=w, patch=patch, block=block, padding=1, suffix=suffix, old=old)
    tokens = import_canvases(tmp_path / "c")
    clip = tokens.clips[0]
    assert (clip.grid, clip.patch, clip.name, clip.order) == ((h, w), patch, "street.mp4", f"block{block}")
    assert clip.frame_index_T.tolist() == [3, 10, 11, 40, 41]
    assert np.allclose(clip.pts_seconds_T, np.array([3, 10, 11, 40, 41]) / 25)
    got = [(int(clip.frame_index_T[t]), y, x) for t, y, x in tokens.positions_N3.tolist()]
    assert got == rows
    for row, (f, y, x) in zip(tokens.patches_ND, rows, strict=True):
        cut = seen[f][y * patch : (y + 1) * patch, x * patch : (x + 1) * patch]
        assert np.array_equal(row, cut.transpose(2, 0, 1).ravel())
    assert tokens.model_positions_N3[:, 0].tolist() == [row[0] for row in rows]  # t is the source frame's number
    anchors = tokens.kind_N == Kind.ANCHOR
    whole = {f for f in seen if sum(row[0] == f for row in rows) == h * w}
    assert anchors.tolist() == [row[0] in whole for row in rows]
    assert 3 in whole
    assert clip.provenance["canvases"]["padding"] == 1


def test_jpeg_is_said_to_be_in_between(tmp_path: Path) -> None:
    tokens = tokens_of()
    export_canvases(tmp_path / "c", tokens, picture_format="jpg")
    back = import_canvases(tmp_path / "c")
    assert back.clips[0].provenance["canvases"]["pictures"] == "jpg"
    assert np.array_equal(back.positions_N3, tokens.positions_N3)
    assert not np.array_equal(back.patches_ND, tokens.patches_ND)
    from PIL import Image

    with Image.open(tmp_path / "c" / "canvas_000.jpg") as picture:
        luma_table = picture.quantization[0]
    assert luma_table[0] == 2  # 16 of the standard's table, scaled by 200 - 2 * 95 = 10 %


def test_time_for_the_original(tmp_path: Path) -> None:
    """Canvases of their tool, with t as the published 64-slot weights want it."""
    pixels = frames(4, 2, 2, patch=2).rgb_THW3
    seen = dict(zip((0, 9, 20, 90), pixels, strict=True))
    write_canvases(tmp_path / "c", seen, some_blocks(seen, 2, 2, 2, 2), h=2, w=2, patch=2)
    virtual = import_canvases(tmp_path / "c", time="virtual")
    assert np.array_equal(virtual.clips[0].model_time_T, model_time(np.arange(4.0)))
    seconds = import_canvases(tmp_path / "c", time="seconds", fps=10)
    assert np.allclose(seconds.clips[0].model_time_T, [0, 0.9, 2.0, 9.0])


def test_windows_are_runs_of_canvases(tmp_path: Path) -> None:
    tokens = tokens_of(shape=(10, 6, 12), canvases=5)
    assert canvas_bounds(reorder(tokens, "block2")) == [0, 4 * 72, 5 * 72]
    threes = tokens_of(shape=(10, 6, 12), canvases=5, block=3)
    assert canvas_bounds(reorder(threes, "block3"), window=1) == [0, 72, 144, 216, 288, 360]
    assert canvas_bounds(reorder(tokens, "block2"), window=5) == [0, 360]
    with pytest.raises(ShapeError, match="raster"):
        canvas_bounds(tokens)
    with pytest.raises(InvalidArgumentError, match="window"):
        canvas_bounds(tokens, window=0)


def test_canvases_out_of_time_order_have_no_windows(tmp_path: Path) -> None:
    seen = dict(zip((0, 5), frames(2, 2, 2, patch=2).rgb_THW3, strict=True))
    rows = some_blocks(seen, 2, 2, 2, 1)
    write_canvases(tmp_path / "c", seen, rows[4:] + rows[:4], h=2, w=2, patch=2)
    tokens = import_canvases(tmp_path / "c")
    assert tokens.positions_N3[:, 0].tolist() == [0] * 4 + [1] * 4
    with pytest.raises(ShapeError, match="time order"):
        canvas_bounds(tokens)


@pytest.mark.parametrize("order", ["raster", "block2", "block3"])
def test_orders_lead_back(order: Order) -> None:
    tokens = make_tokens(frames(5, 7, 9, patch=4), selection((5, 7, 9), 100))
    there = reorder(tokens, order)
    assert there.clips[0].order == order
    same_tokens(reorder(there, "raster"), tokens)
    both = reorder(pack([tokens, there]), order)
    assert np.array_equal(both.patches_ND, np.concatenate([there.patches_ND] * 2))


@pytest.mark.parametrize(("order", "block"), [("block2", 2), ("block3", 3), ("raster", 1)])
def test_permutation_of_dense_features(order: Order, block: int) -> None:
    from neighbours import slots_in_filling_order

    dense = np.arange(2 * 6 * 12).reshape(2, 6, 12)
    wanted = [dense[t, y, x] for t in range(2) for y, x in slots_in_filling_order(6, 12, block)]
    assert dense.ravel()[order_permutation(dense.shape, order)].tolist() == wanted


def test_what_does_not_make_canvases_is_named(tmp_path: Path) -> None:
    whole = tokens_of()
    half = make_tokens(frames(10, 6, 12, patch=4), selection((10, 6, 12), 72))
    ragged = make_tokens(frames(10, 6, 12, patch=4), blocks((10, 6, 12), 19, 2, "raster"))
    odd = make_tokens(frames(3, 5, 4, patch=4), selection((3, 5, 4), 20))
    no_rate = make_tokens(frames(10, 6, 12, patch=4), blocks((10, 6, 12), 18, 2, "raster"))
    tiled = make_tokens(frames(3, 4, 4, patch=4), selection((3, 4, 4), 16, layout="tiled"))
    for tokens, options, says in (
        (half, {}, "half blocks"),
        (ragged, {}, "76.*multiple of 72"),
        (odd, {}, r"grid=\(5, 4\)"),
        (no_rate, {}, "fps=None"),
        (tiled, {}, "tiled"),
        (pack([whole, whole]), {}, "2 clips"),
        (whole, {"canvases": 1}, "canvases=1"),
        (whole, {"block": 4}, "block=4"),
        (whole, {"picture_format": "gif"}, "gif"),
    ):
        with pytest.raises((ShapeError, InvalidArgumentError), match=says):
            export_canvases(tmp_path / "c", tokens, **options)
    assert list(tmp_path.iterdir()) == []
    export_canvases(tmp_path / "c", no_rate, fps=30)
    with pytest.raises(WriteError, match="exists"):
        export_canvases(tmp_path / "c", whole)


def spoil(folder: Path, how: str) -> None:
    table = np.load(folder / "src_patch_position.npy")
    meta = json.loads((folder / "meta.json").read_text())
    if how == "half padding":
        table[1] = -1
    elif how == "all padding":
        table[:] = -1
    elif how == "outside":
        table[0] = [0, 40, 0]
    elif how == "repeated":
        table[8:16] = table[:8]
    elif how == "rows missing":
        table = table[:-1]
    elif how == "rows shuffled":
        table[:8] = table[[0, 4, 1, 5, 2, 6, 3, 7]]
    elif how == "another patch":
        meta["patch"] = 14
    elif how == "another block":
        meta["block_size"] = 5
    elif how == "no fps":
        del meta["fps"]
    elif how == "a path":
        meta["canvas_files"] = ["../canvas_000.png"]
    elif how == "frame not listed":
        np.save(folder / "frame_ids.npy", np.array([0, 7], np.int32))
    elif how == "no picture":
        (folder / "canvas_000.png").write_text("hello")
    elif how == "picture gone":
        meta["canvas_files"] = ["canvas_000.png", "canvas_009.png"]
    elif how == "others' key":
        meta["onevision_encoder"] = {"order": "zigzag"}
    np.save(folder / "src_patch_position.npy", table)
    (folder / "meta.json").write_text("[" if how == "no JSON" else json.dumps(meta))


@pytest.mark.parametrize(
    ("how", "kind", "says"),
    [
        ("half padding", TokenFileError, "half padding"),
        ("all padding", TokenFileError, "every canvas"),
        ("outside", TokenFileError, "outside the grid"),
        ("repeated", TokenFileError, "more than once"),
        ("rows missing", TokenFileError, "15 rows"),
        ("rows shuffled", TokenFileError, "whole 2 x 2 blocks"),
        ("another patch", TokenFileError, "patch=14"),
        ("another block", TokenFileError, "block_size=5"),
        ("no fps", InvalidArgumentError, "fps=None"),
        ("a path", TokenFileError, "no canvas_"),
        ("frame not listed", TokenFileError, "lacks frames"),
        ("no picture", TokenFileError, "readable picture"),
        ("picture gone", MediaNotFoundError, "canvas_009"),
        ("others' key", TokenFileError, "not ours"),
        ("no JSON", TokenFileError, "JSON"),
    ],
)
def test_damaged_folders_are_named(tmp_path: Path, how: str, kind: type[Exception], says: str) -> None:
    seen = dict(zip((0, 5), frames(2, 2, 4, patch=2).rgb_THW3, strict=True))
    write_canvases(tmp_path / "c", seen, some_blocks(seen, 2, 4, 2, 2), h=2, w=4, patch=2)
    import_canvases(tmp_path / "c")
    spoil(tmp_path / "c", how)
    with pytest.raises(kind, match=says):
        import_canvases(tmp_path / "c")


def test_folder_names_are_those_evaluation_looks_for() -> None:
    assert canvas_folder_name("/data/street.mp4") == "street__ded6d92f"  # printf /data/street.mp4 | sha1sum
