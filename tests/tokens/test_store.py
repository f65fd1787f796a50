from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made import frames, selection
from safetensors import safe_open
from safetensors.numpy import save_file

from onevision_encoder.errors import MediaNotFoundError, ShapeError, TokenFileError
from onevision_encoder.tokens import load_tokens, make_tokens, pack, save_tokens


@pytest.mark.parametrize(("order", "layout"), [("raster", "frames"), ("block2", "frames"), ("raster", "tiled")])
def test_round_trip_keeps_everything(tmp_path: Path, order: str, layout: str) -> None:
    tokens = make_tokens(frames(), selection((5, 4, 6), 50, order=order, layout=layout))  # type: ignore[arg-type]
    path = tmp_path / "deep" / "a.tokens.safetensors"
    save_tokens(path, tokens)
    back = load_tokens(path)
    for name in ("patches_ND", "positions_N3", "model_positions_N3", "score_N", "kind_N", "cu_seqlens"):
        assert np.array_equal(getattr(back, name), getattr(tokens, name)), name
        assert getattr(back, name).dtype == getattr(tokens, name).dtype, name
    clip, was = back.clips[0], tokens.clips[0]
    assert (clip.name, clip.patch, clip.grid, clip.layout, clip.order) == (
        was.name,
        was.patch,
        was.grid,
        was.layout,
        was.order,
    )
    assert clip.provenance == json.loads(json.dumps(was.provenance))
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing temporary is left"


def test_the_file_is_what_the_documentation_says(tmp_path: Path) -> None:
    save_tokens(tmp_path / "a.safetensors", make_tokens(frames(), selection((5, 4, 6), 50)))
    with safe_open(tmp_path / "a.safetensors", framework="numpy") as file:
        found = {name: (str(file.get_tensor(name).dtype), file.get_tensor(name).shape) for name in file.keys()}  # noqa: SIM118
    assert found == {
        "patches": ("uint8", (50, 588)),
        "positions": ("int32", (50, 3)),
        "score": ("float32", (50,)),
        "kind": ("uint8", (50,)),
        "frame_index": ("int64", (5,)),
        "pts_seconds": ("float64", (5,)),
        "model_time": ("float32", (5,)),
    }


def test_files_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError, match="no such token file"):
        load_tokens(tmp_path / "absent.safetensors")
    (tmp_path / "text").write_text("hello, this is no safetensors file")
    with pytest.raises(TokenFileError, match="not a readable safetensors file"):
        load_tokens(tmp_path / "text")
    save_file({"weight": np.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(TokenFileError, match="lacks tensors"):
        load_tokens(tmp_path / "model.safetensors")


def test_files_that_contradict_themselves_are_refused(tmp_path: Path) -> None:
    tokens = make_tokens(frames(), selection((5, 4, 6), 50))
    path = tmp_path / "a.safetensors"
    save_tokens(path, tokens)
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()

    def broken(name: str, **change: np.ndarray) -> None:
        save_file({**arrays, **change}, tmp_path / name, metadata=metadata)

    broken("outside", positions=arrays["positions"] + np.array([5, 0, 0], np.int32))
    broken("repeated", positions=np.repeat(arrays["positions"][:1], 50, 0))
    broken("short", patches=arrays["patches"][:49])
    broken("dtype", score=arrays["score"].astype(np.float64))
    for name in ("outside", "repeated", "short", "dtype"):
        with pytest.raises(TokenFileError, match=name if name == "dtype" else r"positions_K3|positions_N3|patches_ND"):
            load_tokens(tmp_path / name)
    described = json.loads(metadata["onevision_encoder"])
    save_file(arrays, tmp_path / "newer", metadata={"onevision_encoder": json.dumps({**described, "schema": 99})})
    with pytest.raises(TokenFileError, match="schema 99; this version reads schema 1"):
        load_tokens(tmp_path / "newer")


def test_a_pack_of_several_clips_is_refused(tmp_path: Path) -> None:
    tokens = make_tokens(frames(), selection((5, 4, 6), 50))
    with pytest.raises(ShapeError, match="2 clips"):
        save_tokens(tmp_path / "two.safetensors", pack([tokens, tokens]))


@pytest.fixture
def parts(tmp_path: Path) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    save_tokens(tmp_path / "good", make_tokens(frames(), selection((5, 4, 6), 50)))
    with safe_open(tmp_path / "good", framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return arrays, json.loads(file.metadata()["onevision_encoder"])


def written(path: Path, arrays: dict[str, np.ndarray], described: object) -> Path:
    save_file(
        {k: np.asarray(a) for k, a in arrays.items()}, path, metadata={"onevision_encoder": json.dumps(described)}
    )
    return path


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("layout", "foo"),
        ("order", "foo"),
        ("grid", None),
        ("grid", "x"),
        ("grid", [4]),
        ("grid", [4, 6.0]),
        ("grid", [0, 6]),
        ("grid", [2**70, 2**70]),
        ("grid", [2**31 - 1, 2**31 - 1]),
        ("patch", "x"),
        ("patch", 0),
        ("patch", -14),
        ("patch", 14.0),
        ("patch", True),
        ("patch", 10**30),
        ("provenance", None),
        ("provenance", [1]),
        ("name", 7),
    ],
)
def test_metadata_that_makes_no_sense_is_refused(tmp_path: Path, parts, field: str, value: object) -> None:  # type: ignore[no-untyped-def]
    arrays, described = parts
    with pytest.raises(TokenFileError, match=rf"odd: .*({field}|dims)"):
        load_tokens(written(tmp_path / "odd", arrays, {**described, field: value}))


@pytest.mark.parametrize("described", [[], None, "x", 3])
def test_metadata_that_is_no_object_is_refused(tmp_path: Path, parts, described: object) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TokenFileError, match=r"odd: .*not a JSON object"):
        load_tokens(written(tmp_path / "odd", parts[0], described))


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "9" * 5000, ""])
def test_metadata_that_is_no_json_is_refused(tmp_path: Path, parts, text: str) -> None:  # type: ignore[no-untyped-def]
    save_file(parts[0], tmp_path / "odd", metadata={"onevision_encoder": text})
    with pytest.raises(TokenFileError, match="odd: "):
        load_tokens(tmp_path / "odd")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", 9),
        ("score", np.nan),
        ("score", np.inf),
        ("model_time", np.nan),
        ("model_time", np.inf),
        ("pts_seconds", np.nan),
        ("pts_seconds", np.inf),
        ("pts_seconds", 0.0),
        ("frame_index", 0),
    ],
)
@pytest.mark.parametrize("at", [1, -1])
def test_values_that_make_no_sense_are_refused(tmp_path: Path, parts, name: str, value: float, at: int) -> None:  # type: ignore[no-untyped-def]
    arrays, described = parts
    arrays[name] = arrays[name].copy()
    arrays[name][at] = value
    with pytest.raises(TokenFileError, match=f"odd: {name}"):
        load_tokens(written(tmp_path / "odd", arrays, described))


@pytest.mark.parametrize("shape", ["none", "flat", "deep", "short"])
@pytest.mark.parametrize("name", ["patches", "positions", "score", "kind", "frame_index", "pts_seconds", "model_time"])
def test_shapes_that_make_no_sense_are_refused(tmp_path: Path, parts, name: str, shape: str) -> None:  # type: ignore[no-untyped-def]
    arrays, described = parts
    a = arrays[name]
    arrays[name] = {"none": a.ravel()[0], "flat": a.reshape(1, -1), "deep": a[..., None], "short": a[:0]}[shape]
    with pytest.raises(TokenFileError, match="odd: "):
        load_tokens(written(tmp_path / "odd", arrays, described))
