"""A very small encoder whose weights are made by a formula, two short clips, and what it must make of them.

Axes: S clips, N tokens, C width, D = 3 * patch * patch.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch
from numpy.typing import NDArray

from onevision_encoder.model.configuration import OneVisionEncoderConfig
from onevision_encoder.model.embed import embed_tokens
from onevision_encoder.model.encoder import OneVisionEncoderModel
from onevision_encoder.types import ClipInfo, PatchTokens

LENGTHS, PATCH, WIDTH = (5, 7), 4, 64
TOLERANCE = 0.002
"""Largest deviation in float32; the answer is written down in thousandths."""
LEAST_COSINE = 0.999
"""In any dtype that inference chooses by itself."""


def made_numbers(name: str, count: int) -> NDArray[np.float64]:
    """``count`` numbers in [-1, 1) that a name stands for: integer hashing, so that no library decides on them."""
    number = np.arange(count, dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        number = ((number ^ (number >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    return (number ^ (number >> np.uint64(16))).astype(np.float64) / 2**31 - 1


def made_encoder(attention: str = "sdpa") -> OneVisionEncoderModel:
    """Two layers of width 64, every weight from :func:`made_numbers`; float32 on the CPU, in ``eval`` mode."""
    config = OneVisionEncoderConfig(
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        patch_size=PATCH,
        attn_implementation=attention,
    )
    with torch.random.fork_rng(devices=[]):  # the model draws weights first: not from the caller's random state
        model = OneVisionEncoderModel(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.from_numpy(made_numbers(name, parameter.numel())).reshape(parameter.shape)
            gain = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(1 + 0.1 * values if gain else 0.3 * values)
    torch.nn.Module.train(model, False)
    return model


def made_tokens() -> PatchTokens:
    """Two clips of 5 and 7 tokens."""
    N, D = sum(LENGTHS), 3 * PATCH * PATCH
    patches_ND = ((made_numbers("patches", N * D) + 1) * 128).astype(np.uint8).reshape(N, D)
    positions_N3 = np.concatenate([np.stack((np.arange(n), np.arange(n) % 3, np.arange(n) % 2), 1) for n in LENGTHS])
    bounds = np.cumsum([0, *LENGTHS]).astype(np.int32)
    clips = tuple(
        ClipInfo(
            name=f"made clip of {n}",
            patch=PATCH,
            grid=(3, 2),
            frame_index_T=np.arange(n, dtype=np.int64),
            pts_seconds_T=np.arange(n, dtype=np.float64),
            model_time_T=np.arange(n, dtype=np.float32),
        )
        for n in LENGTHS
    )
    return PatchTokens(
        patches_ND=patches_ND,
        positions_N3=positions_N3.astype(np.int32),
        model_positions_N3=positions_N3.astype(np.float32) * np.array([7, 1, 1], np.float32),
        score_N=np.zeros(N, np.float32),
        kind_N=np.zeros(N, np.uint8),
        cu_seqlens=bounds,
        clips=clips,
    )


def pooled(*, attention: str = "sdpa", dtype: torch.dtype = torch.float32, device: str = "cpu") -> NDArray[np.float32]:
    """What the encoder makes of the clips here and now, float32 [2, 64]."""
    model = made_encoder(attention)
    torch.nn.Module.to(model, device=device, dtype=dtype)
    pooled_SC = embed_tokens(model, made_tokens()).pooled_SC
    assert pooled_SC is not None
    return pooled_SC


def known_answer() -> NDArray[np.float64]:
    """What it must be, float64 [2, 64]."""
    return np.array(_THOUSANDTHS.split(), np.float64).reshape(len(LENGTHS), WIDTH) / 1000


_THOUSANDTHS = """
787 -726 736 -1555 -874 828 -140 -1800 933 -1048 2414 1400 -2632 -1272 -909 -1934 -1550 -629 2678 -1821 -2655
1067 -652 -1244 2619 -2147 -1711 3578 -2044 -4770 547 -2374 73 330 -641 1950 1871 -2193 4559 -56 2372 889 2627
-1327 2048 -313 3936 1939 -4309 4585 -1369 1510 -958 5650 3082 -1389 -1333 2939 -3475 1685 -12 -3520 -1846
1874 641 -292 -2912 -919 -2102 666 -1868 1533 -863 1361 4050 2057 -2445 -1240 -659 -3091 -438 -1035 2555 -497
83 -2248 2165 1871 234 -334 -2923 5956 60 -4211 -662 -2248 -684 294 1215 1642 864 275 1802 -1319 3048 -3338
2989 -2950 1920 -4473 956 1532 -3412 2954 -741 2133 -1285 5888 479 -1992 1627 4619 117 -637 -2735 2149 1148
-334
"""
