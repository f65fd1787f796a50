from __future__ import annotations

import numpy as np
import pytest
from made import frames, selection

from onevision_encoder.errors import ShapeError
from onevision_encoder.tokens import gather, patchify, unpatchify


@pytest.mark.parametrize("patch", [2, 14, 16])
def test_patchify_is_the_loop_over_patches(patch: int) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (3, 4 * patch, 5 * patch, 3), dtype=np.uint8)
    by_hand = [
        rgb[t, y * patch : (y + 1) * patch, x * patch : (x + 1) * patch].transpose(2, 0, 1).ravel()
        for t in range(3)
        for y in range(4)
        for x in range(5)
    ]
    assert np.array_equal(patchify(rgb, patch), np.stack(by_hand))
    assert np.array_equal(unpatchify(patchify(rgb, patch), (3, 4, 5), patch), rgb)


def test_gather_takes_the_pixels_at_each_address() -> None:
    clip = frames()
    chosen = selection((5, 4, 6), K=37)
    patches = gather(clip, chosen)
    assert patches.shape == (37, 3 * 14 * 14)
    for row, (t, h, w) in zip(patches, chosen.positions_K3, strict=True):
        block = clip.rgb_THW3[t, h * 14 : h * 14 + 14, w * 14 : w * 14 + 14]
        assert np.array_equal(row.reshape(3, 14, 14), block.transpose(2, 0, 1))


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ShapeError, match="multiples of the patch size 14"):
        patchify(np.zeros((1, 28, 30, 3), np.uint8), 14)
    with pytest.raises(ShapeError, match=r"\(5, 4, 6\), the grid of the frames"):
        gather(frames(), selection((5, 4, 5), K=3))
    with pytest.raises(ShapeError, match=r"\(6, 588\)"):
        unpatchify(np.zeros((5, 588), np.uint8), (1, 2, 3), 14)
