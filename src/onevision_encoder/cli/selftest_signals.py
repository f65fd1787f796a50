"""Checks of decoders and signal providers: bits that are the same on every machine, motion that is known."""

from __future__ import annotations

from collections.abc import Callable

from onevision_encoder.cli.selftest import Check, MissingPartError, WrongAnswerError, expect

_PYAV = "pip install --upgrade --force-reinstall av: its wheels for Linux, macOS and Windows bring FFmpeg along; no "
_PYAV += "FFmpeg of the system is used, and a patched one is not needed"
_BUILD = (
    "install a C compiler (Linux: gcc, macOS: xcode-select --install, Windows: Build Tools for Visual Studio), then "
)
_BUILD += "pip install --force-reinstall --no-deps --no-cache-dir this package; until then name --provider x264proxy"
_OTHER_FILES = "files of this codec are refused; " + _PYAV

DECODED = ("H.264", "HEVC", "VP8", "VP9", "AV1")
"""The known streams. Nothing is imported for their names: these checks are made where imports may fail."""


def signal_checks() -> list[Check]:
    decode = [
        Check(name=f"decode {codec}", run=_decode(codec), needed=codec == "H.264", remedy=_remedy(codec))
        for codec in DECODED
    ]
    return [
        *decode,
        Check(name="blockcoder: known bits", run=blockcoder_bits, needed=True, remedy=_BUILD),
        Check(name="blockcoder: vector = scalar", run=blockcoder_kernels, needed=False, remedy=_BUILD),
        Check(name="x264proxy: known motion", run=x264proxy_motion, needed=False, remedy=_PYAV),
        Check(name="native: known motion", run=native_motion, needed=False, remedy=_PYAV),
    ]


def _remedy(codec: str) -> str:
    return _PYAV if codec == "H.264" else _OTHER_FILES


def _decode(codec: str) -> Callable[[], str]:
    return lambda: decode_known(codec)


def decode_known(codec: str) -> str:
    """The standard fixes every bit of the pictures."""
    from onevision_encoder.errors import UnsupportedCodecError
    from onevision_encoder.video.known_streams import FRAMES, KNOWN_STREAMS, decoded_digest, decoder_name

    known = KNOWN_STREAMS[codec]
    try:
        name = decoder_name(known.data)
    except UnsupportedCodecError as error:
        raise MissingPartError(f"this build of PyAV has no {codec} decoder") from error
    expect(decoded_digest(known.data), known.digest, "the digest of the pictures")
    return f"{FRAMES} frames, every bit right, by FFmpeg's {name}"


def blockcoder_bits() -> str:
    """Integer arithmetic: the same bits on every machine."""
    from onevision_encoder.codec import blockcoder_signals
    from onevision_encoder.codec.known_answer import KNOWN_DIGEST, digest, made_clip

    _need_extension()
    signals = blockcoder_signals(made_clip(6, 72, 88, cut=4))
    expect(signals.cut_T.tolist(), [True, False, False, False, True, False], "where scenes start")
    expect(digest(signals), KNOWN_DIGEST, "the digest of bits, residual and motion")
    return "6 frames, bits, residual, motion and cuts as on every machine"


def blockcoder_kernels() -> str:
    from onevision_encoder.codec import blockcoder_signals
    from onevision_encoder.codec.blockcoder import has_vector_kernels
    from onevision_encoder.codec.known_answer import digest, made_clip

    _need_extension()
    if not has_vector_kernels():
        raise MissingPartError("this build has scalar kernels only: the same bits, slower")
    clip = made_clip(6, 72, 88, cut=4)
    vector, scalar = digest(blockcoder_signals(clip)), digest(blockcoder_signals(clip, scalar=True))
    expect(vector, scalar, "the digest by vector kernels")
    return "both kinds of kernels give the same bits"


def _need_extension() -> None:
    from onevision_encoder.codec import get_provider
    from onevision_encoder.errors import SignalUnavailableError

    try:
        get_provider("blockcoder").check("sample")
    except SignalUnavailableError as error:
        raise MissingPartError(error.cause) from error


def x264proxy_motion() -> str:
    import numpy as np

    from onevision_encoder.codec import compute_signals
    from onevision_encoder.codec.known_answer import SIDE, STEP, made_clip
    from onevision_encoder.video.decoders import available_encoders

    if not available_encoders()["libx264"]:
        raise MissingPartError("this build of PyAV has no libx264 encoder")
    signals = compute_signals(made_clip(2, 96, 96), provider="x264proxy")
    first = (96 - SIDE) // 2 // 8 + 1
    inside = signals.motion_Tyx2[1, first : first + SIDE // 8 - 1, 1 : SIDE // 8]
    return _moved(np.median(inside, (0, 1)).tolist(), (STEP, 0.0))


def native_motion() -> str:
    import numpy as np

    from onevision_encoder.codec import read_with_signals
    from onevision_encoder.video import Sizing
    from onevision_encoder.video.known_streams import KNOWN_STREAMS, MOTION

    data, sizing = KNOWN_STREAMS["H.264"].data, Sizing(patch=16)
    _, signals = read_with_signals(data, provider="native", interval="frame", sizing=sizing)
    known_Tyx = ~signals.intra_Tyx
    if not known_Tyx[1:].any():
        raise WrongAnswerError("FFmpeg exported no motion vectors")
    return _moved(np.median(signals.motion_Tyx2[known_Tyx], 0).tolist(), MOTION)


def _moved(found: list[float], wanted: tuple[float, float]) -> str:
    if max(abs(a - b) for a, b in zip(found, wanted, strict=True)) > 0.25:
        raise WrongAnswerError(f"the content moves by {wanted} pixels a frame, found was {tuple(found)}")
    return f"{found[0]:+.2f}, {found[1]:+.2f} pixels a frame"
