"""Frames and signals with a truth known by construction, for the tests of selection. Axes as in types.py."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onevision_encoder.types import CodecSignals, FrameSequence, SourceInfo

fixed = settings(deadline=None, derandomize=True, max_examples=150)


def make_frames(
    frames: int = 8,
    rows: int = 4,
    cols: int = 5,
    *,
    patch: int = 8,
    merge: int = 1,
    content_hw: NDArray[np.bool_] | None = None,
    luma_THW: NDArray[np.uint8] | None = None,
    seed: int = 0,
) -> FrameSequence:
    H, W = rows * patch, cols * patch
    if luma_THW is None:
        luma_THW = np.random.default_rng(seed).integers(0, 256, (frames, H, W), dtype=np.uint8)
    return FrameSequence(
        rgb_THW3=np.repeat(luma_THW[..., None], 3, -1),
        luma_THW=luma_THW,
        frame_index_T=np.arange(frames),
        pts_seconds_T=np.arange(frames) / 25,
        keyframe_T=np.zeros(frames, np.bool_),
        patch=patch,
        merge=merge,
        content_hw=content_hw,
        source=SourceInfo(name="made", fingerprint="0", codec="none", width=W, height=H, num_frames=frames),
    )


def make_signals(
    frames: FrameSequence,
    *,
    residual: NDArray[np.float32] | float = 0,
    motion: NDArray[np.float32] | tuple[float, float] = (0, 0),
    intra: NDArray[np.bool_] | None = None,
    valid_T: NDArray[np.bool_] | None = None,
    cuts: tuple[int, ...] = (),
    bits: NDArray[np.float32] | None = None,
) -> CodecSignals:
    T, H, W = frames.luma_THW.shape
    cells = (T, -(-H // 8), -(-W // 8))
    cut_T = np.zeros(T, np.bool_)
    cut_T[[0, *cuts]] = True
    intra_Tyx = np.zeros(cells, np.bool_) if intra is None else intra.copy()
    intra_Tyx[cut_T] = True
    motion_Tyx2 = np.broadcast_to(np.asarray(motion, np.float32), (*cells, 2)).copy()
    motion_Tyx2[intra_Tyx] = 0
    return CodecSignals(
        residual_Tyx=np.broadcast_to(np.asarray(residual, np.float32), cells).copy(),
        motion_Tyx2=motion_Tyx2,
        intra_Tyx=intra_Tyx,
        valid_T=np.ones(T, np.bool_) if valid_T is None else valid_T,
        cut_T=cut_T,
        interval="sample",
        frame_size=(H, W),
        bits_Tyx=bits,
        provenance={"provider": "made"},
    )


@st.composite
def clips(
    draw: st.DrawFn, max_frames: int = 20, merges: tuple[int, ...] = (1, 2)
) -> tuple[FrameSequence, CodecSignals]:
    """Any clip: sizes, letterbox, cuts, invalid frames, intra cells, and coarse values that tie often."""
    merge = draw(st.sampled_from(merges))
    frames, rows, cols = draw(st.integers(1, max_frames)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    patch = draw(st.sampled_from((8, 14, 16)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    content_hw = None
    if draw(st.booleans()):
        content_hw = rng.random((rows * merge, cols * merge)) < 0.7
        content_hw[:merge, :merge] = True  # at least one unit of picture
    luma = rng.integers(0, 256, (frames, rows * merge * patch, cols * merge * patch), dtype=np.uint8)
    if draw(st.booleans()):
        luma = np.repeat(luma[:1], frames, 0)
    clip = make_frames(
        frames, rows * merge, cols * merge, patch=patch, merge=merge, content_hw=content_hw, luma_THW=luma
    )
    cells = (frames, -(-luma.shape[1] // 8), -(-luma.shape[2] // 8))
    signals = make_signals(
        clip,
        residual=rng.integers(0, draw(st.sampled_from((1, 3, 40))), cells).astype(np.float32),
        motion=rng.integers(-2, 3, (*cells, 2)).astype(np.float32) * draw(st.sampled_from((0, 1, 8))),
        intra=rng.random(cells) < draw(st.sampled_from((0.0, 0.2, 1.0))),
        valid_T=rng.random(frames) >= draw(st.sampled_from((0.0, 0.3, 1.0))),
        cuts=tuple(np.flatnonzero(rng.random(frames) < draw(st.sampled_from((0.0, 0.2, 1.0))))),
        bits=rng.integers(0, 30, cells).astype(np.float32),
    )
    return clip, signals


def units_of(clip: FrameSequence) -> NDArray[np.bool_]:
    """bool [h, w]: units (patches or 2x2 blocks) that hold nothing but picture, block by block."""
    content_hw = np.ones(clip.grid, np.bool_) if clip.content_hw is None else clip.content_hw
    m = clip.merge
    rows, cols = clip.grid[0] // m, clip.grid[1] // m
    return np.array(
        [[content_hw[m * y : m * y + m, m * x : m * x + m].all() for x in range(cols)] for y in range(rows)]
    )
