"""Smallest streams of the codecs whose standards fix every decoded bit, and the pictures that must come out.

Four frames of 64 x 64 pixels each, 4:2:0; the content moves 2 pixels to the right and 1 down a frame.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

import numpy as np

from onevision_encoder.video.decode import decode_frames
from onevision_encoder.video.source import OpenedSource

FRAMES, MOTION = 4, (2.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class KnownStream:
    """A raw stream (H.264, HEVC) or IVF file in base64, and :func:`decoded_digest` of it."""

    text: str
    digest: str

    @property
    def data(self) -> bytes:
        return base64.b64decode(self.text)


def decoded_digest(data: bytes) -> str:
    """First 16 hex digits of the SHA-256 over all planes of all frames, in presentation order."""
    whole = hashlib.sha256()
    for _, frame in decode_frames(data):
        whole.update(np.ascontiguousarray(frame.to_ndarray()).tobytes())
    return whole.hexdigest()[:16]


def decoder_name(data: bytes) -> str:
    """The decoder that FFmpeg takes for this stream."""
    with OpenedSource(data).open() as (_, stream):
        return str(stream.codec_context.codec.name)


KNOWN_STREAMS = {
    "H.264": KnownStream(
        digest="f0d9a6796127fcfc",
        text="""
AAAAAWdkAAqs2UQmhAAAAwAEAAADAMg8SJZYAAAAAWjroISyLAAAAAFliIQA/zk6/KI24MhuXHvbyyflwJb9ttm0bcJSMlLT56VOY2i+P7OnvW9k
R5itq/OFFaY1jMvQwYEaLNMBNLGTsVaQSG6Q54L+KQXxNSdUICLlMAQD548qHEX2n5JEfY/JyrQqyolQrNJ5il8wfnfDBiOYfO8+ElTgO5sSY87z
RfhPzVNPeb7Z35/Xz/CDreJO5FkNKmUcDqxyFxfMwO973Ty8BHMbZjHPBFnsy74K8AnXvLjr16KfZJf/mVN3wFRIPVl9Kz2bkEz0bpfRtL5KRrvw
U3KgoyrJM/fBRm9bgtjpgaIbEGeETY43056EqwE6YMzta6amIIAa3H4xQMs7Qo4f99ViO/pO3j1BecTN6304kddKCAOyl7xTvIzETZVgu+vijSLu
OsouwdCayRWSx6pFNONjZuB405LAiZGA8qTMqOPC7PdWSHAW2Fegxm5jlZv/o6iZD60nOr8ZDPxwbMujRWTWlyBNVnkdP0Ka3pjeB6KE6+vERu+6
UFVuHD1WbuAAqF5RYtlgvNkmhVXazDp1/wAAAAFBmiNn/98m+aSMGb/Ua2j3/6X9a+nGKc9oz2bIgQVb01Q1R0VUM8Tglq8ylMp6mkSU0LA6L/Q7
DtsJ6lM6u2pAAAAAAUGeQXiv9Buta/NHRLzlCwUfAAAAAQGeYmpJ//V3F3risqi1ZrbImoeVF4w=
""",
    ),
    "HEVC": KnownStream(
        digest="e292b0e62cc0ca3c",
        text="""
AAAAAUABDAH//wFgAAADAJAAAAMAAAMAHpWQCQAAAAFCAQEBYAAAAwCQAAADAAADAB6gIIEFllZJJMLmgIAAAAMAgAAADIQAAAABRAHBcaESAAAB
KAGsdpO294HIXk6j4/E8G0GbmOPiy/OW4/fhdWPkXVCioFIxjQtGFz8+BKDne4pkbY9jVujuY7PyRcVcSQGQZrGmuHH1+tkRaJ2fliwnG8WgMRi4
9dOTA162MiwEGtBJqJOis1lz+PpkgLhVYoYwpwFCOeN4ftLsRN/IcNJHtxwk8Yz3VqvtAn9pjMOd2/BGSeqPab0smvL6USysvnLXTO4JxoSUEGLB
7IrZG17OXFw8iQ0U0ej0p1Rg7i6vxJVj+j3V1J6a9LtX48jd4Hf5fhWvE1MA67l3ftT8nKBGLHATugnlmsh+AAAAAQIB0BleEMYUQP2gSvfFRVo2
eQIwYl6M4Z8vgGUZkzoCdvQkA9Nbyj+xnvEsw0k0C1FHeHuRxivmmgAAAAECAeBEl4YWQObHDn/AAAAAAQAB4CT/6LDGzcA=
""",
    ),
    "VP8": KnownStream(
        digest="960ede859f957582",
        text="""
REtJRgAAIABWUDgwQABAABkAAAABAAAABAAAAAAAAAAGAQAAAAAAAAAAAABQDQCdASpAAEAACEcIhYWIhYSILAIAWQzHpna//SWcW3VuZyMjTT8z
8sjm8PFGQCOHt16faJ3jUCVl9DKOHiHbuV9nC/rM9p7ahgrnUhh20XyRfijxjSCL8rXQAJnKrIbFy/q8GhG/SeJSmtrRP+2rr2e7AOBNaSb6ei6j
DOoPxDlnIsYsVEDGHjfVPQWXgGATycvUW/XxbjCcWjk9B0YtwHcylhh3smR/wttVWY5CWf+XV6ew2VqFxcuzaDoGEyrIGdQV6TcWLarFCS/pFHMw
0jk1sMTb8JTY37Hg/axUDACorgRyADRZs+8BEnipoKJFgvlLjTy/S5C2k4mhosIye7vZAeAARwAAAAEAAAAAAAAAsQIAIxFgAB7PMBT0FXqgZElf
skEVTREAxQZCIQLh9/PXcvEfSs+yX7IBAndMDzsJ/AKl33V8wY+btfR2gshsn4fpwI1VmcA+AAAAAgAAAAAAAADRAgA/EWAAGAAqQC/0AMUMCjVE
feZl2LOAyBX3zTZjnIXxGBkZINQ1SiTVBU2cSYV3GILAFGt6r+CE1wABADUAAAADAAAAAAAAAFECAD8RYAAYACvAL/QAxpK4efGugPqzanhalgia
HldDNYWoQICSf5OXLOHEsIBhOVLux6bA
""",
    ),
    "VP9": KnownStream(
        digest="0b79ce89be8af8f4",
        text="""
REtJRgAAIABWUDkwQABAABkAAAABAAAABAAAAAAAAABaAQAAAAAAAAAAAACCSYNCAAPwA/YAOCQcGPYAADBgAAB4uf93zcIcSbX3qLUb1QVexyzv
pS6NfYlz5BoPO6BMoVUe1QGgAMP9HOdKbNi+f5Qgkhc9vS3a945Mn3iyJVJ3W2BD9cIFvI/lLXoaFABD434mCYoSF28rA0KH+Hwj/89RJTmagOyZ
W/50duZCFMPAp/Pk4ph87PH4/cn0HxzKmDBuQ6kkZRnjt/z1lqEgCl/+30jJvZt5+YRHlpo1B9de1pgbVFsbUBgK2PQIn/v+GAHQ/GTBBpO8JLHP
Hd/aqhLnhO+lU/iIHSmZbgisOoxun4SNTA+4VZOwaMSetARXuV0E5UpPr2IDCMAc/ghp4jwF1yuHmx+flTprgprKft0Idy06oIoLk90drePMZf0Q
HpNxg1GLCb9eW66CVbtN2um9YLUq0oeetnAV1tRwm7oIlSPpkWbVq5rStYeenZWLu6BQ5AYAEQAAAAEAAAAAAAAAhgBAkhwAWQAAA2AAAGLITQAh
AAAAAgAAAAAAAACGAECSnABYAAADYAAAfglIEIz5aFJWcjDZoMOzgUIUkwAPAAAAAwAAAAAAAACGAECSHABZAAADYAAAVHA=
""",
    ),
    "AV1": KnownStream(
        digest="d7c8443849e01ad0",
        text="""
REtJRgAAIABBVjAxQABAABkAAAABAAAABAAAAAAAAAD9AAAAAAAAAAAAAAASAAoKAAAAAq//jV8wCDLsARAAuwIIIEEBAAAIBsAik2cyxG9uQGRD
z6Ev2ffRPQFtd0GoeeMrH16+jm/b4NsJ4tkKoEz1ekx3vF1POdKPvIqYQPF4QyDS1h0FyPDaC+RyCG5fGnloVwiIWEWQr1/soaYQyUL4CO9gZlAm
wJAipryDmgnuxz+UqaHfLuMGcOLbUQx9z4uBmF79aKyR+OI6EdRTFEqu3qc9NZkIscL1KtDF2p7CyER4yByC5BKdGiGJZqJIKslRpZy7b8YDXjtz
TDOW0Z5xfLlTmnIXyyWAQdb72Ql7juKmf59BB/DSZ0ny2MbpF11nqw8q0mhAVwAAAAEAAAAAAAAAEgAyQCgCACSSSR2YAJJEECAgAMAA3dTyukG5
4mwSLM/IhhEIhtYn7Qfe0f4c3tvn9O2eT3cQyriwUbSJ5hrfmV+DBiAyETACBAkkADuQAAAGAgAMAJ/ABQAAAAIAAAAAAAAAEgAaAYgVAAAAAwAA
AAAAAAASADIRMAYCAYAAO5AAAAYEAAAAjMA=
""",
    ),
}
