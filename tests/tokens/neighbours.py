"""Folders of canvases and mosaics written and read a second time, with loops, from their published description."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image


def slots_in_filling_order(h: int, w: int, block: int) -> list[tuple[int, int]]:
    return [
        (row * block + dy, column * block + dx)
        for row in range(h // block)
        for column in range(w // block)
        for dy in range(block)
        for dx in range(block)
    ]


def some_blocks(frames: dict[int, np.ndarray], h: int, w: int, block: int, count: int, seed: int = 0):
    """The first frame whole, then ``count`` blocks of later frames, by time and raster: (frame, row, column)."""
    rng = np.random.default_rng(seed)
    first, *later = sorted(frames)
    anchor = [(first, row, column) for row in range(0, h, block) for column in range(0, w, block)]
    every = [(f, row, column) for f in later for row in range(0, h, block) for column in range(0, w, block)]
    chosen = sorted(every[i] for i in rng.choice(len(every), count, replace=False))
    return [
        (f, row + dy, column + dx) for f, row, column in anchor + chosen for dy in range(block) for dx in range(block)
    ]


def write_canvases(
    folder: Path,
    frames: dict[int, np.ndarray],
    rows: list[tuple[int, int, int]],
    *,
    h: int,
    w: int,
    patch: int,
    block: int = 2,
    padding: int = 0,
    suffix: str = "png",
    old: bool = False,
    **meta: object,
) -> None:
    """As codec-video-prep 0.2.5 does, or (``old``) as its predecessor does."""
    folder.mkdir()
    slots = slots_in_filling_order(h, w, block)
    full = len(rows) // (h * w)
    positions, packed = {}, []
    for canvas in range(full + padding):
        picture = np.zeros((h * patch, w * patch, 3), np.uint8)
        for i, (y, x) in enumerate(slots):
            source = (-1, -1, -1)
            if canvas < full:
                source = rows[canvas * h * w + i]
                f, sy, sx = source
                cut = frames[f][sy * patch : (sy + 1) * patch, sx * patch : (sx + 1) * patch]
                picture[y * patch : (y + 1) * patch, x * patch : (x + 1) * patch] = cut
            positions[canvas, y, x] = source
            packed.append((canvas, y, x))
        if suffix == "npy":
            np.save(folder / f"canvas_{canvas:03d}.npy", picture)
        else:
            Image.fromarray(picture).save(folder / f"canvas_{canvas:03d}.{suffix}", quality=95)
    order = packed if old else sorted(packed)
    np.save(folder / "src_patch_position.npy", np.array([positions[slot] for slot in order], np.int32))
    np.save(folder / "frame_ids.npy", np.array(sorted(frames), np.int32))
    if old:
        np.save(folder / "patch_position.npy", np.array(packed, np.int32))
    facts = {"fps": 25.0, "patch": patch, "block_size": block, "video": "street.mp4"} | meta
    (folder / "meta.json").write_text(json.dumps({k: v for k, v in facts.items() if v is not None}))


def read_as_a_processor(folder: Path, block: int) -> tuple[np.ndarray, np.ndarray]:
    """What the models' own processors make of a folder: patches [N, 3*p*p] and (t, h, w) [N, 3], in block order."""
    meta = json.loads((folder / "meta.json").read_text())
    positions = np.load(folder / "src_patch_position.npy")
    patch, out, places = meta["patch"], [], []
    per_canvas = len(positions) // len(meta["canvas_files"])
    for number, name in enumerate(meta["canvas_files"]):
        mine = positions[number * per_canvas : (number + 1) * per_canvas]
        if (mine[:, 0] < 0).all():
            continue
        picture = np.asarray(Image.open(folder / name).convert("RGB"))
        h, w = picture.shape[0] // patch, picture.shape[1] // patch
        for y, x in slots_in_filling_order(h, w, block):
            cut = picture[y * patch : (y + 1) * patch, x * patch : (x + 1) * patch]
            out.append(cut.transpose(2, 0, 1).ravel())
            places.append(mine[y * w + x])
    return np.array(out), np.array(places)


def write_mosaics(
    folder: Path, pixels: np.ndarray, rows: np.ndarray, *, grid: tuple[int, int], inside: tuple[int, int, int, int]
) -> None:
    """Pixels [64, H, W, 3] and rows (t, h, w) sorted, as the original's stage 2 does: the rectangle ``inside``
    (top, bottom, left, right) of each of 8 pictures is filled in raster order."""
    folder.mkdir()
    patch = pixels.shape[1] // grid[0]
    top, bottom, left, right = inside
    per_picture = (bottom - top) * (right - left)
    for number in range(8):
        picture = np.zeros((grid[0] * patch, grid[1] * patch, 3), np.uint8)
        for i in range(per_picture):
            t, sy, sx = rows[number * per_picture + i]
            y, x = top + i // (right - left), left + i % (right - left)
            cut = pixels[t, sy * patch : (sy + 1) * patch, sx * patch : (sx + 1) * patch]
            picture[y * patch : (y + 1) * patch, x * patch : (x + 1) * patch] = cut
        Image.fromarray(picture).save(folder / f"street_{number:03d}.png")
    np.save(folder / "positions_thw.npy", rows.astype(np.int32))
