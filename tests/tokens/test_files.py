from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from made import frames, selection

from onevision_encoder.errors import MediaNotFoundError, WriteError
from onevision_encoder.tokens import atomic_path, export_visidx, make_tokens, save_tokens, write_atomically

UNIX = pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")


@pytest.fixture
def tokens():  # type: ignore[no-untyped-def]
    return make_tokens(frames(), selection((5, 4, 6), 9))


@UNIX
@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_the_umask_is_respected(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "new" / "x", b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new" / "x").stat().st_mode) == mode
    assert (tmp_path / "new" / "x").read_bytes() == b"1"


def test_writing_over_a_file_and_long_names(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".bin")
    for payload in (b"first", b"second"):
        write_atomically(path, payload)
        assert path.read_bytes() == payload
    assert list(tmp_path.iterdir()) == [path]


def unwritable(folder: Path) -> Iterator[tuple[str, Path]]:
    (folder / "file").write_bytes(b"")
    (folder / "folder").mkdir()
    yield "folder", folder / "folder"
    yield "directory|exists", folder / "file" / "deep" / "x"
    yield "folder", Path()
    yield "name", folder / ("n" * 300)


def test_places_that_cannot_be_written(tmp_path: Path, tokens) -> None:  # type: ignore[no-untyped-def]
    for words, path in unwritable(tmp_path):
        for write in (write_atomically, save_tokens, export_visidx):
            with pytest.raises(WriteError, match=rf"cannot be written: .*(?i:{words})") as caught:
                write(path, b"" if write is write_atomically else tokens)
            assert str(caught.value).startswith(f"{path}: ")
    assert {p.name for p in tmp_path.iterdir()} == {"file", "folder"}


@UNIX
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_a_closed_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(WriteError, match=r"(?i)permission"):
        write_atomically(tmp_path / "x", b"")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    write_atomically(path, b"old")

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WriteError, match="x: cannot be written: No space left on device"):
        write_atomically(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_devices_are_not_replaced() -> None:
    with pytest.raises(WriteError, match="no regular file"):
        write_atomically("/dev/full", b"x")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_name_to_write_to(tmp_path: Path) -> None:
    path = tmp_path / "made" / "array.npy"
    with atomic_path(path) as part:
        assert part.parent == path.parent
        assert part.suffix == ".npy"
        np.save(part, np.arange(3))
        assert not path.exists()
    assert np.load(path).tolist() == [0, 1, 2]


@pytest.mark.parametrize("error", [KeyError("k"), KeyboardInterrupt(), MediaNotFoundError("clip.mp4", "gone")])
def test_what_goes_wrong_elsewhere_keeps_its_name_and_nothing_is_left(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), atomic_path(tmp_path / "x"):
        raise error
    assert not list(tmp_path.iterdir())
