"""The protocol, the names, and one pass for frames and signals."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import write_video
from PIL import Image
from scenes import moving_object, pan, still, to_rgb

from onevision_encoder.codec import compute_signals, get_provider, patch_scores, read_with_signals
from onevision_encoder.errors import InvalidArgumentError, MediaNotFoundError, ShapeError, SignalUnavailableError
from onevision_encoder.video import Sampling, Sizing, frames_from_array, read_video


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", to_rgb(moving_object(frames=10)[0]))


def test_auto_is_blockcoder_and_names_are_checked() -> None:
    assert get_provider("auto").name == get_provider("blockcoder").name == "blockcoder"
    assert get_provider("x264proxy").name == "x264proxy"
    assert get_provider("native").name == "native"
    with pytest.raises(InvalidArgumentError, match=r"provider='x265'.*auto, blockcoder, x264proxy, native"):
        get_provider("x265")
    with pytest.raises(InvalidArgumentError, match=r"interval='clip'.*sample, frame"):
        compute_signals(still(2), interval="clip")


def test_one_pass_gives_what_two_would(video: Path) -> None:
    sampling, sizing = Sampling(num_frames=5), Sizing(max_patches=64)
    frames, signals = read_with_signals(video, sampling=sampling, sizing=sizing)
    plain = read_video(video, sampling=sampling, sizing=sizing)
    np.testing.assert_array_equal(frames.rgb_THW3, plain.rgb_THW3)
    np.testing.assert_array_equal(signals.residual_Tyx, compute_signals(plain).residual_Tyx)
    observed, _ = read_with_signals(video, sampling=sampling, sizing=sizing, provider="native")
    np.testing.assert_array_equal(observed.rgb_THW3, plain.rgb_THW3)


@pytest.mark.parametrize("provider", ["auto", "x264proxy", "native"])
def test_bytes_and_files_read_like_the_path(video: Path, provider: str) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    expected = read_with_signals(video, provider=provider)[1].motion_Tyx2
    for source in (str(video), video.read_bytes(), io.BytesIO(video.read_bytes()), Pipe(video.read_bytes())):
        np.testing.assert_array_equal(read_with_signals(source, provider=provider)[1].motion_Tyx2, expected)


@pytest.mark.parametrize("provider", ["auto", "x264proxy", "native"])
def test_images_and_single_frames_are_all_intra(tmp_path: Path, provider: str) -> None:
    Image.fromarray(to_rgb(still(1))[0]).save(tmp_path / "a.png")
    single = write_video(tmp_path / "one.mp4", to_rgb(still(1)))
    for path in (tmp_path / "a.png", single):
        frames, signals = read_with_signals(path, provider=provider)
        assert frames.num_frames == 1
        assert signals.intra_Tyx.all()
        assert signals.cut_T.tolist() == signals.valid_T.tolist() == [True]
        assert not signals.motion_Tyx2.any()


def test_arrays_and_frame_sequences(video: Path) -> None:
    rgb = to_rgb(pan((1.0, 0.0), 4))
    frames, signals = read_with_signals(rgb, sizing=Sizing(max_patches=64))
    assert frames.num_frames == 4
    again, same = read_with_signals(frames, sampling=Sampling(), sizing=Sizing(max_patches=64))
    assert again is frames  # sampled and sized already
    np.testing.assert_array_equal(same.motion_Tyx2, signals.motion_Tyx2)
    with pytest.raises(ShapeError):
        compute_signals(rgb)
    with pytest.raises(MediaNotFoundError):
        read_with_signals(video.with_name("absent.mp4"), provider="native")


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"sampling": Sampling(num_frames=2)}, "num_frames=2"),
        ({"sampling": Sampling(num_frames=3, pattern="bins")}, "pattern='bins'"),
        ({"sizing": Sizing(max_patches=64, patch=16)}, "patch=16"),
        ({"sizing": Sizing(max_patches=16)}, "max_patches=16"),
        ({"sizing": Sizing(recipe="crop224")}, "recipe='crop224'"),
    ],
)
def test_what_is_asked_of_sampled_frames_too_late_is_refused(asked: dict[str, Any], name: str) -> None:
    how: dict[str, Any] = {"sampling": Sampling(num_frames=3), "sizing": Sizing(max_patches=64)}
    frames, _ = read_with_signals(to_rgb(pan((1.0, 0.0), 9)), **how)
    with pytest.raises(InvalidArgumentError, match=f"{name} .*, with which they were read; .*leave it out"):
        read_with_signals(frames, **asked)
    assert read_with_signals(frames, **how)[0] is frames


def test_frames_in_memory_are_sampled_like_a_file() -> None:
    rgb = to_rgb(pan((1.0, 0.0), 9))
    for source in (rgb, list(rgb), [Image.fromarray(picture) for picture in rgb]):
        frames, signals = read_with_signals(source, sampling=Sampling(num_frames=3))
        assert frames.frame_index_T.tolist() == [0, 4, 8]
        np.testing.assert_array_equal(frames.rgb_THW3, frames_from_array(rgb[[0, 4, 8]]).rgb_THW3)
        np.testing.assert_array_equal(signals.residual_Tyx, compute_signals(frames).residual_Tyx)
        with pytest.raises(SignalUnavailableError, match="decoded already"):
            read_with_signals(source, provider="native")
    for image in (rgb[0], Image.fromarray(rgb[0])):
        frames, signals = read_with_signals(image)
        assert frames.source.is_image
        assert signals.intra_Tyx.all()


def test_without_libx264_it_is_an_error_that_names_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    create = av.CodecContext.create

    class Without:
        @staticmethod
        def create(name: str, mode: str) -> object:
            return create("no_such_encoder" if name == "libx264" else name, mode)

    monkeypatch.setattr(av, "CodecContext", Without)
    with pytest.raises(SignalUnavailableError, match="no libx264") as caught:
        compute_signals(still(2), provider="x264proxy")
    assert any("native" in name for name in caught.value.alternatives)


def test_without_the_extension_auto_says_what_to_do_and_takes_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onevision_encoder.codec._blockcoder", None)  # the import fails
    for call in (
        lambda: compute_signals(still(2)),
        lambda: compute_signals(still(2), provider="blockcoder"),
        lambda: read_with_signals(to_rgb(still(2))),
    ):
        with pytest.raises(SignalUnavailableError, match="install a C compiler, then reinstall") as caught:
            call()
        assert "provider='x264proxy'" in str(caught.value)


def test_padding_is_quiet_one_patch_away_from_the_picture() -> None:
    rgb = to_rgb(pan((3.0, 0.0), 5, 112, 112))[:, :56]
    frames = frames_from_array(rgb, sizing=Sizing(recipe="letterbox", side=112))
    assert frames.content_hw is not None
    scores = patch_scores(frames)
    assert frames.content_hw[:, 0].tolist() == [False, False, True, True, True, True, False, False]
    assert not scores[:, [0, -1]].any()  # the next patch shares blocks of 16 pixels with the picture
    assert scores[:, 2:-2].min() > 0.1


def test_the_import_is_light() -> None:
    code = "import sys, onevision_encoder.codec as c; c.patch_scores; c.get_provider('native'); c.ProviderName;"
    code += "assert not {'av', 'torch', 'transformers'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
