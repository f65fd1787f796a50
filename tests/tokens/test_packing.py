from __future__ import annotations

import numpy as np
import pytest
from made import frames, selection

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.tokens import gather, make_tokens, pack, unpack


def test_pack_and_unpack_are_inverse_and_keep_clips_apart() -> None:
    clips = [frames(T=5, seed=1), frames(T=2, h=3, w=9, seed=2), frames(T=1, seed=3)]
    chosen = [selection((c.num_frames, *c.grid), K, seed=K) for c, K in zip(clips, (40, 7, 24), strict=True)]
    parts = [make_tokens(c, s) for c, s in zip(clips, chosen, strict=True)]
    whole = pack(parts)
    assert whole.cu_seqlens.tolist() == [0, 40, 47, 71]
    for part, clip, s, back in zip(parts, clips, chosen, unpack(whole), strict=True):
        assert np.array_equal(back.patches_ND, gather(clip, s))
        assert np.array_equal(back.positions_N3, s.positions_K3)
        assert np.array_equal(back.model_positions_N3, part.model_positions_N3)
        assert back.clips == part.clips


def test_time_and_provenance_travel_along() -> None:
    clip = frames(T=5)
    tokens = make_tokens(clip, selection((5, 4, 6), 30), time="seconds", ticks_per_second=10)
    t = tokens.positions_N3[:, 0]
    assert np.allclose(tokens.model_positions_N3[:, 0], clip.pts_seconds_T[t] * 10)
    assert np.array_equal(tokens.model_positions_N3[:, 1:], tokens.positions_N3[:, 1:])
    made = tokens.clips[0].provenance
    assert made["source"]["fingerprint"] == clip.source.fingerprint
    assert made["selection"] == {"policy": "made"}
    assert made["frames"] == {"sampling": "every second"}


def test_packs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="at least one clip"):
        pack([])
    small = make_tokens(frames(patch=14), selection((5, 4, 6), 3))
    large = make_tokens(frames(patch=16), selection((5, 4, 6), 3))
    with pytest.raises(ShapeError, match="one patch size"):
        pack([small, large])
