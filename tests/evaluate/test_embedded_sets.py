"""Features of a token set are what the backbone makes of each clip by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import moving_square, write_video

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.evaluate import Example, OurBackbone, embed_set, embed_sets, make_token_set
from onevision_encoder.model import LoadedEncoder, OneVisionEncoderModel, preset_config
from onevision_encoder.tokens import TokenizeConfig

READING = TokenizeConfig.of(budget=20, max_patches=16, num_frames=6)


@pytest.fixture(scope="module")
def encoder() -> LoadedEncoder:
    torch.manual_seed(0)
    model = OneVisionEncoderModel(preset_config("tiny", num_hidden_layers=1))
    model.requires_grad_(False).train(False)
    return LoadedEncoder(model=model, weights="random", pretrained=False, provenance={})


def test_each_form_is_what_the_backbone_makes_of_the_clip(tmp_path: Path, encoder: LoadedEncoder) -> None:
    examples = [
        Example(
            id=f"c{i}",
            video=f"v{i}",
            path=write_video(tmp_path / f"{i}.mp4", moving_square(12, 56, 56, side=14, step=2, seed=i)),
            classes=(i % 2,),
            split="train",
        )
        for i in range(3)
    ]
    lost = replace(examples[0], id="lost", path=tmp_path / "lost.mp4")
    tokens = make_token_set([*examples, lost], READING)
    backbone = OurBackbone("ours", encoder, READING)
    found = embed_sets("ours", encoder, tokens, ("pooled", "tokens", "places"))
    for e in examples:
        alone = backbone.encode([backbone.read(e.path)])
        assert alone.pooled_SC is not None
        expected = {
            "pooled": alone.pooled_SC,
            "tokens": alone.tokens_NC,
            "places": alone.tokens_NC.reshape(1, -1),
        }
        for form, reader in found.items():
            got = reader.read([e, lost])
            assert list(got) == [e.id]
            np.testing.assert_allclose(got[e.id], expected[form].numpy(), atol=2e-5)
            assert "MediaNotFoundError" in reader.failures["lost"]
    assert (found["tokens"].pool, found["pooled"].backbone.width, found["places"].backbone.width) == (False, 192, 3840)
    with pytest.raises(InvalidArgumentError, match="form"):
        embed_set("ours", encoder, tokens, "mean")  # type: ignore[arg-type]
