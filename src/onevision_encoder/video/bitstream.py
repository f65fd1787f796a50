"""The few header bits that a packet's flags do not tell: where decoding may start, and which packets show nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

_H264_IDR, _H264_SLICES = 5, frozenset(range(1, 6))
_HEVC_FIRST_IRAP, _HEVC_LAST_IRAP, _HEVC_SLICES = 16, 21, frozenset(range(32))
# Intra frames of these reset every reference, or (MPEG-1/2/4) frames shown after an intra frame never look before it.
_CLEAN_KEYFRAMES = frozenset({"vp8", "vp9", "libdav1d", "libaom-av1", "av1", "mpeg1video", "mpeg2video", "mpeg4"})
# Every frame stands for itself, or (FFV1) every keyframe resets the coder.
# fmt: off
_INTRA_ONLY = frozenset({
    "apv", "bmp", "cfhd", "dnxhd", "dvvideo", "ffv1", "ffvhuff", "hap", "huffyuv", "jpeg2000", "jpegls",
    "libopenjpeg", "ljpeg", "magicyuv", "mjpeg", "mjpegb", "png", "prores", "qoi", "r210", "rawvideo", "tiff",
    "utvideo", "v210", "v308", "v408", "v410", "wrapped_avframe",
})
# fmt: on


def is_restart(codec: str, data: memoryview, extradata: bytes | None) -> bool:
    """Whether every frame shown from this keyframe on can be decoded without what comes before it.

    H.264 packets are flagged as keyframes at recovery points too, after which frames may still reach back: only IDR
    counts (ITU-T H.264 7.4.1.2.4). HEVC: any IRAP picture; what follows it in presentation order does not reach back
    (ITU-T H.265 3.69).
    """
    if codec == "h264":
        kind = _first_slice(data, _length_size(codec, extradata), lambda byte: byte & 31, _H264_SLICES)
        return kind == _H264_IDR
    if codec == "hevc":
        kind = _first_slice(data, _length_size(codec, extradata), lambda byte: byte >> 1 & 63, _HEVC_SLICES)
        return kind is not None and _HEVC_FIRST_IRAP <= kind <= _HEVC_LAST_IRAP
    return codec in _CLEAN_KEYFRAMES or codec in _INTRA_ONLY


def shows_nothing(codec: str, data: memoryview) -> bool:
    """A packet that only prepares references (alternate reference frames of VP8 and VP9).

    VP8: bit 4 of the frame tag is show_frame (RFC 6386, 9.1). VP9: the uncompressed header (specification 6.2);
    a superframe always ends with a shown frame.
    """
    if codec == "vp8":
        return len(data) >= 3 and not data[0] >> 4 & 1
    if codec == "vp9" and len(data):
        marker = data[len(data) - 1]
        if marker & 0xE0 == 0xC0:  # superframe index
            return False
        first = data[0]
        profile = (first >> 5 & 1) | (first >> 4 & 1) << 1
        if profile == 3:  # one reserved bit more
            return not first >> 2 & 1 and not first & 1
        return not first >> 3 & 1 and not first >> 1 & 1
    return False


def _first_slice(
    data: memoryview, length_size: int, kind_of: Callable[[int], int], slices: frozenset[int]
) -> int | None:
    for offset in _nal_offsets(data, length_size):
        kind = kind_of(data[offset])
        if kind in slices:
            return kind
    return None


def _nal_offsets(data: memoryview, length_size: int) -> Iterator[int]:
    """Where each NAL unit's header byte lies: after its length (avcC, hvcC) or after a start code (Annex B)."""
    if length_size:
        at = 0
        while at + length_size < len(data):
            yield at + length_size
            at += length_size + int.from_bytes(data[at : at + length_size], "big")
        return
    raw, at = bytes(data), 0
    while (at := raw.find(b"\x00\x00\x01", at)) >= 0 and at + 3 < len(raw):
        yield at + 3
        at += 3


def _length_size(codec: str, extradata: bytes | None) -> int:
    """Bytes of the length prefix, 0 for Annex B (whose extradata starts with a start code, not with a version).

    ISO/IEC 14496-15: avcC has it in byte 4, hvcC in byte 21, two bits, minus one.
    """
    at = 21 if codec == "hevc" else 4
    if not extradata or len(extradata) <= at or not (extradata[0] or extradata[1] or extradata[2] > 1):
        return 0
    return (extradata[at] & 3) + 1
