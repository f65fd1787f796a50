"""The self-test's clip: its digest is that of the coder written a second time, in Python."""

from __future__ import annotations

import numpy as np

from onevision_encoder.codec import blockcoder_signals
from onevision_encoder.codec.known_answer import KNOWN_DIGEST, SIDE, STEP, digest, made_clip
from onevision_encoder.codec.twin import twin_signals


def test_the_twin_gives_the_known_bits() -> None:
    clip = made_clip(6, 72, 88, cut=4)
    assert digest(twin_signals(clip)) == digest(blockcoder_signals(clip)) == KNOWN_DIGEST


def test_the_clip_is_what_it_says() -> None:
    clip = made_clip(6, 72, 88, cut=4)
    assert (clip.shape, clip.dtype) == ((6, 72, 88), np.uint8)
    top = (72 - SIDE) // 2
    squares = [clip[t, top : top + SIDE, t * STEP : t * STEP + SIDE] for t in range(6)]
    for t in (1, 2, 3):
        np.testing.assert_array_equal(squares[t], squares[0])
        np.testing.assert_array_equal(clip[t, :top], clip[0, :top])
    assert (squares[4] != squares[0]).mean() > 0.9
    assert (clip[4] != clip[3]).mean() > 0.9
    assert clip.std() > 30


def test_the_digest_sees_every_field() -> None:
    signals = blockcoder_signals(made_clip(3, 40, 40))
    known = digest(signals)
    for name in ("bits_Tyx", "residual_Tyx", "motion_Tyx2"):
        values = getattr(signals, name)
        object.__setattr__(signals, name, np.where(np.arange(values.size).reshape(values.shape) == 50, 99, values))
        assert digest(signals) != known
        object.__setattr__(signals, name, values)
    assert digest(signals) == known
