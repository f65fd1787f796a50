"""Raw scores of patches: how much of what a codec could not predict lies in each.

Raw means: no camera compensation, no normalisation over the clip, no anchors; those belong to the selection policy.

Axes: T frames, H W pixels, y x cells of 8 x 8 pixels, h w patches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec.cells import cells_to_patches, luma_of
from onevision_encoder.codec.provider import ProviderName, compute_signals, read_with_signals
from onevision_encoder.errors import InvalidArgumentError, SignalUnavailableError
from onevision_encoder.types import CodecSignals, FrameSequence, Interval

if TYPE_CHECKING:
    from onevision_encoder.video import Sampling, Sizing, Source

ScoreName = Literal["fused", "bits", "motion", "residual", "frame_difference"]

_MOTION_FLOOR, _RESIDUAL_FLOOR = 1e-6, 1.0


def fuse(motion_Tyx2: NDArray[np.float32], residual_Tyx: NDArray[np.float32]) -> NDArray[np.float64]:
    """The original's per-frame fusion of motion and residual, float64 [T, y, x] in [0, 1].

    |motion| and residual are each divided by their own 95th percentile over the cells of the frame (floors: 1e-6 pixels
    and 1 grey level), clipped to [0, 1] and averaged. The recipe of the published encoder's selection (the original's
    ``_mv_energy_norm`` and ``_residual_energy_norm``, equal weights). Note what follows from it: every frame has the
    same scale, so a frame where next to nothing moves counts like one where everything does.
    """
    magnitude_Tyx = np.hypot(motion_Tyx2[..., 0].astype(np.float64), motion_Tyx2[..., 1])
    parts = []
    for values_Tyx, floor in ((magnitude_Tyx, _MOTION_FLOOR), (residual_Tyx.astype(np.float64), _RESIDUAL_FLOOR)):
        top_T = np.percentile(values_Tyx.reshape(len(values_Tyx), -1), 95, axis=1)
        parts.append(np.clip(values_Tyx / np.maximum(top_T, floor)[:, None, None], 0, 1))
    fused_Tyx: NDArray[np.float64] = (parts[0] + parts[1]) / 2
    return fused_Tyx


def _check(score: str, patch: int, frame_size: tuple[int, int]) -> None:
    if score not in get_args(ScoreName):
        raise InvalidArgumentError("score", score, "one of " + ", ".join(get_args(ScoreName)))
    H, W = frame_size
    if isinstance(patch, bool) or not isinstance(patch, int | np.integer) or patch < 1 or H % patch or W % patch:
        raise InvalidArgumentError("patch", patch, f"an integer >= 1 that divides both sides of the {H} x {W} frames")


def raw_scores(signals: CodecSignals, *, patch: int, score: ScoreName = "fused") -> NDArray[np.float32]:
    """Mean score of each patch, from signals.

    Scores:
        ``fused``: :func:`fuse`, in [0, 1].
        ``motion``: length of the motion vector in pixels of the sized frame (0 where intra).
        ``residual``: grey levels.
        ``bits``: estimated bits per cell.
    Args:
        signals: of T frames. patch: side in pixels, divides both sides of the frame.
    Returns:
        float32 [T, H / patch, W / patch], 0 in frames that are not ``valid_T``.
    Raises:
        InvalidArgumentError: an unknown score, or a patch that does not divide the frame.
        SignalUnavailableError: ``bits`` of a provider without bits; ``frame_difference``, which needs pixels.
    """
    _check(score, patch, signals.frame_size)
    provider = str(signals.provenance.get("provider", "unknown"))
    others = ["score='fused'", "score='residual'", "score='motion'"]
    cells_Tyx: NDArray[np.floating]
    if score == "fused":
        cells_Tyx = fuse(signals.motion_Tyx2, signals.residual_Tyx)
    elif score == "motion":
        cells_Tyx = np.hypot(signals.motion_Tyx2[..., 0], signals.motion_Tyx2[..., 1])
    elif score == "residual":
        cells_Tyx = signals.residual_Tyx
    elif score == "bits":
        if signals.bits_Tyx is None:
            raise SignalUnavailableError(provider, "bits", "it does not estimate them", others)
        cells_Tyx = signals.bits_Tyx
    else:
        cause = "it is made from pixels, not from codec signals"
        raise SignalUnavailableError(provider, score, cause, ["frame_difference(luma_THW, patch=...)", *others])
    return cells_to_patches(cells_Tyx * signals.valid_T[:, None, None], patch=patch, frame_size=signals.frame_size)


def frame_difference(source: FrameSequence | NDArray[np.uint8], *, patch: int) -> NDArray[np.float32]:
    """Mean absolute luma difference to the frame before, per patch, in grey levels; frame 0 is 0.

    The baseline that a codec's signals have to beat. ``source``: a FrameSequence or luma, uint8 [T, H, W].

    Returns:
        float32 [T, H / patch, W / patch].
    Raises:
        ShapeError: no luma. InvalidArgumentError: the patch does not divide the frame.
    """
    luma_THW = luma_of(source)
    T, H, W = luma_THW.shape
    _check("frame_difference", patch, (H, W))
    scores = np.zeros((T, H // patch, W // patch), np.float32)
    for t in range(1, T):
        before_HW, luma_HW = luma_THW[t - 1], luma_THW[t]
        difference_HW = np.maximum(luma_HW, before_HW) - np.minimum(luma_HW, before_HW)
        rows_hW = difference_HW.reshape(H // patch, patch, W).sum(1, dtype=np.uint32)
        scores[t] = rows_hW.reshape(H // patch, W // patch, patch).sum(2, dtype=np.uint32) / patch**2
    return scores


def patch_scores(
    source: Source | FrameSequence | NDArray[np.uint8],
    *,
    patch: int = 14,
    provider: ProviderName = "auto",
    score: ScoreName = "fused",
    interval: Interval = "sample",
    sampling: Sampling | None = None,
    sizing: Sizing | None = None,
) -> NDArray[np.float32]:
    """Raw score of every patch of every sampled frame: what the codec could not predict there.

    Args:
        source: luma as uint8 [T, H, W] with sides that are multiples of ``patch``; a FrameSequence; or a file (path,
            URL, bytes, file object), which is read with ``sampling`` and ``sizing`` (default: native size in patches of
            ``patch`` pixels).
        patch: side in pixels. provider, interval: see :func:`compute_signals`, of files :func:`read_with_signals`.
        score: see :func:`raw_scores`; or ``frame_difference`` (luma of sampled frames only, no provider is asked).
    Returns:
        float32 [T, H / patch, W / patch], higher = less predictable.
    Raises:
        InvalidArgumentError: a name, the patch, sampling/sizing for frames in memory, or ``interval="frame"`` with
            ``frame_difference``. ShapeError: no such array.
        SignalUnavailableError: the provider cannot give it; names what can. What reading raises, for files.
    """
    if score == "frame_difference" and interval == "frame":
        raise InvalidArgumentError("interval", interval, "'sample': score='frame_difference' compares sampled frames")
    if isinstance(source, FrameSequence | np.ndarray):
        for name, value in (("sampling", sampling), ("sizing", sizing)):
            if value is not None:
                raise InvalidArgumentError(name, value, "None: frames in memory are sampled and sized already")
        luma_THW = luma_of(source)
        _check(score, patch, (luma_THW.shape[1], luma_THW.shape[2]))
        if score == "frame_difference":
            return frame_difference(source, patch=patch)
        return raw_scores(compute_signals(source, provider=provider, interval=interval), patch=patch, score=score)
    return _file_scores(source, patch, provider, score, interval, sampling, sizing)


def _file_scores(
    source: Source,
    patch: int,
    provider: ProviderName,
    score: ScoreName,
    interval: Interval,
    sampling: Sampling | None,
    sizing: Sizing | None,
) -> NDArray[np.float32]:
    from onevision_encoder.video import Sizing, read_media

    sizing = sizing or Sizing(patch=patch)
    if sizing.unit % patch:
        raise InvalidArgumentError("patch", patch, f"a divisor of sizing.patch * sizing.merge = {sizing.unit}")
    _check(score, patch, (patch, patch))
    if score == "frame_difference":
        return frame_difference(read_media(source, sampling=sampling, sizing=sizing), patch=patch)
    _, signals = read_with_signals(source, sampling=sampling, sizing=sizing, provider=provider, interval=interval)
    return raw_scores(signals, patch=patch, score=score)
