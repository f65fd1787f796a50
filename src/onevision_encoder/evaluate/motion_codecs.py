"""Real encoders at drawn settings: how the clips of the motion suite become files. Axes: T H W 3 = RGB."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import UnsupportedCodecError, WriteError

CodecName = Literal["h264", "mpeg4", "vp9", "hevc"]

_ENCODERS: dict[CodecName, tuple[str, str, tuple[int, int]]] = {  # encoder of FFmpeg, container, best and worst quality
    "h264": ("libx264", ".mp4", (20, 34)),
    "mpeg4": ("mpeg4", ".avi", (3, 9)),
    "vp9": ("libvpx-vp9", ".webm", (26, 46)),
    "hevc": ("libx265", ".mkv", (20, 34)),
}
_PIXELS = "yuv420p"


@dataclass(frozen=True, kw_only=True)
class Coding:
    """Settings of one file. quality: CRF, or the quantiser of MPEG-4; gop: frames from key frame to key frame."""

    codec: CodecName
    quality: int
    gop: int
    fps: int

    @classmethod
    def draw(cls, rng: np.random.Generator, codecs: tuple[CodecName, ...]) -> Coding:
        codec = codecs[int(rng.integers(len(codecs)))]
        best, worst = _ENCODERS[codec][2]
        gop, fps = (int(rng.choice(choices)) for choices in ((12, 32, 250), (24, 25, 30)))
        return cls(codec=codec, quality=int(rng.integers(best, worst + 1)), gop=gop, fps=fps)

    @property
    def suffix(self) -> str:
        return _ENCODERS[self.codec][1]

    @property
    def options(self) -> Mapping[str, str]:
        """One thread each: clips are made in parallel, and a file must not depend on how many cores there are."""
        quality, gop = str(self.quality), str(self.gop)
        if self.codec == "h264":
            # With mbtree, sizes that are no multiple of 16 gave other bytes in one run of a hundred (PyAV 18.1).
            steady = {"x264-params": "mbtree=0:sync-lookahead=0"}
            return {"crf": quality, "preset": "veryfast", "g": gop, "threads": "1", **steady}
        if self.codec == "mpeg4":
            return {"qmin": quality, "qmax": quality, "g": gop, "threads": "1"}
        if self.codec == "vp9":
            fast = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
            return {"crf": quality, "b": "0", "g": gop, "threads": "1", **fast}
        alone = f"log-level=none:pools=none:frame-threads=1:no-info=1:keyint={gop}:min-keyint=1"
        return {"crf": quality, "preset": "ultrafast", "x265-params": alone}


def write_clip(path: Path, frames: Iterable[NDArray[np.uint8]], size: int, coding: Coding) -> None:
    """Encode frames [size, size, 3] into ``path``.

    Raises:
        UnsupportedCodecError: this build of FFmpeg lacks the encoder. WriteError: the file cannot be written.
    """
    import av
    from av.video.stream import VideoStream

    encoder = _ENCODERS[coding.codec][0]
    try:
        av.codec.Codec(encoder, "w")
    except av.codec.codec.UnknownCodecError as error:
        raise UnsupportedCodecError(
            path, f"this build of FFmpeg has no encoder {encoder} for {coding.codec}"
        ) from error
    try:
        with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
            stream: Any = container.add_stream(encoder, rate=coding.fps, options=dict(coding.options))
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = size, size, _PIXELS
            for number, rgb_HW3 in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(rgb_HW3, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, coding.fps)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    except OSError as error:
        raise WriteError(path, str(error)) from error
