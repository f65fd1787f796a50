"""Attention inside groups of frames: windows are segments finer than the clips.

Axes: N tokens of the pack, S clips, W windows, 3 = (t, h, w).

With ``window_frames = n`` the frames of a clip are put in order of time and cut into groups of n, the last one
shorter where n does not divide. A token sees the tokens of its own group. Positions stay those of the clip, and the
pooling head reads the whole clip. What a frame is:

- dense input: a frame of the tensor, whatever positions say (a codec canvas is a frame, as in LLaVA-OneVision-2);
- packed input: a distinct t of ``patch_positions`` inside a clip. RoPE's t is one float for each frame, so tokens of
  a frame agree on it to the bit;
- bounds given by name (``window_cu_seqlens``) need no frames at all: for packed canvases, whose tokens have the times
  of many source frames.

Frames without tokens do not count. Tokens of a clip may come in any order: they are sorted by window for the blocks
and put back after them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.model.marked import MarkedSegments
from onevision_encoder.model.segments import Segments


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Where attention happens: ``segments`` of the tokens in ``order_N`` (None = as they are)."""

    segments: Segments | MarkedSegments
    order_N: Tensor | None = None

    def sort(self, x: Tensor) -> Tensor:
        """Rows of the pack -> rows of the windows."""
        return x if self.order_N is None else x[self.order_N]

    def unsort(self, x: Tensor) -> Tensor:
        """Rows of the windows -> rows of the pack."""
        return x if self.order_N is None else x[self.order_N.argsort()]


def bounded_windows(windows: Segments | MarkedSegments, clips: Segments | MarkedSegments) -> Windows:
    """Windows by their bounds.

    Raises:
        InvalidArgumentError: a window reaches over the end of a clip.
    """
    if isinstance(windows, Segments) and isinstance(clips, Segments):
        missing = sorted(set(clips.bounds()) - set(windows.bounds()))
        if missing:
            allowed = f"bounds that include every bound of cu_seqlens ({missing} missing)"
            raise InvalidArgumentError("window_cu_seqlens", windows.bounds(), allowed)
    return Windows(segments=windows)


def frame_windows(t_N: Tensor, clips: Segments | MarkedSegments, window_frames: int) -> Windows:
    """Windows of ``window_frames`` distinct values of t each, in order of t. Asks the device for t once.

    Args:
        t_N: what tells frames apart, any number. clips: which tokens belong together.
    Raises:
        InvalidArgumentError: nobody can look at t (meta tensors, compiled and exported graphs).
    """
    if t_N.is_meta or torch.compiler.is_compiling() or isinstance(clips, MarkedSegments):
        where = "on meta tensors and in compiled graphs, which cannot look at times"
        raise InvalidArgumentError("window_cu_seqlens", None, f"bounds of the windows, {where}")
    window_N: list[Tensor] = []
    count = 0
    host_N = t_N.detach().cpu()
    for start, stop in pairwise(clips.bounds()):
        _, rank = torch.unique(host_N[start:stop], return_inverse=True)
        window_N.append(rank // window_frames + count)
        count = int(window_N[-1].max()) + 1
    whole_N = torch.cat(window_N)
    segments = Segments.from_lengths(torch.bincount(whole_N).tolist())
    if bool((whole_N.diff() >= 0).all()):
        return Windows(segments=segments)
    return Windows(segments=segments, order_N=whole_N.argsort(stable=True).to(t_N.device))


def dense_windows(batch: int, frames: int, per_frame: int, window_frames: int) -> Windows:
    """Windows of B items of T whole frames."""
    full, rest = frames // window_frames, frames % window_frames  # divmod stops torch.compile
    lengths = [window_frames * per_frame] * full + ([rest * per_frame] if rest else [])
    return Windows(segments=Segments.from_lengths(lengths * batch))
