"""Which decoders and encoders this build of PyAV and FFmpeg brings."""

from __future__ import annotations

from collections.abc import Mapping

# FFmpeg's own "av1" is not among the AV1 decoders: it works with a GPU's help only.
_DECODERS: Mapping[str, tuple[str, ...]] = {
    "H.264": ("h264",),
    "HEVC": ("hevc",),
    "VP8": ("vp8", "libvpx"),
    "VP9": ("vp9", "libvpx-vp9"),
    "AV1": ("libdav1d", "libgav1", "libaom-av1"),
    "MPEG-1": ("mpeg1video",),
    "MPEG-2": ("mpeg2video",),
    "MPEG-4": ("mpeg4",),
    "ProRes": ("prores",),
    "MJPEG": ("mjpeg",),
    "GIF": ("gif",),
    "WMV/VC-1": ("vc1",),
    "Theora": ("theora",),
    "FFV1": ("ffv1",),
}
_ENCODERS = ("libx264",)
"""What provider ``x264proxy`` and .mp4 previews use."""


def available_decoders() -> dict[str, str | None]:
    """Codec -> name of its decoder in the order in which FFmpeg takes them; None where there is none."""
    return {codec: next((name for name in names if _there(name, "r")), None) for codec, names in _DECODERS.items()}


def available_encoders() -> dict[str, bool]:
    """Encoder that something here uses -> whether it is there."""
    return {name: _there(name, "w") for name in _ENCODERS}


def ffmpeg_versions() -> dict[str, str]:
    """FFmpeg's own version where PyAV tells it, and those of its libraries."""
    import av

    release = {"ffmpeg": str(av.ffmpeg_version_info)} if hasattr(av, "ffmpeg_version_info") else {}
    return release | {name: ".".join(map(str, version)) for name, version in sorted(av.library_versions.items())}


def _there(name: str, mode: str) -> bool:
    import av
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    try:
        return Codec(name, "r" if mode == "r" else "w").name == name
    except (UnknownCodecError, av.FFmpegError):
        return False
