"""Conformance streams decode to their published hashes through the reader's own decode path."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import av
import numpy as np
import pytest

from onevision_encoder.errors import UnreadableMediaError
from onevision_encoder.video import decode_frames

SHA1 = [
    "oh264_Adobe_PDF_sample_a_1024x768_50Frms.264",
    "oh264_BA1_FT_C.264",
    "oh264_BA1_Sony_D.jsv",
    "oh264_BAMQ1_JVC_C.264",
    "oh264_BAMQ2_JVC_C.264",
    "oh264_BANM_MW_D.264",
    "oh264_BASQP1_Sony_C.jsv",
    "oh264_BA_MW_D.264",
    "oh264_CI1_FT_B.264",
    "oh264_CI_MW_D.264",
    "oh264_CVFC1_Sony_C.jsv",
    "oh264_Cisco_Adobe_PDF_sample_a_1024x768_CAVLC_Bframe_9.264",
    "oh264_LS_SVA_D.264",
    "oh264_MIDR_MW_D.264",
    "oh264_MPS_MW_A.264",
    "oh264_MR1_BT_A.h264",
    "oh264_MR1_MW_A.264",
    "oh264_MR2_MW_A.264",
    "oh264_MR2_TANDBERG_E.264",
    "oh264_NL1_Sony_D.jsv",
    "oh264_NLMQ1_JVC_C.264",
    "oh264_NLMQ2_JVC_C.264",
    "oh264_NRF_MW_E.264",
    "oh264_QCIF_2P_I_allIPCM.264",
    "oh264_SVA_BA1_B.264",
    "oh264_SVA_BA2_D.264",
    "oh264_SVA_Base_B.264",
    "oh264_SVA_CL1_E.264",
    "oh264_SVA_FM1_E.264",
    "oh264_SVA_NL1_B.264",
    "oh264_SVA_NL2_E.264",
    "oh264_SarVui.264",
    "oh264_Static.264",
    "oh264_Zhling_1280x720.264",
    "oh264_test_cif_P_CABAC_slice.264",
    "oh264_test_qcif_cabac.264",
    "oh264_test_vd_1d.264",
    "oh264_test_vd_rc.264",
]
# Streams whose listed hash is not what FFmpeg decodes: (listed SHA-1, FFmpeg's own SHA-1, frames).
DIFFERENT = {
    # The listed hashes are openh264's own output. Its project reports that its B-slices were off by up to 3 levels
    # and takes FFmpeg as the reference that the repair has to match (test/api/b_slice_regression.md there).
    "oh264_Cisco_Men_whisper_640x320_CABAC_Bframe_9.264": (
        "931ba1caf075e7b47445c1f4410ade77a46048f6",
        "2b349c1bc806b6e0412008747b2463d77b576476",
        9,
    ),
    "oh264_Cisco_Men_whisper_640x320_CAVLC_Bframe_9.264": (
        "9819c0345abdd4faedbaf8f8c4dadb7749515e4d",
        "e5b76ff7e2f44e9b33906f8a4039d0d2bdb1580b",
        9,
    ),
    # Listed: the same five pictures, the last two swapped (see the test below). Other versions of openh264's own
    # table list FFmpeg's hash.
    "oh264_test_scalinglist_jm.264": (
        "992a25b4ec98db4a16d61c097e614eb16afe3478",
        "f690a3af2896a53360215fb5d35016bfd41499b3",
        5,
    ),
}
MD5 = {
    "vk_hevc-itu-slist-a.h265": "b00bc5362e6fad1a0e704aad8e69b863",
    "vk_hevc-itu-slist-b.h265": "312b4ebb3e885587d5e12b78aa95977a",
}
UNHASHED = {
    "girlshy.h265": 75,
    "oh264_jm_1080p_allslice.264": 1,
    "vk_av1-176x144-main-basic-10.ivf": 30,
    "vk_av1-176x144-main-basic-8.ivf": 30,
    "vk_av1-1920x1080-intrabc-extreme-dv-8.ivf": 2,
    "vk_av1-352x288-main-cdfupdate-8.ivf": 2,
    "vk_av1-352x288-main-filmgrain-8.ivf": 10,
    "vk_av1-640x360-main-svc-L1T2-8.ivf": 8,
    "vk_clip-a.h264": 30,
    "vk_clip-d.h265": 30,
}
SLOW = {"vk_4k_26_ibp_main.h264": 26}
SVC_ONLY = "oh264_sps_subsetsps_bothVUI.264"


def i420(frame: av.VideoFrame) -> bytes:
    """The planes of the cropped picture, line padding left out."""
    depth = 2 if "10" in frame.format.name else 1
    planes = []
    for plane in frame.planes:
        lines = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        planes.append(np.ascontiguousarray(lines[:, : plane.width * depth]).tobytes())
    return b"".join(planes)


def decode_all(path: Path) -> list[bytes]:
    indices, pictures = [], []
    for index, frame in decode_frames(path):
        indices.append(index)
        pictures.append(i420(frame))
    assert indices == list(range(len(indices)))
    return pictures


def listed(media: Path) -> dict[str, str]:
    """Every hash that conf/sha1.json and the index list."""
    hashes = dict(json.loads((media / "conf/sha1.json").read_text()))
    rows = re.findall(r"^\| conf/(\S+) .*sha1\(decoded I420\)=([0-9a-f]{40})", (media / "INDEX.md").read_text(), re.M)
    return dict(rows) | hashes


def test_every_stream_is_spoken_for(media: Path) -> None:
    there = {path.name for path in (media / "conf").iterdir()} - {"sha1.json"}
    assert there == {*SHA1, *DIFFERENT, *MD5, *UNHASHED, *SLOW, SVC_ONLY}
    assert set(listed(media)) == {*SHA1, *DIFFERENT, SVC_ONLY}
    assert {name: listed(media)[name] for name in DIFFERENT} == {name: row[0] for name, row in DIFFERENT.items()}
    assert set(json.loads((media / "conf/sha1.json").read_text())) <= set(SHA1)


@pytest.mark.parametrize("name", SHA1)
def test_sha1(media: Path, name: str) -> None:
    assert hashlib.sha1(b"".join(decode_all(media / "conf" / name))).hexdigest() == listed(media)[name]


@pytest.mark.parametrize("name", MD5)
def test_hevc_md5(media: Path, name: str) -> None:
    assert hashlib.md5(b"".join(decode_all(media / "conf" / name))).hexdigest() == MD5[name]


@pytest.mark.parametrize("name", DIFFERENT)
def test_known_differences_stay_what_they_are(media: Path, name: str) -> None:
    published, ours, count = DIFFERENT[name]
    pictures = decode_all(media / "conf" / name)
    assert len(pictures) == count
    assert hashlib.sha1(b"".join(pictures)).hexdigest() == ours != published


def test_scaling_list_stream_differs_only_in_order(media: Path) -> None:
    name = "oh264_test_scalinglist_jm.264"
    pictures = decode_all(media / "conf" / name)
    swapped = [*pictures[:3], pictures[4], pictures[3]]
    assert hashlib.sha1(b"".join(swapped)).hexdigest() == DIFFERENT[name][0]


def test_stream_without_a_base_layer_is_refused(media: Path) -> None:
    """All its slices are scalable enhancement layers (NAL type 20), which FFmpeg does not decode."""
    with pytest.raises(UnreadableMediaError, match=SVC_ONLY):
        decode_all(media / "conf" / SVC_ONLY)


@pytest.mark.parametrize("name", UNHASHED)
def test_streams_without_a_hash_give_all_their_frames(media: Path, name: str) -> None:
    assert len(decode_all(media / "conf" / name)) == UNHASHED[name]


def test_one_picture_in_two_codecs_is_the_same(media: Path) -> None:
    """clip-a (H.264) and clip-d (HEVC) are lossless codings of one synthetic clip."""
    assert decode_all(media / "conf/vk_clip-a.h264") == decode_all(media / "conf/vk_clip-d.h265")


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_large_streams(media: Path, name: str) -> None:
    assert len(decode_all(media / "conf" / name)) == SLOW[name]
