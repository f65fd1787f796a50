"""Shards: plain tars, exact offsets, and every kind of damage told."""

from __future__ import annotations

import errno
import hashlib
import json
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from onevision_encoder.errors import ShardError, WriteError
from onevision_encoder.pretrain.shards import Sample, Shard, index_path, index_shard, write_shard

SAMPLES = [
    Sample(key=f"{n:08d}", members={"json": b'{"id": "%d"}' % n, "bin": bytes([n]) * (600 * n)}, facts={"id": str(n)})
    for n in range(4)
]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    write_shard(tmp_path / "shard-000000.tar", SAMPLES)
    return tmp_path / "shard-000000.tar"


def test_any_reader_of_tars_reads_it_and_the_index_says_where(shard: Path) -> None:
    opened = Shard(shard)
    assert opened.digest == hashlib.blake2b(shard.read_bytes(), digest_size=16).hexdigest()
    with tarfile.open(shard) as tar:
        members = {info.name: info for info in tar}
        for sample, entry in zip(SAMPLES, opened.entries, strict=True):
            for suffix, payload in sample.members.items():
                info = members.pop(f"{sample.key}.{suffix}")
                assert tar.extractfile(info).read() == payload == opened.read(entry, suffix)  # type: ignore[union-attr]
                assert entry.members[suffix][:2] == (info.offset_data, info.size)
                assert (info.mtime, info.uid, info.uname) == (0, 0, "")
    assert not members
    opened.verify()
    assert shard.stat().st_size % tarfile.RECORDSIZE == 0


def test_the_same_samples_are_the_same_bytes(shard: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "again" / shard.name, SAMPLES)
    assert (tmp_path / "again" / shard.name).read_bytes() == shard.read_bytes()
    assert index_path(tmp_path / "again" / shard.name).read_bytes() == index_path(shard).read_bytes()


@pytest.mark.parametrize("left", [0, 511, 2000])
def test_a_shard_cut_short_is_told(shard: Path, left: int) -> None:
    shard.write_bytes(shard.read_bytes()[:left])
    with pytest.raises(ShardError, match=r"cut short: .*ove corpus build"):
        Shard(shard)


def test_a_missing_shard_or_index_is_told(shard: Path) -> None:
    index = index_path(shard).read_bytes()
    index_path(shard).unlink()
    with pytest.raises(ShardError, match="index_shard"):
        Shard(shard)
    index_path(shard).write_bytes(index)
    shard.unlink()
    with pytest.raises(ShardError, match="no such shard"):
        Shard(shard)
    with pytest.raises(ShardError, match="no such shard"):
        index_shard(shard)


def test_a_changed_byte_is_told_where_it_is_read(shard: Path) -> None:
    opened = Shard(shard)
    whole = bytearray(shard.read_bytes())
    whole[opened.entries[2].members["bin"][0] + 100] ^= 1
    shard.write_bytes(whole)
    assert opened.read(opened.entries[1], "bin") == SAMPLES[1].members["bin"]
    with pytest.raises(ShardError, match=r"00000002\.bin is not what was written"):
        opened.read(opened.entries[2], "bin")
    with pytest.raises(ShardError, match="blake2b"):
        opened.verify()
    with pytest.raises(ShardError, match="has no 'jpg', only bin, json"):
        opened.read(opened.entries[0], "jpg")


@pytest.mark.parametrize(
    ("keys", "cause"), [(["a", "a"], "twice"), (["a.b"], "without dots"), ([""], "dots"), (["../a"], "dots")]
)
def test_keys_that_would_be_lost_are_refused(tmp_path: Path, keys: list[str], cause: str) -> None:
    with pytest.raises(ShardError, match=cause):
        write_shard(tmp_path / "s.tar", [Sample(key=key, members={"json": b"{}"}) for key in keys])
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path.open

    class Full(BytesIO):
        def write(self, data: object, /) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def full(path: Path, mode: str = "r", *args: object) -> object:
        return Full() if mode == "wb" else whole(path, mode, *args)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(WriteError, match="No space left"):
        write_shard(tmp_path / "s.tar", SAMPLES)
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("broken", [b"", b"[1]", b'{"schema": 9}', b'{"schema": 1, "samples": [{}]}'])
def test_an_index_of_another_kind_is_told(shard: Path, broken: bytes) -> None:
    index_path(shard).write_bytes(broken)
    with pytest.raises(ShardError, match=r"index|schema"):
        Shard(shard)


def test_a_key_twice_in_an_index_is_told(shard: Path) -> None:
    index = json.loads(index_path(shard).read_bytes())
    index["samples"].append(index["samples"][0])
    index_path(shard).write_text(json.dumps(index))
    with pytest.raises(ShardError, match="twice"):
        Shard(shard)


def test_an_index_can_be_made_again_and_for_tars_of_others(shard: Path, tmp_path: Path) -> None:
    index = json.loads(index_path(shard).read_bytes())
    index_path(shard).unlink()
    index_shard(shard)
    assert json.loads(index_path(shard).read_bytes()) == index
    other = tmp_path / "other.tar"
    with tarfile.open(other, "w", format=tarfile.PAX_FORMAT) as tar:  # as another tool would, in folders
        for name, payload in (("d/a.json", b'{"id": "x"}'), ("d/a.seg.png", b"12"), ("d/b.json", b'{"id": "y"}')):
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(payload), {"comment": "é" * 30}
            tar.addfile(info, BytesIO(payload))
    index_shard(other)
    opened = Shard(other)
    assert [entry.key for entry in opened.entries] == ["a", "b"]
    assert opened.read(opened.entries[0], "seg.png") == b"12"
    assert opened.entries[1].facts == {"id": "y"}


@pytest.mark.parametrize(
    ("names", "cause"), [(("a.json", "b.json", "a.jpg"), "twice"), (("a.json", "b.jpg"), "without json")]
)
def test_a_tar_that_is_no_shard_is_told(tmp_path: Path, names: tuple[str, ...], cause: str) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 2
            tar.addfile(info, BytesIO(b"{}"))
    with pytest.raises(ShardError, match=cause):
        index_shard(tmp_path / "s.tar")
    (tmp_path / "t.tar").write_bytes((tmp_path / "s.tar").read_bytes()[:700])
    with pytest.raises(ShardError, match="not a whole tar"):
        index_shard(tmp_path / "t.tar")
