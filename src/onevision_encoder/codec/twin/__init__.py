"""The block coder once more, to be read: plain Python and numpy, the same bits as the C core, far slower.

Read it top to bottom for how a video codec works: a frame is *predicted* from the frame before (a vector says from
where) or from its own neighbours (intra); what the prediction misses, the *residual*, is transformed (a DCT gathers it
in few numbers), *quantised* (this is where information is lost) and counted in *bits* by a model that learns as an
arithmetic coder would. The decoder's picture, not the original, predicts the next frame: the loop is closed.
Every choice is made by price: error + lambda x bits. All arithmetic is integer: a bit is 256 units, a vector 4 a pixel.

docs/block-coder.md walks through it with pictures. In this order: pictures, bits, search, coder, noise, scene, clip.
It is the oracle of the C core's tests; the constants are those of ``csrc/bc_parameters.h``.
Axes: H W pixels (multiples of 16 inside), y x cells of 8 x 8 pixels, j i rows and columns of a block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onevision_encoder.codec.twin.clip import coded_frames as coded_frames
    from onevision_encoder.codec.twin.clip import twin_signals as twin_signals

__all__ = ["coded_frames", "twin_signals"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from onevision_encoder.codec.twin import clip

        return getattr(clip, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
