"""The nouns that cross rooms: frames -> signals -> selection -> tokens.

Axes: T frames, H W pixels of the sized frame, y x cells of 8x8 pixels, h w patches of p x p pixels,
K selected patches of one clip, N patches of a pack, S clips of a pack, D = 3*p*p, 3 = (t, h, w) or RGB.

Each class is frozen and validates itself where it is made, so that the rooms below need not check again.
Arrays are numpy; nothing here imports torch or av.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.checks import freeze, require, require_dtypes, require_finite, short_repr

CELL = 8
"""Side of a signal cell in pixels of the sized frame."""

TIME_SLOTS = 64
"""Length of the time axis that the published weights know (``rope_temporal_size``)."""

Interval = Literal["sample", "frame"]
Order = Literal["raster", "block2", "block3"]
Layout = Literal["frames", "tiled"]


class Kind(IntEnum):
    """Why a patch is in a selection."""

    ANCHOR = 0
    """Part of a frame that is read for its own sake (whole, or strided where a whole one does not fit)."""
    CODEC = 1
    """Ranked in by its score."""
    FILL = 2
    """Placed by a rule that looks at no score (uniform, random, dense)."""


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """Facts about where frames come from, as the container and the decoder state them.

    ``width`` and ``height`` are display pixels, after rotation. ``num_frames`` counts the frames of the
    stream (packets of the demuxed stream, not a header's claim). ``fingerprint`` identifies the content.
    Counts of damage: ``frames_lost`` were promised by the container and never decoded, ``frames_corrupt``
    decoded with errors flagged by the decoder.
    """

    name: str
    fingerprint: str
    codec: str
    width: int
    height: int
    num_frames: int
    fps: float | None = None
    duration_seconds: float | None = None
    pixel_format: str | None = None
    color_space: str | None = None
    color_range: str | None = None
    rotation: int = 0
    is_image: bool = False
    frames_lost: int = 0
    frames_corrupt: int = 0
    timestamps: Literal["container", "frame_rate", "none"] = "container"
    """``frame_rate``: the stream carries no timestamps and they were made from its rate."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameSequence:
    """Sampled frames at model resolution.

    Attributes:
        rgb_THW3: uint8, full range RGB, rotation applied. H and W are multiples of ``patch * merge``.
        luma_THW: uint8, full range BT.601 luma of ``rgb_THW3``: what signal providers look at.
        frame_index_T: int64, position of each frame in presentation order of the source, strictly increasing.
        pts_seconds_T: float64, strictly increasing, relative to the start of the stream.
        keyframe_T: bool, the source coded the frame without reference to others.
        patch: side of a patch in pixels. merge: patches per side of a selection unit (1 or 2).
        content_hw: bool [h, w], False where a patch holds letterbox padding; None = all content.
        slot_T: int64, place of each frame among 64 slots of what was sampled from (``time="slots"``); None = unknown.
    Raises:
        ShapeError: an invariant does not hold.
    """

    rgb_THW3: NDArray[np.uint8]
    luma_THW: NDArray[np.uint8]
    frame_index_T: NDArray[np.int64]
    pts_seconds_T: NDArray[np.float64]
    keyframe_T: NDArray[np.bool_]
    patch: int
    source: SourceInfo
    merge: int = 1
    content_hw: NDArray[np.bool_] | None = None
    slot_T: NDArray[np.int64] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    __repr__ = short_repr

    def __post_init__(self) -> None:
        rgb = self.rgb_THW3
        require(
            rgb.ndim == 4 and rgb.shape[3] == 3 and rgb.dtype == np.uint8,
            "rgb_THW3",
            (rgb.shape, str(rgb.dtype)),
            "uint8 [T, H, W, 3]",
        )
        T, H, W, _ = rgb.shape
        unit = self.patch * self.merge
        require(T >= 1, "T", T, "at least one frame")
        require(
            H % unit == 0 and W % unit == 0 and H * W > 0, "frame size", (H, W), f"multiples of patch * merge = {unit}"
        )
        require(
            self.luma_THW.shape == (T, H, W) and self.luma_THW.dtype == np.uint8,
            "luma_THW",
            self.luma_THW.shape,
            f"uint8 {(T, H, W)}",
        )
        for name in ("frame_index_T", "pts_seconds_T", "keyframe_T"):
            require(getattr(self, name).shape == (T,), name, getattr(self, name).shape, f"{(T,)}")
        require(
            bool(np.all(np.diff(self.frame_index_T) > 0)),
            "frame_index_T",
            self.frame_index_T.tolist(),
            "strictly increasing (no duplicate frames)",
        )
        require(
            bool(np.all(np.diff(self.pts_seconds_T) > 0)),
            "pts_seconds_T",
            self.pts_seconds_T.tolist(),
            "strictly increasing",
        )
        if self.content_hw is not None:
            require(self.content_hw.shape == self.grid, "content_hw", self.content_hw.shape, f"{self.grid}")
        if (slots := self.slot_T) is not None:
            fits = slots.shape == (T,) and bool(
                np.all(np.diff(slots) >= 0) and slots[0] >= 0 and slots[-1] < TIME_SLOTS
            )
            require(fits, "slot_T", slots.tolist(), f"{T} slots from 0 to {TIME_SLOTS - 1}, never decreasing")
        freeze(self)

    @property
    def num_frames(self) -> int:
        return int(self.rgb_THW3.shape[0])

    @property
    def grid(self) -> tuple[int, int]:
        """Patches per frame as (rows h, columns w)."""
        return self.rgb_THW3.shape[1] // self.patch, self.rgb_THW3.shape[2] // self.patch

    @property
    def num_patches(self) -> int:
        """Patches of all frames, letterbox included."""
        return self.num_frames * self.grid[0] * self.grid[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class CodecSignals:
    """What a codec could not predict, on a grid of 8x8-pixel cells (ceil; edge cells replicate the border).

    Attributes:
        residual_Tyx: float32, mean absolute prediction residual, grey levels 0..255.
        motion_Tyx2: float32 (dx, dy), pixels of the sized frame, how the content moved since the reference:
            positive dx = to the right, positive dy = down. 0 where ``intra``, which says "unknown", not "still".
        intra_Tyx: bool, the cell was not predicted from another frame. All True at frame 0 and at scene cuts.
        valid_T: bool, False where the provider has nothing to say about a frame.
        cut_T: bool, the frame starts a new scene. Frame 0 is True.
        bits_Tyx: float32, estimated bits per cell, or None where the provider cannot tell.
        interval: ``sample`` = since the previous sampled frame, ``frame`` = since the frame before in the source.
    Raises:
        ShapeError: no frame, shapes or dtypes that do not fit, values that are not finite, a predicted cell at a cut.
    """

    residual_Tyx: NDArray[np.float32]
    motion_Tyx2: NDArray[np.float32]
    intra_Tyx: NDArray[np.bool_]
    valid_T: NDArray[np.bool_]
    cut_T: NDArray[np.bool_]
    interval: Interval
    frame_size: tuple[int, int]
    bits_Tyx: NDArray[np.float32] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    __repr__ = short_repr

    def __post_init__(self) -> None:
        H, W = self.frame_size
        T = len(self.residual_Tyx) if self.residual_Tyx.ndim else 0
        require(T >= 1, "T", T, "at least one frame")
        cells = (T, -(-H // CELL), -(-W // CELL))
        require(self.residual_Tyx.shape == cells, "residual_Tyx", self.residual_Tyx.shape, f"{cells}")
        require(self.motion_Tyx2.shape == (*cells, 2), "motion_Tyx2", self.motion_Tyx2.shape, f"{(*cells, 2)}")
        require(self.intra_Tyx.shape == cells, "intra_Tyx", self.intra_Tyx.shape, f"{cells}")
        require(
            self.bits_Tyx is None or self.bits_Tyx.shape == cells,
            "bits_Tyx",
            getattr(self.bits_Tyx, "shape", None),
            f"{cells}",
        )
        require(
            self.valid_T.shape == (T,) and self.cut_T.shape == (T,),
            "valid_T, cut_T",
            (self.valid_T.shape, self.cut_T.shape),
            f"{(T,)}",
        )
        float32 = dict.fromkeys(("residual_Tyx", "motion_Tyx2", "bits_Tyx"), np.float32)
        require_dtypes(self, float32 | dict.fromkeys(("intra_Tyx", "valid_T", "cut_T"), np.bool_))
        require_finite(self, *float32)
        require(bool(self.cut_T[0]), "cut_T[0]", False, "True: frame 0 starts a scene")
        predicted = np.flatnonzero(self.cut_T & ~self.intra_Tyx.all((1, 2))).tolist()
        require(not predicted, "intra_Tyx", f"predicted cells in frames {predicted}", "all True where cut_T is")
        freeze(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """Exactly K unique patches of one clip.

    Attributes:
        positions_K3: int32 rows (t, h, w): t is a row of ``frame_index_T``, h and w a patch of that frame.
        score_K: float32, what ranked the patch (0 where no score was looked at).
        kind_K: uint8 of :class:`Kind`.
        shape: (T, h, w) of the grid that was chosen from.
        order: ``raster`` = sorted by (t, h, w); ``block2`` = by t, then 2x2 block in raster order, then inside it;
            ``block3`` = the same with 3x3 blocks.
        layout: ``frames`` = each frame at its own time; ``tiled`` = the chosen frames stacked top to bottom
            in one picture at t = 0 (how positions look to RoPE; the addresses here stay those of the frames).
    """

    positions_K3: NDArray[np.int32]
    score_K: NDArray[np.float32]
    kind_K: NDArray[np.uint8]
    shape: tuple[int, int, int]
    order: Order = "raster"
    layout: Layout = "frames"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    __repr__ = short_repr

    def __post_init__(self) -> None:
        pos = self.positions_K3
        require(
            pos.ndim == 2 and pos.shape[1] == 3 and pos.dtype == np.int32,
            "positions_K3",
            (pos.shape, str(pos.dtype)),
            "int32 [K, 3]",
        )
        K = len(pos)
        require(K >= 1, "K", K, "at least one patch")
        require(
            self.score_K.shape == (K,) and self.kind_K.shape == (K,),
            "score_K, kind_K",
            (self.score_K.shape, self.kind_K.shape),
            f"{(K,)}",
        )
        require(
            bool((pos >= 0).all() and (pos < np.asarray(self.shape)).all()),
            "positions_K3",
            (pos.min(0).tolist(), pos.max(0).tolist()),
            f"inside the grid {self.shape}",
        )
        flat = np.ravel_multi_index(tuple(pos.T.astype(np.int64)), self.shape)
        _require_choice("order", self.order, Order)
        _require_choice("layout", self.layout, Layout)
        require_dtypes(self, {"score_K": np.float32, "kind_K": np.uint8})
        require_finite(self, "score_K")
        _require_kinds("kind_K", self.kind_K)
        require(len(np.unique(flat)) == K, "positions_K3", f"{K - len(np.unique(flat))} repeated rows", "unique rows")
        key = order_rank(pos, self.shape, self.order)
        require(bool(np.all(np.diff(key) > 0)), "positions_K3", "rows out of order", f"sorted in {self.order} order")
        freeze(self)

    def __len__(self) -> int:
        return len(self.positions_K3)

    @property
    def tokens_per_frame_T(self) -> NDArray[np.int64]:
        return np.bincount(self.positions_K3[:, 0], minlength=self.shape[0]).astype(np.int64)


def _require_choice(name: str, value: object, choices: Any) -> None:
    require(value in get_args(choices), name, value, f"one of {get_args(choices)}")


def _require_kinds(name: str, kinds: NDArray[np.uint8]) -> None:
    unknown = sorted(set(np.unique(kinds).tolist()) - set(Kind))
    require(not unknown, name, unknown, f"values of Kind, {min(Kind):d} to {max(Kind):d}")


def order_rank(positions_K3: NDArray[np.int32], shape: tuple[int, int, int], order: Order) -> NDArray[np.int64]:
    """Rank of each position: by t, then block row, block column, then inside the block (raster: blocks of 1x1)."""
    side = {"raster": 1, "block2": 2, "block3": 3}[order]
    t, h, w = positions_K3.T.astype(np.int64)
    rows, cols = -(-shape[1] // side), -(-shape[2] // side)
    block = (t * rows + h // side) * cols + w // side
    rank: NDArray[np.int64] = block * side**2 + h % side * side + w % side
    return rank


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipInfo:
    """What tokens of one clip must carry along to stay addressable: its grid, times and history."""

    name: str
    patch: int
    grid: tuple[int, int]
    frame_index_T: NDArray[np.int64]
    pts_seconds_T: NDArray[np.float64]
    model_time_T: NDArray[np.float32]
    layout: Layout = "frames"
    order: Order = "raster"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    __repr__ = short_repr

    def __post_init__(self) -> None:
        require(self.frame_index_T.ndim == 1, "frame_index_T", self.frame_index_T.shape, "[T]")
        T = len(self.frame_index_T)
        require(
            self.pts_seconds_T.shape == (T,) and self.model_time_T.shape == (T,),
            "pts_seconds_T, model_time_T",
            (self.pts_seconds_T.shape, self.model_time_T.shape),
            f"{(T,)}",
        )
        require(T >= 1, "T", T, "at least one frame")
        require(self.patch >= 1, "patch", self.patch, "at least 1 pixel")
        require(len(self.grid) == 2 and min(self.grid) >= 1, "grid", self.grid, "(rows, columns), at least 1 each")
        _require_choice("order", self.order, Order)
        _require_choice("layout", self.layout, Layout)
        require_finite(self, "pts_seconds_T", "model_time_T")
        for name in ("frame_index_T", "pts_seconds_T"):
            array = getattr(self, name)
            require(bool(np.all(np.diff(array) > 0)), name, array.tolist(), "strictly increasing")
        freeze(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class PatchTokens:
    """Patches of one or several clips, packed end to end: the encoder's input before normalisation.

    Attributes:
        patches_ND: uint8 RGB, D = 3*p*p in (channel, y, x) order.
        positions_N3: int32 (t, h, w) address inside the clip, t a row of the clip's ``frame_index_T``.
        model_positions_N3: float32 (t, h, w) that RoPE sees.
        score_N: float32. kind_N: uint8 of :class:`Kind`.
        cu_seqlens: int32 [S + 1], clip s holds rows cu_seqlens[s]:cu_seqlens[s + 1].
        clips: S facts.
    """

    patches_ND: NDArray[np.uint8]
    positions_N3: NDArray[np.int32]
    model_positions_N3: NDArray[np.float32]
    score_N: NDArray[np.float32]
    kind_N: NDArray[np.uint8]
    cu_seqlens: NDArray[np.int32]
    clips: tuple[ClipInfo, ...]
    __repr__ = short_repr

    def __post_init__(self) -> None:
        N = len(self.patches_ND) if self.patches_ND.ndim else 0
        patch = self.clips[0].patch if self.clips else 0
        require(
            self.patches_ND.ndim == 2
            and self.patches_ND.dtype == np.uint8
            and self.patches_ND.shape[1] == 3 * patch * patch,
            "patches_ND",
            (self.patches_ND.shape, str(self.patches_ND.dtype)),
            f"uint8 [N, 3 * patch * patch] with patch = {patch}",
        )
        require(
            all(c.patch == patch for c in self.clips),
            "patch",
            sorted({c.patch for c in self.clips}),
            "one patch size in a pack",
        )
        for name, wanted in (
            ("positions_N3", (N, 3)),
            ("model_positions_N3", (N, 3)),
            ("score_N", (N,)),
            ("kind_N", (N,)),
        ):
            require(getattr(self, name).shape == wanted, name, getattr(self, name).shape, f"{wanted}")
        require_finite(self, "model_positions_N3", "score_N")
        _require_kinds("kind_N", self.kind_N)
        cu = self.cu_seqlens
        require(
            cu.shape == (len(self.clips) + 1,) and cu[0] == 0 and cu[-1] == N and bool((np.diff(cu) > 0).all()),
            "cu_seqlens",
            cu.tolist(),
            f"0 ... {N}, strictly increasing, one step a clip ({len(self.clips)})",
        )
        freeze(self)

    def __len__(self) -> int:
        return len(self.patches_ND)

    @property
    def patch(self) -> int:
        return self.clips[0].patch
