"""Motion compensation against H.264's formulas written out pixel by pixel, and against a real H.264 decoder."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import pan

from onevision_encoder.codec.interpolate import compensate
from onevision_encoder.codec.proxy import ProxyCodec

TAPS = (1, -5, 20, 20, -5, 1)


class Spec:
    """Rec. ITU-T H.264, 8.4.2.2.1, one sample at a time in Python integers."""

    def __init__(self, picture: np.ndarray) -> None:
        self.picture = picture

    def full(self, y: int, x: int) -> int:
        H, W = self.picture.shape
        return int(self.picture[min(max(y, 0), H - 1), min(max(x, 0), W - 1)])

    @staticmethod
    def clip(value: int) -> int:
        return min(max(value, 0), 255)

    def b1(self, y: int, x: int) -> int:
        return sum(t * self.full(y, x + i - 2) for i, t in enumerate(TAPS))

    def h1(self, y: int, x: int) -> int:
        return sum(t * self.full(y + i - 2, x) for i, t in enumerate(TAPS))

    def b(self, y: int, x: int) -> int:
        return self.clip((self.b1(y, x) + 16) >> 5)

    def h(self, y: int, x: int) -> int:
        return self.clip((self.h1(y, x) + 16) >> 5)

    def j(self, y: int, x: int) -> int:
        return self.clip((sum(t * self.b1(y + i - 2, x) for i, t in enumerate(TAPS)) + 512) >> 10)

    def at(self, y4: int, x4: int) -> int:
        """Sample at quarter-pel position (y4, x4)."""
        y, x, f = y4 >> 2, x4 >> 2, (y4 & 3, x4 & 3)
        G, b, h, j = self.full, self.b, self.h, self.j
        m, s = self.h(y, x + 1), self.b(y + 1, x)
        single = {(0, 0): G, (0, 2): b, (2, 0): h, (2, 2): j}
        if f in single:
            return single[f](y, x)
        pairs = {
            (0, 1): (G(y, x), b(y, x)),
            (0, 3): (b(y, x), G(y, x + 1)),
            (1, 0): (G(y, x), h(y, x)),
            (3, 0): (h(y, x), G(y + 1, x)),
            (1, 2): (b(y, x), j(y, x)),
            (3, 2): (j(y, x), s),
            (2, 1): (h(y, x), j(y, x)),
            (2, 3): (j(y, x), m),
            (1, 1): (b(y, x), h(y, x)),
            (1, 3): (b(y, x), m),
            (3, 1): (h(y, x), s),
            (3, 3): (s, m),
        }
        return (pairs[f][0] + pairs[f][1] + 1) >> 1


@pytest.mark.parametrize("reach", [6, 400])
def test_every_quarter_position_inside_and_far_outside_equals_the_standard(reach: int) -> None:
    rng = np.random.default_rng(reach)
    reference = rng.integers(0, 256, (32, 40), np.uint8)
    quarter = rng.integers(-reach * 4, reach * 4, (4, 5, 2))
    quarter[:, :4] = quarter[:, :4] // 4 * 4  # 16 cells: every combination of fractions
    quarter[:, :4, 0] += np.arange(4)[None, :]
    quarter[:, :4, 1] += np.arange(4)[:, None]
    predicted = compensate(reference, (-quarter / 4).astype(np.float32))
    spec = Spec(reference)
    for y in range(32):
        for x in range(40):
            dx, dy = quarter[y // 8, x // 8]
            assert predicted[y, x] == spec.at(y * 4 + dy, x * 4 + dx), (y, x, dx, dy)


def test_whole_pixels_and_standing_still() -> None:
    reference = np.random.default_rng(0).integers(0, 256, (16, 24), np.uint8)
    still = compensate(reference, np.zeros((2, 3, 2), np.float32))
    np.testing.assert_array_equal(still, reference)
    right = compensate(reference, np.full((2, 3, 2), (5, 0), np.float32))
    np.testing.assert_array_equal(right[:, 5:], reference[:, :-5])  # content moved 5 pixels to the right


def test_equals_the_decoders_own_prediction() -> None:
    """Where the encoder codes no residual, decoded and predicted frame agree to the bit, at fractional vectors too."""
    codec = ProxyCodec(96, 128)
    before, exact, fractional = None, 0, 0
    for luma_HW in pan((1.25, -0.75), 6, 96, 128):
        decoded_HW, field = codec.code(luma_HW)
        if before is not None:
            difference_HW = np.abs(decoded_HW.astype(int) - compensate(before, field.past_yx2))
            same_yx = difference_HW.reshape(12, 8, 16, 8).max((1, 3)) == 0
            exact += int((same_yx & field.from_past_yx).sum())
            fractional += int((same_yx & field.from_past_yx & (field.past_yx2 % 1 != 0).any(-1)).sum())
        before = decoded_HW
    assert exact > 0.5 * 5 * 12 * 16
    assert fractional > 0.5 * 5 * 12 * 16
