"""`ove doctor`: every check is broken here once, to see it fail."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onevision_encoder import codec, view
from onevision_encoder.cli import main, selftest_path, selftest_signals
from onevision_encoder.cli.doctor import all_checks
from onevision_encoder.cli.selftest import Check, MissingPartError, Outcome, run_checks
from onevision_encoder.errors import UnsupportedCodecError

Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def _read_anew() -> None:
    selftest_path.reading.cache_clear()


def outcome(name: str) -> Outcome:
    return next(run_checks([check for check in all_checks() if check.name == name]))


def doctor(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    code = main(["doctor", *options])
    return code, capsys.readouterr().out


def test_all_is_well_here(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = doctor(capsys, "--json")
    found = json.loads(out)
    assert (code, found["ok"]) == (0, True)
    by_name = {check["name"]: check for check in found["checks"]}
    assert {check["status"] for check in found["checks"] if check["needed"]} == {"ok"}
    assert {"decode AV1", "blockcoder: known bits", "file to tokens", "encoder: float32", "preview .png"} <= set(
        by_name
    )
    assert set(found) == {
        *("ok", "versions", "ffmpeg", "decoders", "encoders", "providers", "cpu", "devices", "attention", "checks")
    }
    assert found["versions"]["numpy"] == np.__version__
    assert found["decoders"]["H.264"] == "h264"
    assert "extension loaded" in found["providers"]["blockcoder"]
    assert found["devices"]["cpu"]["dtype"] in ("float32", "bfloat16")
    assert found["attention"]["sdpa"]


def test_the_text_names_everything_once(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = doctor(capsys)
    assert code == 0
    for word in ("versions", "libavcodec", "libdav1d", "x264proxy", "flex_attention", "all well:", "file to tokens"):
        assert word in out
    assert "to do:" not in out
    assert out.count("\nok ") == len(all_checks())


def with_constants(*, always: bool = True, **other: int) -> Callable[..., Any]:
    """The block coder with other constants: what a stale or miscompiled extension would look like."""
    real = importlib.import_module(BLOCKCODER).blockcoder_signals
    return lambda luma, scalar=False: real(luma, scalar=scalar, constants=other if scalar or always else None)


def backwards(real: Any) -> Any:
    return lambda luma, provider: real(luma[::-1], provider=provider)


BLOCKCODER = "onevision_encoder.codec.blockcoder"
PACKING, PIPELINE = "onevision_encoder.tokens.packing", "onevision_encoder.tokens.pipeline"
PREVIEW, STREAMS = "onevision_encoder.view.preview", "onevision_encoder.video.known_streams"


def replaced(module: str, name: str, change: Callable[[Any], Any]) -> Callable[[Patch], None]:
    """Put what ``change`` makes of the real function in its place."""

    def patch(monkeypatch: Patch) -> None:
        home = importlib.import_module(module)
        monkeypatch.setattr(home, name, change(getattr(home, name)))

    return patch


def written(content: bytes) -> Callable[[Any], Any]:
    return lambda real: lambda path, *_, **__: Path(path).write_bytes(content)


def first_picture(real: Any) -> Any:
    def write(path: Path, frames: Any, selection: Any, signals: Any, **options: Any) -> None:
        home = importlib.import_module(PREVIEW)
        drawn, times = home.animation_frames, home.frame_times
        home.animation_frames = lambda *a, **k: list(drawn(*a, **k))[:2]
        home.frame_times = lambda *a, **k: [*times(*a, **k)[:2], times(*a, **k)[-1]]
        try:
            real(path, frames, selection, signals, **options)
        finally:
            home.animation_frames, home.frame_times = drawn, times

    return write


BROKEN: list[tuple[str, Callable[[Patch], None], str]] = [
    ("installed versions", replaced("importlib.metadata", "version", lambda real: lambda name: "0.1"), "numpy>=1.26"),
    *[
        (f"decode {name}", replaced(STREAMS, "decode_frames", lambda real: lambda data: list(real(data))[:3]), "digest")
        for name in ("H.264", "HEVC", "VP8", "VP9", "AV1")
    ],
    (
        "blockcoder: known bits",
        lambda m: m.setattr(codec, "blockcoder_signals", with_constants(qp_inter=200)),
        "digest",
    ),
    (
        "blockcoder: known bits",
        replaced("onevision_encoder.codec.known_answer", "made_picture", lambda real: lambda h, w, s: real(h, w, 1)),
        "where scenes start",
    ),
    (
        "blockcoder: vector = scalar",
        lambda m: m.setattr(codec, "blockcoder_signals", with_constants(always=False, qp_inter=200)),
        "vector kernels",
    ),
    (
        "x264proxy: known motion",
        lambda m: m.setattr(codec, "compute_signals", backwards(codec.compute_signals)),
        "moves by",
    ),
    (
        "native: known motion",
        replaced("onevision_encoder.codec.observer", "exported_vectors", lambda real: lambda frame: None),
        "no motion vectors",
    ),
    ("native: known motion", replaced(STREAMS, "MOTION", lambda real: (2.0, 2.0)), "moves by"),
    (
        "file to tokens",
        replaced(PACKING, "gather", lambda real: lambda f, s: real(f, s) + np.uint8(1)),
        "pixels of token",
    ),
    (
        "file to tokens",
        replaced(PACKING, "model_time", lambda real: lambda *a, **k: real(*a, **k)[::-1]),
        "times the encoder sees",
    ),
    (
        "file to tokens",
        replaced(PIPELINE, "read_clip", lambda real: lambda data, **how: real(data, **how, policy="random")),
        "where something moves",
    ),
    (
        "file to tokens",
        replaced(PIPELINE, "read_clip", lambda real: lambda data, **how: real(data, **(how | {"budget": 47}))),
        "number of tokens is 47",
    ),
    (
        "file to tokens",
        replaced(PIPELINE, "read_clip", lambda real: lambda data, **how: real(data, **how, fps=12.5)),
        "sampled frames",
    ),
    (
        "encoder: float32",
        replaced("onevision_encoder.model.attention", "apply_rope", lambda real: lambda x, table: x),
        "embeddings are off",
    ),
    (
        "encoder: float32",
        replaced("onevision_encoder.model.embed", "CLIP_MEAN", lambda real: (0.5, 0.5, 0.5)),
        "embeddings are off",
    ),
    (
        "encoder: as it runs by default",
        replaced("onevision_encoder.model.attention", "apply_rope", lambda real: lambda x, table: x),
        "cosine",
    ),
    ("preview .png", lambda m: m.setattr(view, "write_preview", written(b"")(None)), "UnidentifiedImageError"),
    (
        "preview .gif",
        lambda m: m.setattr(view, "write_preview", first_picture(view.write_preview)),
        "number of pictures",
    ),
    (
        "preview .mp4",
        lambda m: m.setattr(view, "write_preview", first_picture(view.write_preview)),
        "number of pictures",
    ),
]


@pytest.mark.parametrize(("name", "breakage", "words"), BROKEN, ids=[f"{n}, {w}" for n, _, w in BROKEN])
def test_each_check_fails_where_its_subject_is_broken(
    name: str, breakage: Callable[[Patch], None], words: str, monkeypatch: Patch
) -> None:
    assert outcome(name).status == "ok"
    selftest_path.reading.cache_clear()
    breakage(monkeypatch)
    found = outcome(name)
    assert found.status == "failed", found
    assert words in found.detail
    assert found.remedy


def test_no_check_is_left_unbroken() -> None:
    assert {name for name, _, _ in BROKEN} == {check.name for check in all_checks()}


def test_without_the_extension_it_exits_with_1_and_says_what_to_do(
    monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onevision_encoder.codec._blockcoder", None)  # the import fails
    code, out = doctor(capsys, "--json")
    found = json.loads(out)
    checks = {check["name"]: check for check in found["checks"]}
    assert (code, found["ok"]) == (1, False)
    assert checks["blockcoder: known bits"]["status"] == "missing"
    assert "C compiler" in checks["blockcoder: known bits"]["remedy"]
    assert checks["file to tokens"]["status"] == "failed"  # the default provider is part of the default path
    assert "not usable" in found["providers"]["blockcoder"]
    assert checks["decode H.264"]["status"] == checks["encoder: float32"]["status"] == "ok"
    code, out = doctor(capsys)
    assert code == 1
    assert "NOT WELL" in out
    assert "to do: install a C compiler" in out


def test_without_libx264_it_is_well_and_says_what_is_missing(
    monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    decoders = importlib.import_module("onevision_encoder.video.decoders")
    real = decoders._there
    monkeypatch.setattr(decoders, "_there", lambda name, mode: real(name, mode) and name != "libx264")
    code, out = doctor(capsys)
    assert code == 0
    assert out.count("missing (optional)") == 2
    assert "optional and not usable here: x264proxy: known motion, preview .mp4" in out
    assert "libx264 no" in out


def test_scalar_kernels_alone_are_no_failure(monkeypatch: Patch) -> None:
    monkeypatch.setattr(BLOCKCODER + ".has_vector_kernels", lambda: False)
    found = outcome("blockcoder: vector = scalar")
    assert (found.status, found.needed) == ("missing", False)
    assert "scalar kernels only" in found.detail


@pytest.mark.parametrize(("name", "needed"), [("AV1", False), ("H.264", True)])
def test_a_missing_decoder(name: str, needed: bool, monkeypatch: Patch) -> None:
    streams = importlib.import_module(STREAMS)

    def refuse(data: bytes) -> str:
        raise UnsupportedCodecError("stream", "no decoder")

    monkeypatch.setattr(streams, "decoder_name", refuse)
    found = outcome(f"decode {name}")
    assert (found.status, found.needed) == ("missing", needed)
    assert f"no {name} decoder" in found.detail


def test_run_from_a_folder_there_is_no_pin_to_compare_with(monkeypatch: Patch) -> None:
    monkeypatch.setattr(selftest_path, "DISTRIBUTION", "no-such-distribution")
    found = outcome("installed versions")
    assert (found.status, found.needed) == ("missing", False)


def test_a_library_that_is_absent_is_named(monkeypatch: Patch) -> None:
    def version(name: str) -> str:
        if name == "tqdm":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", version)
    assert "tqdm>=4.66 is not installed" in outcome("installed versions").detail


BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ImportError("its shared library does not load")
sys.meta_path.insert(0, Blocked())
from onevision_encoder.cli import main
sys.exit(main(["doctor", "--json"]))
"""


@pytest.mark.parametrize("blocked", [("av", "torch"), ("numpy", "torch"), ("PIL", "torch"), ("transformers",)])
def test_libraries_that_do_not_import_are_reported_and_hide_nothing_else(blocked: tuple[str, ...]) -> None:
    code = BLOCK.format(blocked=set(blocked))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    for name in blocked:
        assert "its shared library does not load" in found["versions"][name]
    status = {check["name"]: check["status"] for check in found["checks"]}
    assert len(status) == len(all_checks())
    assert status["encoder: float32"] == status["encoder: as it runs by default"] == "failed"
    assert "ImportError" in found["attention"]["unknown"]
    assert ("unknown" in found["devices"]) == ("torch" in blocked)
    assert status["installed versions"] == "ok"
    works = {"av": "blockcoder: known bits", "PIL": "blockcoder: known bits", "transformers": "file to tokens"}
    fails = {"av": "decode H.264", "numpy": "blockcoder: known bits", "PIL": "preview .png"}
    for name in blocked:
        assert name not in works or status[works[name]] == "ok"
        assert name not in fails or status[fails[name]] == "failed"


def test_every_known_stream_is_checked() -> None:
    assert tuple(importlib.import_module(STREAMS).KNOWN_STREAMS) == selftest_signals.DECODED


def test_one_check_does_not_stop_the_next() -> None:
    def missing() -> str:
        raise MissingPartError("not here")

    def wrong() -> str:
        raise RuntimeError("two\nlines")

    checks = [
        Check(name=name, run=run, needed=False, remedy="do this")
        for name, run in (("a", missing), ("b", wrong), ("c", lambda: "fine"))
    ]
    found = list(run_checks(checks))
    assert [o.status for o in found] == ["missing", "failed", "ok"]
    assert [o.detail for o in found] == ["not here", "RuntimeError: two lines", "fine"]
    assert [o.remedy for o in found] == ["do this", "do this", None]


def test_the_remedies_of_users_troubles_are_there() -> None:
    remedies = " ".join(check.remedy for check in all_checks())
    for words in ("patched one is not needed", "macOS", "Windows", "--provider x264proxy", "an environment of its own"):
        assert words in remedies
    assert selftest_signals.signal_checks()
