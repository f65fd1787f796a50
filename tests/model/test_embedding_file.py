from __future__ import annotations

import json

import numpy as np
import pytest
from encoders import scaled_model
from safetensors import safe_open
from safetensors.numpy import save_file
from test_embed import make_tokens

from onevision_encoder.errors import (
    EmbeddingFileError,
    InvalidArgumentError,
    MediaNotFoundError,
    ShapeError,
    TokenFileError,
)
from onevision_encoder.model import Embeddings, embed_tokens, load_embeddings, save_embeddings
from onevision_encoder.tokens import load_tokens, save_tokens, unpack


@pytest.fixture(scope="module")
def made():
    tokens = make_tokens([5, 9, 2])
    return tokens, embed_tokens(scaled_model(), tokens, return_tokens=True)


@pytest.mark.parametrize("output", ["pooled", "tokens", "both"])
def test_each_clip_of_a_pack_comes_back(made, output, tmp_path):
    tokens, embeddings = made
    path = tmp_path / "a.embedding.safetensors"
    for s, (clip, mine) in enumerate(zip(unpack(tokens), embeddings.unpack(), strict=True)):
        save_embeddings(path, clip, mine, output=output)
        back = load_embeddings(path)
        rows = slice(*tokens.cu_seqlens[s : s + 2])
        if output == "tokens":
            assert back.pooled_SC is None
        else:
            assert np.array_equal(back.pooled_SC, embeddings.pooled_SC[s : s + 1])
        if output == "pooled":
            assert back.tokens_NC is None
        else:
            assert np.array_equal(back.tokens_NC, embeddings.tokens_NC[rows])
        assert np.array_equal(back.positions_N3, tokens.positions_N3[rows])
        assert np.array_equal(back.frame_index_T, clip.clips[0].frame_index_T)
        assert np.array_equal(back.pts_seconds_T, clip.clips[0].pts_seconds_T)
        assert back.cu_seqlens.tolist() == [0, len(clip)]
        assert (back.name, back.patch, back.grid, back.layout) == (f"clip {s}", 4, (8, 8), "frames")
        assert back.provenance == embeddings.provenance
        assert back.tokens_provenance == clip.clips[0].provenance
        assert len(repr(back).splitlines()) == 1


def test_one_clip_with_the_embeddings_of_a_pack_is_refused(made, tmp_path):
    tokens, embeddings = made
    second = list(unpack(tokens))[1]
    with pytest.raises(ShapeError, match=r"3 clips, 16 tokens.*1 clip, 9 tokens.*unpack\(\)"):
        save_embeddings(tmp_path / "x", second, embeddings)
    with pytest.raises(ShapeError, match="1 clips, 5 tokens"):
        save_embeddings(tmp_path / "x", second, next(embeddings.unpack()))
    with pytest.raises(ShapeError, match="3 clips"):
        save_embeddings(tmp_path / "x", tokens, embeddings)
    with pytest.raises(InvalidArgumentError, match="output='all'"):
        save_embeddings(tmp_path / "x", second, list(embeddings.unpack())[1], output="all")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"pooled_SC": np.zeros((2, 4), np.float32)},
        {"tokens_NC": np.zeros((5, 4), np.float32)},
        {"tokens_NC": np.zeros((6, 5), np.float32)},
        {"cu_seqlens": np.array([0, 2, 1, 6])},
        {"cu_seqlens": np.array([6])},
    ],
)
def test_embeddings_that_contradict_themselves(change):
    fields = {
        "pooled_SC": np.zeros((3, 4), np.float32),
        "tokens_NC": np.zeros((6, 4), np.float32),
        "cu_seqlens": np.array([0, 1, 3, 6]),
    }
    assert [len(clip.tokens_NC) for clip in Embeddings(**fields).unpack()] == [1, 2, 3]
    with pytest.raises(ShapeError):
        Embeddings(**(fields | change))


def test_foreign_files_are_refused(made, tmp_path):
    tokens = next(unpack(made[0]))
    with pytest.raises(MediaNotFoundError, match="no such embedding file"):
        load_embeddings(tmp_path / "absent")
    (tmp_path / "text").write_text("hello, this is no safetensors file")
    save_file({"weight": np.zeros(3)}, tmp_path / "weights")
    save_tokens(tmp_path / "tokens", tokens)
    for name, words in (("text", "not a readable"), ("weights", "lacks tensors"), ("tokens", "metadata lacks")):
        with pytest.raises(EmbeddingFileError, match=rf"{name}: .*{words}"):
            load_embeddings(tmp_path / name)
    save_embeddings(tmp_path / "mine", tokens, next(made[1].unpack()))
    with pytest.raises(TokenFileError, match="mine: not a token file"):
        load_tokens(tmp_path / "mine")


@pytest.mark.parametrize(
    "tensors",
    [
        {"pooled": None, "tokens": None},
        {"pooled": np.zeros((1, 128), np.float32)},
        {"pooled": np.zeros(128, np.float64)},
        {"pooled": np.float32(0)},
        {"tokens": np.zeros((4, 128), np.float32)},
        {"tokens": np.zeros((5, 127), np.float32)},
        {"positions": np.zeros((4, 3), np.int32)},
        {"positions": np.full((5, 3), 8, np.int32)},
        {"positions": np.int32(0)},
        {"frame_index": np.zeros(4, np.int64)},
        {"frame_index": np.arange(3)},
        {"pts_seconds": np.array([0, np.nan, 1, 2])},
        {"pts_seconds": np.float64(0)},
    ],
)
def test_tensors_that_contradict_each_other(made, tensors, tmp_path):
    path = tmp_path / "a"
    save_embeddings(path, next(unpack(made[0])), next(made[1].unpack()), output="both")
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    arrays = {name: np.asarray(a) for name, a in {**arrays, **tensors}.items() if a is not None}
    save_file(arrays, path, metadata=metadata)
    with pytest.raises(EmbeddingFileError, match="a: "):
        load_embeddings(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("schema", 2), ("name", 3), ("patch", 0), ("grid", None), ("layout", "foo"), ("tokens", []), ("encoder", "x")],
)
def test_metadata_that_makes_no_sense(made, field, value, tmp_path):
    path = tmp_path / "a"
    save_embeddings(path, next(unpack(made[0])), next(made[1].unpack()))
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        described = json.loads(file.metadata()["onevision_encoder"])
    save_file(arrays, path, metadata={"onevision_encoder": json.dumps({**described, field: value})})
    with pytest.raises(EmbeddingFileError, match=f"a: .*{field}"):
        load_embeddings(path)
