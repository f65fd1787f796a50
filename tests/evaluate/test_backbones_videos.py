"""Video towers: each tiny twin, loaded through the registry, against the model's own forward on hand-made pixels."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from backbone_twins import Twin, made_frames, qwen3, qwen25, videomae, vjepa2

from onevision_encoder.errors import CheckpointError, InvalidArgumentError
from onevision_encoder.evaluate import Backbone, load_backbone


def close(found: torch.Tensor, wanted: torch.Tensor, tolerance: float = 2e-5) -> None:
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance * float(wanted.abs().max()))


def own_tokens(twin: Twin, family: str, rgb: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        if family == "vjepa2":
            return twin.tower(pixel_values_videos=twin.pixels(rgb), skip_predictor=True).last_hidden_state[0]
        return twin.tower(pixel_values=twin.pixels(rgb)).last_hidden_state[0]


@pytest.mark.parametrize(("family", "make", "grid"), [("vjepa2", vjepa2, (2, 2)), ("videomae", videomae, (4, 4))])
def test_video_towers_see_exactly_their_frames(family: str, make, grid: tuple[int, int], tmp_path) -> None:
    twin = make()
    backbone = load_backbone(twin.save(tmp_path), device="cpu", dtype="float32")
    assert isinstance(backbone, Backbone)
    assert backbone.num_frames == 4
    clip, long = made_frames(T=4), made_frames(T=10, H=60, W=44, seed=3)
    found = backbone.encode([clip, long])
    h, w = grid
    N = 2 * h * w
    assert found.cu_seqlens.tolist() == [0, N, 2 * N]
    close(found.tokens_NC[:N], own_tokens(twin, family, clip.rgb_THW3))
    close(found.tokens_NC[N:], own_tokens(twin, family, long.rgb_THW3[[0, 3, 6, 9]]))
    wanted = [[t, y, x] for t in (0, 6) for y in range(h) for x in range(w)]  # the first frame of each tubelet
    assert found.positions_N3[N:].tolist() == wanted
    assert found.pooled_SC is None
    told = json.loads(json.dumps(backbone.describe()))
    assert (told["family"], told["tokens_per_clip"], told["tubelet"]) == (family, N, 2)
    with pytest.raises(InvalidArgumentError, match=r"frames of made-0=3 .* at least 4 frames"):
        backbone.encode([made_frames(T=3)])


def test_vjepa2_takes_another_length_and_videomae_does_not(tmp_path) -> None:
    twin = vjepa2()
    clip = made_frames(T=6)
    backbone = load_backbone(twin.save(tmp_path / "v"), device="cpu", dtype="float32", num_frames=6)
    close(backbone.encode([clip]).tokens_NC, own_tokens(twin, "vjepa2", clip.rgb_THW3))
    with pytest.raises(InvalidArgumentError, match="a multiple of 2"):
        load_backbone(tmp_path / "v", num_frames=5)
    with pytest.raises(InvalidArgumentError, match=r"num_frames=6 .* 4 or None"):
        load_backbone(videomae().save(tmp_path / "m"), num_frames=6)


@pytest.mark.parametrize(("family", "make"), [("qwen2.5-vl", qwen25), ("qwen3-vl", qwen3)])
def test_qwen_towers_give_what_the_language_model_reads(family: str, make, tmp_path) -> None:
    twin = make()
    backbone = load_backbone(twin.save(tmp_path), device="cpu", dtype="float32")
    assert isinstance(backbone, Backbone)
    clips = [made_frames(T=4, H=44, W=56), made_frames(T=2, H=20, W=60, seed=1)]
    found = backbone.encode(clips)
    start = 0
    for clip in clips:
        patches, grid = twin.pixels(clip.rgb_THW3)
        with torch.no_grad():
            output = twin.tower(patches, grid_thw=grid)
        own = getattr(output, "pooler_output", output)
        own = own[0] if isinstance(own, tuple) else own
        stop = start + len(own)
        close(found.tokens_NC[start:stop], own)
        t, h, w = (int(n) for n in grid[0])
        wanted = [[2 * i, y, x] for i in range(t) for y in range(h // 2) for x in range(w // 2)]
        assert found.positions_N3[start:stop].tolist() == wanted
        start = stop
    assert start == len(found.tokens_NC)
    assert found.tokens_NC.shape[1] == backbone.width == 24
    assert json.loads(json.dumps(backbone.describe()))["family"] == family
    with pytest.raises(InvalidArgumentError, match="multiple of 2 frames"):
        backbone.encode([made_frames(T=3)])


def test_merged_tokens_stand_in_raster_order(tmp_path) -> None:
    """Other pixels under one merged token change that token most; the model itself sees windows in another order."""
    backbone = load_backbone(qwen25().save(tmp_path), device="cpu", dtype="float32")
    clip = made_frames(T=2, H=32, W=40)  # as the budget has it: nothing is resized
    changed = made_frames(T=2, H=32, W=40)
    rgb = clip.rgb_THW3.copy()
    rgb[:, 16:24, 24:32] = 255 - rgb[:, 16:24, 24:32]
    object.__setattr__(changed, "rgb_THW3", rgb)
    before, after = (backbone.encode([c]) for c in (clip, changed))
    most = (after.tokens_NC - before.tokens_NC).norm(dim=1).argmax()
    assert before.positions_N3[most].tolist() == [0, 2, 3]


def test_of_a_language_model_only_the_tower_is_read(tmp_path) -> None:
    twin = qwen25()
    backbone = load_backbone(twin.save(tmp_path), device="cpu", dtype="float32")
    total = sum(1 for _ in twin.whole.state_dict())
    tower = sum(1 for _ in twin.tower.state_dict())
    assert sum(backbone.describe()["left_out"].values()) == total - tower
    assert {name for name, _ in backbone.tower.named_parameters()} == {
        name for name, _ in twin.tower.named_parameters()
    }


def test_rope_keeps_its_precision_in_bfloat16(tmp_path) -> None:
    """Frequencies are buffers; a blanket cast of the tower would round them to 8 bits."""
    backbone = load_backbone(qwen3().save(tmp_path), device="cpu", dtype="bfloat16")
    buffers = {name: buffer.dtype for name, buffer in backbone.tower.named_buffers()}
    assert buffers
    assert set(buffers.values()) == {torch.float32}
    assert {parameter.dtype for parameter in backbone.tower.parameters()} == {torch.bfloat16}
    assert backbone.encode([made_frames(T=2)]).tokens_NC.dtype == torch.float32


def test_of_a_hub_repository_only_the_files_of_the_tower_are_fetched(tmp_path, monkeypatch) -> None:
    """A hub of one repository: a folder that gives only what is asked for."""
    twin = qwen25()
    repo = tmp_path / "repo"
    twin.whole.save_pretrained(repo, max_shard_size="20KB")
    for name, fields in twin.files.items():
        (repo / name).write_text(json.dumps(fields))
    asked: list[str | None] = []

    def fetch(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        assert name == "owner/model"
        asked.append(revision)
        got = tmp_path / "cache" / "0123abcd"
        got.mkdir(parents=True, exist_ok=True)
        for file in repo.iterdir():
            if any(file.match(pattern) for pattern in allow_patterns):
                shutil.copy(file, got)
        return str(got)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    backbone = load_backbone("owner/model", device="cpu", dtype="float32")
    there, here = (len(list(folder.glob("*.safetensors"))) for folder in (repo, tmp_path / "cache" / "0123abcd"))
    assert 0 < here < there
    assert asked == [None, "0123abcd"]  # the weights of the commit that the configuration is of
    assert backbone.describe()["model"] == "hub owner/model at 0123abcd"
    clip = made_frames(T=2)
    local = load_backbone(repo, device="cpu", dtype="float32")
    assert torch.equal(backbone.encode([clip]).tokens_NC, local.encode([clip]).tokens_NC)


def test_a_missing_tensor_of_the_tower_is_told(tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    folder = qwen3().save(tmp_path)
    state = load_file(folder / "model.safetensors")
    del state["blocks.0.attn.qkv.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 tensors are missing \(blocks\.0\.attn\.qkv\.weight\)"):
        load_backbone(folder)
