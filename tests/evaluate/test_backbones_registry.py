"""Loading by name: our own encoder, what is unknown, and what contradicts itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from backbone_twins import IMAGE_TWINS, made_frames, naflex, qwen3
from clips import moving_square, write_video
from safetensors.torch import load_file, save_file

from onevision_encoder.errors import CheckpointError, InvalidArgumentError, RandomWeightsWarning, ShapeError
from onevision_encoder.evaluate import Backbone, Features, known_backbones, load_backbone
from onevision_encoder.model import OneVisionEncoderModel, embed_tokens, preset_config
from onevision_encoder.tokens import TokenizeConfig, read_clip, tokenize
from onevision_encoder.video import Sampling, Sizing, read_media


def edited(folder: Path, file: str, **fields: object) -> Path:
    before = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**before, **fields}))
    return folder


def test_our_own_encoder_reads_the_tokens_of_its_policy(tmp_path) -> None:
    torch.manual_seed(0)
    OneVisionEncoderModel(preset_config("tiny")).save_pretrained(tmp_path / "tiny")
    config = TokenizeConfig.of(policy="uniform", budget=24, num_frames=4)
    backbone = load_backbone(tmp_path / "tiny", device="cpu", dtype="float32", tokens=config)
    assert isinstance(backbone, Backbone)
    files = [write_video(tmp_path / f"{i}.mp4", moving_square(6, 56, 84, seed=i)) for i in range(2)]
    found = backbone.encode([backbone.read(file) for file in files])
    assert found.cu_seqlens.tolist() == [0, 24, 48]
    for s, file in enumerate(files):
        tokens = tokenize(file, config)
        wanted = embed_tokens(backbone.loaded, tokens, return_tokens=True)
        rows = slice(24 * s, 24 * s + 24)
        np.testing.assert_allclose(found.tokens_NC[rows].numpy(), wanted.tokens_NC, atol=1e-5)
        np.testing.assert_allclose(found.pooled_SC[s].numpy(), wanted.pooled_SC[0], atol=1e-5)
        assert np.array_equal(found.positions_N3[rows].numpy(), tokens.positions_N3)
        for clip in (tokens, read_media(file, sampling=config.sampling, sizing=config.sizing)):
            torch.testing.assert_close(backbone.encode([clip]).tokens_NC, found.tokens_NC[rows], rtol=0, atol=1e-5)
    told = json.loads(json.dumps(backbone.describe()))
    assert (told["family"], told["tokens_per_clip"]) == ("onevision_encoder", 24)
    assert "sha256" in told["weights"]


def test_our_own_encoder_without_a_policy_takes_readings_only() -> None:
    with pytest.warns(RandomWeightsWarning):
        backbone = load_backbone("tiny", device="cpu", dtype="float32")
    frames = made_frames(T=4, H=56, W=56)
    with pytest.raises(InvalidArgumentError, match=r"tokens=None .* a TokenizeConfig"):
        backbone.encode([frames])
    reading = read_clip(frames.rgb_THW3, policy="random", budget=10)
    assert backbone.encode([reading, reading]).cu_seqlens.tolist() == [0, 10, 20]
    with pytest.raises(InvalidArgumentError, match=r"pass tokens=TokenizeConfig\.of"):
        load_backbone("tiny", num_frames=8)


def test_an_unknown_architecture_is_told_what_is_known(tmp_path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    with pytest.raises(CheckpointError, match=r"model_type='resnet'; known are onevision_encoder, siglip, .*qwen3_vl"):
        load_backbone(tmp_path)
    assert {"siglip", "siglip2-naflex", "dinov3", "vjepa2", "videomae", "qwen3-vl"} < set(known_backbones())
    with pytest.raises(InvalidArgumentError, match="an existing folder or a hub id"):
        load_backbone("no such thing")
    with pytest.raises(CheckpointError, match=r"holds no config\.json"):
        load_backbone(tmp_path.parent)


def test_weights_that_do_not_fit_are_refused(tmp_path) -> None:
    folder = IMAGE_TWINS["siglip"]().save(tmp_path)
    state = load_file(folder / "model.safetensors")
    lost = next(key for key in state if key.endswith("vision_model.post_layernorm.weight"))
    strange = lost.replace("post_layernorm", "other_layernorm")
    save_file(
        {**{k: v for k, v in state.items() if k != lost}}, folder / "model.safetensors", metadata={"format": "pt"}
    )
    with pytest.raises(CheckpointError, match=r"1 tensors are missing \(.*post_layernorm\.weight"):
        load_backbone(folder)
    save_file({**state, strange: state[lost].clone()}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 tensors have no place in it \(.*other_layernorm"):
        load_backbone(folder)
    edited(
        folder,
        "config.json",
        vision_config={**json.loads((folder / "config.json").read_text())["vision_config"], "hidden_size": 64},
    )
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="cannot be loaded as SiglipVisionModel"):
        load_backbone(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"lacks model\.safetensors"):
        load_backbone(folder)


def test_a_processor_that_contradicts_the_model_is_refused(tmp_path) -> None:
    folder = IMAGE_TWINS["siglip"]().save(tmp_path)
    edited(folder, "preprocessor_config.json", size={"height": 40, "width": 40})
    with pytest.raises(ShapeError, match=r"\(40, 40\) is not accepted: \(32, 32\), the image_size"):
        load_backbone(folder)


def test_patch_sizes_that_contradict_the_model_are_refused(tmp_path) -> None:
    flat = edited(naflex().save(tmp_path / "flat"), "preprocessor_config.json", patch_size=4)
    with pytest.raises(CheckpointError, match="accepted is a NaFlex processor with patch_size=8"):
        load_backbone(flat)
    merged = edited(qwen3().save(tmp_path / "merged"), "video_preprocessor_config.json", merge_size=1)
    with pytest.raises(CheckpointError, match=r"accepted is patch_size \* merge_size = 8 and temporal_patch_size = 2"):
        load_backbone(merged)


def test_bfloat16_gives_float32_features_close_to_float32(tmp_path) -> None:
    folder = IMAGE_TWINS["dinov2"]().save(tmp_path)
    exact, rough = (load_backbone(folder, device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert rough.describe()["dtype"] == "bfloat16"
    assert rough.describe()["attention"] == "sdpa"
    a, b = (backbone.encode([made_frames(T=2)]).tokens_NC for backbone in (exact, rough))
    assert b.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(a, b).min() > 0.999
    assert not torch.equal(a, b)


def test_read_gives_frames_at_the_size_of_the_source(tmp_path) -> None:
    backbone = load_backbone(IMAGE_TWINS["dinov2"]().save(tmp_path), device="cpu", num_frames=3)
    file = write_video(tmp_path / "a.mp4", moving_square(7, 58, 90))
    frames = backbone.read(file)
    assert frames.rgb_THW3.shape == (3, 58, 90, 3)
    assert frames.frame_index_T.tolist() == [0, 3, 6]
    whole = read_media(file, sampling=Sampling(num_frames=None), sizing=Sizing(patch=2, max_patches=10**6))
    assert np.array_equal(frames.rgb_THW3, whole.rgb_THW3[[0, 3, 6]])
    assert np.array_equal(read_clip(file, backbone.reading).frames.rgb_THW3, frames.rgb_THW3)
    every = load_backbone(tmp_path, device="cpu").reading
    assert every.sampling == Sampling()


def test_clips_of_another_kind_and_options_of_another_model(tmp_path) -> None:
    folder = IMAGE_TWINS["siglip"]().save(tmp_path)
    backbone = load_backbone(folder, device="cpu", dtype="float32")
    for clips, message in (([], "at least one clip"), ([made_frames(T=1).rgb_THW3], "each a FrameSequence")):
        with pytest.raises(InvalidArgumentError, match=message):
            backbone.encode(clips)
    with pytest.raises(InvalidArgumentError, match="is no onevision_encoder"):
        load_backbone(folder, tokens=TokenizeConfig())
    with pytest.raises(InvalidArgumentError, match="num_frames=0"):
        load_backbone(folder, num_frames=0)


def test_letterboxed_frames_are_refused(tmp_path) -> None:
    backbone = load_backbone(IMAGE_TWINS["siglip"]().save(tmp_path), device="cpu", dtype="float32")
    frames = made_frames(T=1, H=56, W=56)
    content = np.ones(frames.grid, bool)
    content[0] = False
    with pytest.raises(ShapeError, match="content_hw of made-0='letterboxed'"):
        backbone.encode([replace(frames, content_hw=content)])


def test_a_reading_shows_its_frames(tmp_path) -> None:
    backbone = load_backbone(IMAGE_TWINS["siglip"]().save(tmp_path), device="cpu", dtype="float32")
    reading = read_clip(made_frames(T=4, H=56, W=56).rgb_THW3, policy="uniform", budget=8)
    assert torch.equal(backbone.encode([reading]).tokens_NC, backbone.encode([reading.frames]).tokens_NC)


def test_features_must_fit_each_other() -> None:
    tokens, cu = torch.zeros(5, 4), torch.tensor([0, 2, 5], dtype=torch.int32)
    Features(tokens_NC=tokens, cu_seqlens=cu, pooled_SC=torch.zeros(2, 7))
    for wrong in (
        {"tokens_NC": tokens.double()},
        {"cu_seqlens": torch.tensor([0, 2, 4], dtype=torch.int32)},
        {"cu_seqlens": torch.tensor([0, 5, 5], dtype=torch.int32)},
        {"cu_seqlens": cu.long()},
        {"pooled_SC": torch.zeros(3, 4)},
        {"positions_N3": torch.zeros(5, 2, dtype=torch.int32)},
        {"positions_N3": torch.zeros(5, 3)},
    ):
        with pytest.raises(ShapeError, match=next(iter(wrong))):
            Features(**{"tokens_NC": tokens, "cu_seqlens": cu, **wrong})
    one = Features(tokens_NC=tokens, cu_seqlens=cu)
    assert Features.join([one, one]).cu_seqlens.tolist() == [0, 2, 5, 7, 10]
    with pytest.raises(InvalidArgumentError, match="pooled_SC='in 1 of 2 parts'"):
        Features.join([one, Features(tokens_NC=tokens, cu_seqlens=cu, pooled_SC=torch.zeros(2, 4))])
