"""Damaged media, thousands of times: each call gives exact tokens or a typed error, and comes back.

The files are small clips of every common codec with bytes flipped, cut out, repeated or cut off.
"""

from __future__ import annotations

import faulthandler
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from clips import moving_square, write_video
from numpy.typing import NDArray

from onevision_encoder import tokenize
from onevision_encoder.errors import OneVisionError

SECONDS_PER_CALL = 60
CODECS = [
    ("libx264", "mp4", {"bf": "2"}),
    ("libx265", "mp4", {"x265-params": "log-level=none"}),
    ("libvpx-vp9", "webm", {"deadline": "realtime", "cpu-used": "8"}),
    ("libvpx", "webm", {"deadline": "realtime"}),
    ("libsvtav1", "mkv", {"preset": "12"}),
    ("mpeg4", "avi", {}),
    ("mpeg2video", "ts", {}),
]


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    raw: NDArray[np.uint8] = np.frombuffer(content, np.uint8).copy()
    kind = rng.integers(4)
    if kind == 0:
        at = rng.integers(0, len(raw), rng.integers(1, 1 + len(raw) // 50))
        raw[at] ^= rng.integers(1, 256, len(at)).astype(np.uint8)
    start, length = int(rng.integers(len(raw))), int(rng.integers(1, 1 + len(raw) // 4))
    if kind == 1:
        raw = np.delete(raw, slice(start, start + length))
    elif kind == 2:
        raw = np.insert(raw, start, raw[start : start + length])
    elif kind == 3:
        raw = raw[: max(1, start)]
    return raw.tobytes()


@pytest.mark.parametrize(
    "rounds", [pytest.param(400, marks=pytest.mark.slow), pytest.param(4000, marks=pytest.mark.soak)]
)
@pytest.mark.parametrize(("codec", "container", "options"), CODECS, ids=[c[0] for c in CODECS])
def test_damaged_files_give_exact_tokens_or_a_typed_error(
    tmp_path: Path, codec: str, container: str, options: dict[str, str], rounds: int
) -> None:
    whole = write_video(tmp_path / f"whole.{container}", moving_square(24), codec=codec, options=options).read_bytes()
    rng = np.random.default_rng(0)
    outcomes: Counter[str] = Counter()
    target = tmp_path / f"damaged.{container}"
    for round_ in range(rounds):
        target.write_bytes(damage(whole, rng))
        policy = ("codec", "uniform", "random")[round_ % 3]
        faulthandler.dump_traceback_later(SECONDS_PER_CALL, exit=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                tokens = tokenize(target, budget=16, policy=policy, num_frames=16)
            assert len(tokens) == 16
            lost = tokens.clips[0].provenance["source"]["frames_lost"]
            outcomes["whole" if not lost else "partial"] += 1
        except OneVisionError as error:
            if str(target) not in str(error) and "budget" not in str(error):
                pytest.fail(f"the error names neither the file nor the value: {error}")
            outcomes[type(error).__name__] += 1
        finally:
            faulthandler.cancel_dump_traceback_later()
    print(f"{codec}: {dict(outcomes)}")
    assert sum(outcomes.values()) == rounds
