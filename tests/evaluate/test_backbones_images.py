"""Image towers: each tiny twin, loaded through the registry, against the model's own forward on its own pixels."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from backbone_twins import IMAGE_TWINS, made_frames, naflex

from onevision_encoder.evaluate import Backbone, load_backbone

# family -> tokens before the patches, grid of a prepared frame
LAYOUT = {
    "siglip": (0, (4, 4)),
    "clip": (1, (4, 4)),
    "metaclip2": (1, (4, 4)),
    "aimv2": (0, (4, 5)),
    "dinov2": (1, (3, 3)),
    "dinov2-registers": (5, (3, 3)),
    "dinov3": (5, (4, 5)),
}


def close(found: torch.Tensor, wanted: torch.Tensor, tolerance: float = 2e-5) -> None:
    torch.testing.assert_close(
        found, wanted.to(torch.float32), rtol=tolerance, atol=tolerance * float(wanted.abs().max())
    )


@pytest.mark.parametrize("family", IMAGE_TWINS)
def test_tokens_are_those_of_the_models_own_forward(family: str, tmp_path) -> None:
    twin = IMAGE_TWINS[family]()
    backbone = load_backbone(twin.save(tmp_path), device="cpu", dtype="float32")
    assert isinstance(backbone, Backbone)
    clips = [made_frames(T=3), made_frames(T=2, H=60, W=44, seed=1)]
    found = backbone.encode(clips)

    before, (h, w) = LAYOUT[family]
    start = 0
    for s, clip in enumerate(clips):
        with torch.no_grad():
            own = twin.tower(pixel_values=twin.pixels(clip.rgb_THW3))
        T = clip.num_frames
        assert own.last_hidden_state.shape[1] == before + h * w
        stop = start + T * h * w
        # DINOv3's float resize: two implementations of one filter, Pillow's and torch's
        tolerance = 1e-3 if family == "dinov3" else 2e-5
        close(found.tokens_NC[start:stop], own.last_hidden_state[:, before:].flatten(0, 1), tolerance)
        if own.pooler_output is None:
            assert found.pooled_SC is None
        else:
            close(found.pooled_SC[s], own.pooler_output.mean(0), tolerance)
        positions = [(t, y, x) for t in range(T) for y in range(h) for x in range(w)]
        assert found.positions_N3[start:stop].tolist() == [list(p) for p in positions]
        start = stop
    assert found.cu_seqlens.tolist() == [0, 3 * h * w, 5 * h * w]
    assert found.tokens_NC.shape[1] == backbone.width
    told = json.loads(json.dumps(backbone.describe()))
    assert told["family"] == family
    assert sum(told["dropped_tokens_per_frame"].values()) == before
    assert told["tokens_per_frame"] == h * w


def test_a_tower_saved_alone_gives_what_the_whole_model_gives(tmp_path) -> None:
    twin = IMAGE_TWINS["siglip"]()
    whole = load_backbone(twin.save(tmp_path / "whole"), device="cpu", dtype="float32")
    alone = twin.save(tmp_path / "alone")
    tower = transformers.SiglipVisionModel.from_pretrained(tmp_path / "whole", config=twin.whole.config.vision_config)
    for file in alone.glob("*.safetensors"):
        file.unlink()
    tower.save_pretrained(alone)
    part = load_backbone(alone, device="cpu", dtype="float32")
    clip = made_frames(T=2)
    assert torch.equal(whole.encode([clip]).tokens_NC, part.encode([clip]).tokens_NC)
    assert whole.describe()["left_out"]["text_model"] > 0
    assert part.describe()["left_out"] == {}
    assert whole.describe()["weights_sha256"] != part.describe()["weights_sha256"]


def test_naflex_without_padding_is_the_padded_model(tmp_path) -> None:
    twin = naflex()
    backbone = load_backbone(twin.save(tmp_path), device="cpu", dtype="float32")
    clips = [made_frames(T=3, H=24, W=60), made_frames(T=1, H=44, W=44, seed=2)]
    found = backbone.encode(clips)
    start = 0
    for s, clip in enumerate(clips):
        inputs = twin.pixels(clip.rgb_THW3)
        with torch.no_grad():
            own = twin.tower(inputs["pixel_values"], inputs["pixel_attention_mask"], inputs["spatial_shapes"])
        h, w = (int(n) for n in inputs["spatial_shapes"][0])
        assert h * w <= 20
        kept = own.last_hidden_state[:, : h * w].flatten(0, 1)
        stop = start + len(kept)
        close(found.tokens_NC[start:stop], kept)
        close(found.pooled_SC[s], own.pooler_output.mean(0))
        assert found.positions_N3[start:stop, 1:].max(0).values.tolist() == [h - 1, w - 1]
        start = stop
    assert start == len(found.tokens_NC)
    assert backbone.describe()["tokens_per_clip"] is None


def test_num_frames_are_spread_evenly_and_their_rows_are_told(tmp_path) -> None:
    folder = IMAGE_TWINS["siglip"]().save(tmp_path)
    clip = made_frames(T=9)
    every = load_backbone(folder, device="cpu", dtype="float32").encode([clip])
    three = load_backbone(folder, device="cpu", dtype="float32", num_frames=3)
    found = three.encode([clip])
    assert found.positions_N3[:, 0].unique().tolist() == [0, 4, 8]
    rows = torch.isin(every.positions_N3[:, 0], torch.tensor([0, 4, 8]))
    close(found.tokens_NC, every.tokens_NC[rows], 1e-5)
    assert three.describe()["tokens_per_clip"] == 48


def test_many_frames_go_in_several_batches_without_a_trace(tmp_path, monkeypatch) -> None:
    backbone = load_backbone(IMAGE_TWINS["dinov3"]().save(tmp_path), device="cpu", dtype="float32")
    clip = made_frames(T=7)
    whole = backbone.encode([clip])
    monkeypatch.setattr("onevision_encoder.evaluate.backbone_images.FRAMES_AT_ONCE", 3)
    parts = backbone.encode([clip])
    close(parts.tokens_NC, whole.tokens_NC, 1e-5)
    close(parts.pooled_SC, whole.pooled_SC, 1e-5)


def test_a_probe_can_be_trained_on_the_features(tmp_path) -> None:
    backbone = load_backbone(IMAGE_TWINS["siglip"]().save(tmp_path), device="cpu", dtype="float32")
    found = backbone.encode([made_frames(T=2)])
    head = torch.nn.Linear(backbone.width, 3)
    head(found.tokens_NC).sum().backward()
    assert head.weight.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in backbone.tower.parameters())


def test_the_order_of_frames_shows_in_the_order_of_tokens(tmp_path) -> None:
    backbone = load_backbone(IMAGE_TWINS["clip"]().save(tmp_path), device="cpu", dtype="float32")
    clip = made_frames(T=3)
    turned = replace(clip, rgb_THW3=np.ascontiguousarray(clip.rgb_THW3[::-1]), luma_THW=clip.luma_THW[::-1])
    straight, reverse = (backbone.encode([c]).tokens_NC.reshape(3, 16, -1) for c in (clip, turned))
    close(reverse, straight.flip(0), 1e-5)
    assert not torch.allclose(reverse, straight)
