"""The self-test's streams: what the standards' own decoders and the scene they were made from say of them."""

from __future__ import annotations

import hashlib
import io

import av
import numpy as np
import pytest
from scenes import pan

from onevision_encoder.video.decoders import available_decoders, available_encoders, ffmpeg_versions
from onevision_encoder.video.known_streams import FRAMES, KNOWN_STREAMS, MOTION, decoded_digest, decoder_name

OTHER_DECODERS = {"VP8": "libvpx", "VP9": "libvpx-vp9", "AV1": "libaom-av1"}


@pytest.mark.parametrize("name", KNOWN_STREAMS)
def test_the_pictures_are_those_of_the_scene(name: str) -> None:
    scene = pan(MOTION, FRAMES, 64, 64, seed=3).astype(np.float64)
    with av.open(io.BytesIO(KNOWN_STREAMS[name].data)) as container:
        luma = [frame.to_ndarray()[:64].astype(np.float64) for frame in container.decode(video=0)]
    assert len(luma) == FRAMES
    for t in range(FRAMES):
        fits = [np.corrcoef(luma[t].ravel(), scene[u].ravel())[0, 1] for u in range(FRAMES)]
        assert np.argmax(fits) == t
        assert fits[t] > 0.95
    assert decoded_digest(KNOWN_STREAMS[name].data) == KNOWN_STREAMS[name].digest
    assert len(KNOWN_STREAMS[name].data) < 600


@pytest.mark.parametrize(("name", "decoder"), OTHER_DECODERS.items())
def test_another_decoder_gives_the_same_bits(name: str, decoder: str) -> None:
    try:
        context = av.CodecContext.create(decoder, "r")
    except (av.FFmpegError, ValueError):
        pytest.skip(f"this build of PyAV has no {decoder} to compare with")
    whole = hashlib.sha256()
    with av.open(io.BytesIO(KNOWN_STREAMS[name].data)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        frames = [frame for packet in packets for frame in context.decode(packet)] + context.decode(None)
    for frame in frames:
        whole.update(np.ascontiguousarray(frame.to_ndarray()).tobytes())
    assert whole.hexdigest()[:16] == KNOWN_STREAMS[name].digest


def test_decoders_are_those_that_open_files() -> None:
    found = available_decoders()
    for name, known in KNOWN_STREAMS.items():
        assert found[name] == decoder_name(known.data)
    for name, decoder in found.items():
        assert decoder is None or av.Codec(decoder, "r").is_decoder, name


def test_what_is_not_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from onevision_encoder.video import decoders

    monkeypatch.setattr(decoders, "_DECODERS", {"none": ("no-such-decoder",), "second": ("no-such-decoder", "h264")})
    monkeypatch.setattr(decoders, "_ENCODERS", ("no-such-encoder",))
    assert available_decoders() == {"none": None, "second": "h264"}
    assert available_encoders() == {"no-such-encoder": False}


def test_versions_name_the_libraries() -> None:
    assert {"libavcodec", "libavformat", "libswscale"} <= set(ffmpeg_versions())
