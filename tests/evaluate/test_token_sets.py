"""Token sets: what read_clip gives, once for many configurations; what is broken by name; what is kept is the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import write_video

from onevision_encoder.errors import BudgetError, InvalidArgumentError, ShapeError
from onevision_encoder.evaluate import TokenSet, TokenSetCache, in_common, make_token_set, make_token_sets
from onevision_encoder.evaluate.datasets import Example
from onevision_encoder.evaluate.token_making import NoTokensError
from onevision_encoder.tokens import ClipReading, TokenizeConfig, read_clip
from onevision_encoder.tokens.variants import read_variants
from onevision_encoder.types import PatchTokens
from onevision_encoder.video import read_media

SMALL: dict[str, Any] = {"max_patches": 16, "num_frames": 6}
CONFIGS = {
    "fused": TokenizeConfig.of(budget=20, **SMALL),
    "bits": TokenizeConfig.of(budget=12, score="bits", anchors=0, **SMALL),
    "frame": TokenizeConfig.of(budget=20, interval="frame", **SMALL),
    "x264": TokenizeConfig.of(budget=20, provider="x264proxy", score="motion", **SMALL),
    "native": TokenizeConfig.of(budget=20, provider="native", score="motion", **SMALL),
    "uniform": TokenizeConfig.of(policy="uniform", budget=20, **SMALL),
    "lowres": TokenizeConfig.of(policy="uniform_lowres", budget=32, **SMALL),
    "tiled": TokenizeConfig.of(policy="tiled", budget=32, time="index", **SMALL),
    "random": TokenizeConfig.of(policy="random", budget=20, seed=3, max_patches=9),
    "run_length": TokenizeConfig.of(policy="run_length", budget=20, **SMALL),
}


def moving(seed: int, frames: int = 12) -> np.ndarray[Any, Any]:
    """A textured square that moves over a textured ground, 56 x 56."""
    generator = np.random.default_rng(seed)
    ground = generator.integers(0, 255, (7, 7, 3)).repeat(8, 0).repeat(8, 1)
    block = generator.integers(0, 255, (16, 16, 3))
    out = np.stack([ground] * frames)
    for t in range(frames):
        out[t, 20:36, 2 * t + seed : 2 * t + seed + 16] = block
    return out.astype(np.uint8)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    root = tmp_path_factory.mktemp("moving")
    out = []
    for i in range(3):
        path = write_video(root / f"{i}.mp4", moving(i), codec="mpeg4")
        out.append(Example(id=f"clip{i}", video=f"video{i // 2}", path=path, classes=(i % 2,), split="train"))
    return out


def same(one: PatchTokens, other: PatchTokens) -> None:
    for name in ("patches_ND", "positions_N3", "model_positions_N3", "score_N", "kind_N", "cu_seqlens"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for a, b in zip(one.clips, other.clips, strict=True):
        assert (a.name, a.patch, a.grid, a.layout, a.order) == (b.name, b.patch, b.grid, b.layout, b.order)
        for name in ("frame_index_T", "pts_seconds_T", "model_time_T"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_every_configuration_gives_what_read_clip_gives(
    examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {name: [read_clip(e.path, config).tokens() for e in examples] for name, config in CONFIGS.items()}
    passes: list[str] = []
    monkeypatch.setattr("onevision_encoder.tokens.variants.read_media", _counting(passes))
    monkeypatch.setattr("onevision_encoder.video.read_media", _counting(passes))
    sets = make_token_sets(examples, CONFIGS, data="moving")
    for name, tokens in sets.items():
        assert tokens.ids == ("clip0", "clip1", "clip2")
        assert tokens.videos == ("video0", "video0", "video1")
        assert tokens.labels.tolist() == [0, 1, 0]
        for i, clip in enumerate(expected[name]):
            same(tokens.batch([i]), clip)
        assert (tokens.decode_ms_S > 0).all()
        assert (tokens.select_ms_S > 0).all()
    assert len(passes) == 4 * len(examples), "plain, of another size, and two that look on while frames are decoded"


def _counting(passes: list[str]) -> Any:
    def counted(source: Any, **how: Any) -> Any:
        passes.append(str(source))
        return read_media(source, **how)

    return counted


def test_variants_carry_the_whole_reading() -> None:
    """Frames, signals and the account of the selection too, also of frames in memory."""
    variants = read_variants(moving(5), {"fused": CONFIGS["fused"], "frame": CONFIGS["frame"]})
    for name, variant in variants.items():
        wanted = read_clip(moving(5), CONFIGS[name])
        assert isinstance(variant.reading, ClipReading)
        assert variant.reading.selection.provenance == wanted.selection.provenance
        assert variant.reading.signals is not None
        assert wanted.signals is not None
        assert variant.reading.signals.provenance == wanted.signals.provenance
        assert variant.reading.frames.provenance == wanted.frames.provenance


def test_a_batch_is_the_pack_of_its_clips(examples: list[Example]) -> None:
    tokens = make_token_set(examples, CONFIGS["fused"])
    pack = tokens.batch([2, 0, 2])
    assert pack.cu_seqlens.tolist() == [0, 20, 40, 60]
    np.testing.assert_array_equal(pack.patches_ND[:20], pack.patches_ND[40:])
    same(tokens.subset([1, 2]).batch([0]), tokens.batch([1]))
    assert tokens.named(["clip2"]).ids == ("clip2",)
    assert tokens.subset([0, 1, 2]).fingerprint == tokens.fingerprint != tokens.subset([1, 0, 2]).fingerprint
    np.testing.assert_array_equal(tokens.model_time_N, tokens.model_positions_N3[:, 0])
    for bad in ([], [3], [-1], [0.5], 1):
        with pytest.raises(InvalidArgumentError, match="indices"):
            tokens.batch(bad)
    with pytest.raises(InvalidArgumentError, match="elsewhere"):
        tokens.named(["elsewhere"])
    with pytest.raises(ShapeError, match="cu_seqlens"):
        replace(tokens, cu_seqlens=tokens.cu_seqlens[::-1].copy())
    with pytest.raises(ShapeError, match="unique ids"):
        replace(tokens, ids=("a", "a", "b"))


def test_broken_clips_are_named_and_left_out(examples: list[Example], tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    short = write_video(tmp_path / "short.mp4", moving(1, 1), codec="mpeg4")
    bad = [replace(examples[0], id=name, path=tmp_path / f"{name}.mp4") for name in ("absent", "bad")]
    sets = make_token_sets([*examples, *bad, replace(examples[0], id="short", path=short)], CONFIGS)
    causes = {name: {b.id: b.cause for b in tokens.broken} for name, tokens in sets.items()}
    assert set(causes["uniform"]) == {"absent", "bad", "short"}
    assert causes["uniform"]["absent"].startswith("MediaNotFoundError")
    assert causes["uniform"]["bad"].startswith("UnreadableMediaError")
    assert causes["uniform"]["short"].startswith(BudgetError.__name__)
    assert "short" not in causes["bits"], "12 patches it has"
    assert sets["bits"].ids == ("clip0", "clip1", "clip2", "short")
    shared = in_common(sets)
    assert {tokens.ids for tokens in shared.values()} == {("clip0", "clip1", "clip2")}
    assert [b["id"] for b in sets["bits"].describe()["broken"]] == ["absent", "bad"]
    with pytest.raises(NoTokensError, match=r"not one of 2 clips.*absent: MediaNotFound"):
        make_token_set(bad, CONFIGS["bits"])


def test_kept_sets_are_mapped_and_the_same(examples: list[Example], tmp_path: Path) -> None:
    configs = {name: CONFIGS[name] for name in ("fused", "tiled")}
    fresh = make_token_sets(examples, configs)
    for stored, found in ((2, 0), (0, 2)):
        cache = TokenSetCache(tmp_path)
        ticks: list[int] = []
        kept = make_token_sets(examples, configs, cache=cache, tick=ticks.append)
        assert (cache.stored, cache.found, cache.corrupt) == (stored, found, [])
        assert len(ticks) == (3 if stored else 0)
        for name, tokens in kept.items():
            assert isinstance(tokens.patches_ND, np.memmap)
            assert tokens.describe() == fresh[name].describe()
            same(tokens.batch([2, 0]), fresh[name].batch([2, 0]))
    assert not list(tmp_path.glob(".*")), "nothing is left of the spool"


@pytest.mark.parametrize("suffix", [".patches", ".safetensors"])
@pytest.mark.parametrize("how", ["cut", "altered"])
def test_a_damaged_set_is_made_again(examples: list[Example], tmp_path: Path, suffix: str, how: str) -> None:
    whole = make_token_set(examples, CONFIGS["fused"], cache=tmp_path).fingerprint
    (file,) = tmp_path.rglob(f"*{suffix}")
    content = file.read_bytes()
    file.write_bytes(content[:-3] if how == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    cache = TokenSetCache(tmp_path)
    assert make_token_set(examples, CONFIGS["fused"], cache=cache).fingerprint == whole
    assert (cache.stored, len(cache.corrupt)) == (1, 1)


def test_what_decides_the_tokens_decides_the_key(examples: list[Example], tmp_path: Path) -> None:
    def stored(examples: list[Example], config: TokenizeConfig = CONFIGS["fused"], **more: Any) -> int:
        cache = TokenSetCache(tmp_path)
        make_token_set(examples, config, cache=cache, **more)
        return cache.stored

    assert stored(examples) == 1
    assert stored(list(reversed(examples))) == 0
    assert stored(examples[:2]) == 1
    assert stored(examples, CONFIGS["bits"]) == 1
    assert stored(examples, change=Reversed()) == 1
    assert stored(examples, num_classes=2) == 1
    assert stored([replace(examples[0], classes=(1,)), *examples[1:]]) == 1
    assert stored([replace(examples[0], path=examples[1].path), *examples[1:]]) == 1
    assert stored([replace(examples[0], end_seconds=0.3), *examples[1:]]) == 1
    assert stored(examples) == 0


@dataclass(frozen=True)
class Reversed:
    """An intervention: pixels in the wrong order."""

    def describe(self) -> Mapping[str, Any]:
        return {"name": "reversed"}

    def __call__(self, reading: ClipReading, id: str) -> PatchTokens:
        tokens = reading.tokens()
        return replace(tokens, patches_ND=tokens.patches_ND[::-1])


def test_tokens_may_be_changed_after_reading(examples: list[Example]) -> None:
    plain = make_token_set(examples, CONFIGS["fused"])
    changed = make_token_set(examples, CONFIGS["fused"], change=Reversed())
    np.testing.assert_array_equal(changed.batch([1]).patches_ND, plain.batch([1]).patches_ND[::-1])
    assert changed.describe()["change"] == {"name": "reversed"}
    assert changed.fingerprint != plain.fingerprint


def test_labels_of_several_classes(examples: list[Example]) -> None:
    several = [replace(examples[0], classes=(0, 2)), replace(examples[1], classes=())]
    tokens = make_token_set(several, CONFIGS["fused"], num_classes=3)
    assert tokens.labels.tolist() == [[True, False, True], [False, False, False]]
    with pytest.raises(InvalidArgumentError, match="one class each"):
        make_token_set(several, CONFIGS["fused"])
    with pytest.raises(InvalidArgumentError, match="from 0 to 1"):
        make_token_set(several, CONFIGS["fused"], num_classes=2)


@pytest.mark.slow
def test_several_processes_make_the_same_set(examples: list[Example], tmp_path: Path) -> None:
    alone = make_token_set(examples, CONFIGS["fused"])
    together: TokenSet = make_token_set(examples, CONFIGS["fused"], workers=2, cache=tmp_path)
    assert together.fingerprint == alone.fingerprint
