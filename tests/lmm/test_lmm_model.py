"""The composed model against itself: batches equal singles, text alone equals the language model alone."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_parts import image, tiny_encoder_config, tiny_model, tiny_text_config, tiny_tokenizer, user, video
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from onevision_encoder import OneVisionEncoderModel
from onevision_encoder.errors import (
    CheckpointError,
    InvalidArgumentError,
    PlaceholderError,
    RandomWeightsWarning,
    ShapeError,
)
from onevision_encoder.lmm import (
    OneVisionForConditionalGeneration,
    OneVisionVLConfig,
    OneVisionVLProcessor,
    load_language_model,
)
from onevision_encoder.model.segments import Segments

MERGERS = ("none", "2x2", "attention")
MIXED = [
    user("what is this", image(height=70, width=42), "and", video(budget=20), "which way"),
    user("yes"),
    user(video(seed=3, frames=12, budget=9, video_backend="frames"), "which way does the object move"),
    user(image(1), image(2, 28, 28), image(3, 200, 40), "compare"),
    user(video(seed=5, frames=3, budget="50%", policy="random")),
]


@pytest.fixture(scope="module", params=MERGERS)
def parts(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    return tiny_model(request.param)


def inputs_of(processor: Any, conversation: Any, **options: Any) -> Any:
    return processor.apply_chat_template(conversation, tokenize=True, add_generation_prompt=True, **options)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_mixed_batch_equals_each_sample_alone(parts: tuple[Any, Any], side: str) -> None:
    model, processor = parts
    batch = inputs_of(processor, MIXED, padding_side=side)
    with torch.inference_mode():
        together = model(**batch).logits
        for i, conversation in enumerate(MIXED):
            one = inputs_of(processor, conversation)
            alone = model(**one).logits[0]
            mine = batch["attention_mask"][i].bool()
            assert torch.equal(batch["input_ids"][i][mine], one["input_ids"][0])
            assert torch.allclose(together[i][mine], alone, atol=1e-5, rtol=0)
            assert alone.abs().max() > 0.1


def test_pictures_matter_and_their_order_too(parts: tuple[Any, Any]) -> None:
    model, processor = parts
    with torch.inference_mode():
        ab, ba, aa = (
            model(**inputs_of(processor, user(image(x), image(y), "compare"))).logits[0, -1]
            for x, y in ((1, 2), (2, 1), (1, 1))
        )
    assert (ab - ba).abs().max() > 1e-3
    assert (ab - aa).abs().max() > 1e-3


def test_text_alone_is_the_language_model_alone(parts: tuple[Any, Any]) -> None:
    model, processor = parts
    inputs = inputs_of(processor, user("what is this"))
    assert set(inputs) == {"input_ids", "attention_mask"}
    with torch.inference_mode():
        assert torch.equal(model(**inputs).logits, model.language_model(**inputs).logits)


def test_placeholders_take_the_features_in_order() -> None:
    model, processor = tiny_model()
    inputs = inputs_of(processor, [user(image(1), "and", video(2, budget=5)), user(image(3))])
    vision = {k: v for k, v in inputs.items() if k not in ("input_ids", "attention_mask", "assistant_masks")}
    with torch.inference_mode():
        features = model.get_vision_features(**vision)
        embeds = model.get_input_embeddings()(inputs["input_ids"])
        spots = (inputs["input_ids"] == model.config.image_token_id) | (
            inputs["input_ids"] == model.config.video_token_id
        )
        embeds[spots] = features
        positions = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        mask = inputs["attention_mask"]
        by_hand = model.language_model(inputs_embeds=embeds, attention_mask=mask, position_ids=positions)
        assert torch.equal(model(**inputs).logits, by_hand.logits)
        given = model(input_ids=inputs["input_ids"], attention_mask=mask, vision_features=features)
        assert torch.equal(given.logits, by_hand.logits)


def test_2x2_merge_is_four_neighbours_end_to_end() -> None:
    """Against the plain words: the four patches of a block of an image's grid, row by row."""
    model, processor = tiny_model()
    inputs = inputs_of(processor, user(image(height=56, width=84)))
    rows, columns = 4, 6
    with torch.inference_mode():
        order = torch.arange(rows * columns).reshape(rows // 2, 2, columns // 2, 2).permute(0, 2, 1, 3).flatten()
        raster = torch.argsort(order)
        positions = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"), -1)
        positions = torch.cat([torch.zeros(rows * columns, 1), positions.reshape(-1, 2)], 1)
        x = model.vision_model(inputs["pixel_values"][raster], patch_positions=positions).last_hidden_state
        grid = model.merger.norm(x).reshape(rows, columns, -1)
        blocks = [grid[i : i + 2, j : j + 2].reshape(-1) for i in range(0, rows, 2) for j in range(0, columns, 2)]
        wanted = model.projector(torch.stack(blocks))
        found = model.get_vision_features(inputs["pixel_values"], inputs["patch_positions"], inputs["cu_seqlens"])
    assert torch.allclose(found, wanted, atol=1e-5)


def test_attention_pool_reads_each_unit_by_itself_and_begins_as_the_mean() -> None:
    model, processor = tiny_model("attention", patches_per_token=3)
    inputs = inputs_of(processor, user(video(budget=7), image()))
    bounds = inputs["unit_cu_seqlens"].tolist()
    assert len(bounds) - 1 == 7 + 8
    assert [b - a for a, b in pairwise(bounds)] == [3] * 15
    pool, x = model.merger.pool, torch.randn(45, 64)
    units = Segments.from_lengths([3, 3, 3, 10, 5, 5, 16])
    with torch.inference_mode():
        y = pool(x, units)
        for i, (a, b) in enumerate(pairwise(units.bounds())):
            mine = x[a:b]
            q, k, v = pool.query(mine.mean(0) + pool.probe), pool.key(mine), pool.value(mine)
            heads = []
            for h in range(pool.heads):
                d = slice(h * 32, (h + 1) * 32)
                heads.append(torch.softmax(k[:, d] @ q[d] / 32**0.5, 0) @ v[:, d])
            assert torch.allclose(y[i], mine.mean(0) + pool.out(torch.cat(heads)), atol=1e-5)


def test_attention_without_bounds_gives_the_configured_number() -> None:
    model, processor = tiny_model("attention", merger_tokens=5)
    inputs = inputs_of(processor, user(image(), image(1, 84, 84)))
    features = model.get_vision_features(inputs["pixel_values"], inputs["patch_positions"], inputs["cu_seqlens"])
    assert features.shape == (10, 48)


@pytest.mark.parametrize("merger", MERGERS)
def test_mismatched_placeholders_name_both_counts(merger: str) -> None:
    model, processor = tiny_model(merger)
    inputs = inputs_of(processor, user(image(), "what"))
    count = int((inputs["input_ids"] == model.config.image_token_id).sum())
    cut = {**inputs, "input_ids": inputs["input_ids"][:, 6:], "attention_mask": inputs["attention_mask"][:, 6:]}
    with pytest.raises(PlaceholderError, match=rf"^{count - 3} placeholders for {count} visual tokens"):
        model(**cut)
    with pytest.raises(
        PlaceholderError, match=rf"^{count} placeholders for 0 visual tokens: there are no pixel_values"
    ):
        model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])


def test_rows_that_are_no_blocks_are_refused() -> None:
    model, processor = tiny_model()
    inputs = inputs_of(processor, user(image()))
    swapped = {name: inputs[name].clone() for name in inputs}
    swapped["patch_positions"][[1, 4]] = swapped["patch_positions"][[4, 1]]
    with pytest.raises(ShapeError, match=r"rows 0..3.*order='block2'"):
        model(**swapped)
    shifted = {**inputs, "patch_positions": inputs["patch_positions"] + torch.tensor([0.0, 1.0, 0.0])}
    with pytest.raises(ShapeError, match="2x2 blocks at even h and w"):
        model(**shifted)
    with pytest.raises(ShapeError, match="multiple of 4"):
        model.get_vision_features(inputs["pixel_values"][:22], inputs["patch_positions"][:22])


def test_grids_stand_for_bounds_and_must_agree_with_them() -> None:
    model, processor = tiny_model("none")
    inputs = inputs_of(processor, user(image(1), image(2, 28, 28)))
    assert inputs["image_grid_thw"].tolist() == [[1, 4, 6], [1, 2, 2]]
    with torch.inference_mode():
        expected = model(**inputs).logits
        neighbours = {name: value for name, value in inputs.items() if name != "cu_seqlens"}
        assert torch.equal(model(**neighbours).logits, expected)
        with pytest.raises(ShapeError, match="image_grid_thw"):
            model(**{**inputs, "image_grid_thw": torch.tensor([[1, 4, 6], [1, 2, 3]])})


def test_gradients_reach_everything_and_checkpointing_does_not_change_them() -> None:
    model, processor = tiny_model()
    inputs = inputs_of(processor, MIXED)
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    model.train()

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(**inputs, labels=labels).loss.backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    plain = gradients()
    assert all(grad.abs().max() > 0 for name, grad in plain.items() if "k_proj.bias" not in name)
    if hasattr(model, "activation_checkpointing_enable"):  # the old name warns in transformers 5
        model.activation_checkpointing_enable()
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    assert model.vision_model.encoder.layers[0].gradient_checkpointing
    again = gradients()
    assert all(torch.allclose(plain[name], again[name], atol=1e-6) for name in plain)


@pytest.mark.parametrize("merger", MERGERS)
def test_a_batch_of_text_alone_still_gives_every_weight_a_gradient(merger: str) -> None:
    model, processor = tiny_model(merger)
    inputs = inputs_of(processor, user("what is this"))
    evaluated = model(**inputs).logits
    model.train()
    trained = model(**inputs, labels=inputs["input_ids"])
    assert torch.equal(trained.logits, evaluated)
    trained.loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    assert all(not p.grad.any() for n, p in model.named_parameters() if not n.startswith("language_model"))


def test_an_earlier_layer_is_read_as_if_the_later_were_not_there() -> None:
    model, processor = tiny_model(vision_feature_layer=-2)
    inputs = inputs_of(processor, user(image(), "what"))
    with torch.inference_mode():
        expected = model(**inputs).logits
        for parameter in model.vision_model.encoder.layers[1].parameters():
            parameter.mul_(3)
        assert torch.equal(model(**inputs).logits, expected)
    assert [any(p.requires_grad for p in layer.parameters()) for layer in model.vision_model.encoder.layers] == [
        True,
        False,
    ]


def test_saved_and_loaded_bits_are_equal_through_the_auto_classes(parts: tuple[Any, Any], tmp_path: Path) -> None:
    model, processor = parts
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    processor.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    again = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert type(again) is OneVisionForConditionalGeneration
    again.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "config.json").read_text() == (tmp_path / "config.json").read_text()
    theirs = dict(again.named_parameters())
    assert set(theirs) == {name for name, _ in model.named_parameters()}
    assert all(torch.equal(value, theirs[name]) for name, value in model.named_parameters())
    auto = AutoProcessor.from_pretrained(tmp_path)
    assert type(auto) is OneVisionVLProcessor
    assert auto.to_dict() == processor.to_dict()
    before, after = inputs_of(processor, MIXED), inputs_of(auto, MIXED)
    assert all(torch.equal(before[name], after[name]) for name in before)
    with torch.inference_mode():
        assert torch.equal(model(**before).logits, again(**after).logits)
    assert again.generation_config.suppress_tokens == [model.config.image_token_id, model.config.video_token_id]


def test_remote_code_named_in_its_files_is_not_followed(tmp_path: Path) -> None:
    model, processor = tiny_model()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    (tmp_path / "poison.py").write_text("raise RuntimeError('remote code ran')\n", encoding="utf-8")
    classes = {"AutoConfig": "poison.C", "AutoModelForImageTextToText": "poison.M", "AutoProcessor": "poison.P"}
    for name in ("config.json", "processor_config.json", "preprocessor_config.json"):
        settings = json.loads((tmp_path / name).read_text(encoding="utf-8"))
        (tmp_path / name).write_text(json.dumps({**settings, "auto_map": classes}), encoding="utf-8")
    loaded = [
        auto.from_pretrained(tmp_path, trust_remote_code=True) for auto in (AutoModelForImageTextToText, AutoProcessor)
    ]
    loaded += load_language_model(tmp_path, device="cpu")
    assert [type(one) for one in loaded] == 2 * [OneVisionForConditionalGeneration, OneVisionVLProcessor]
    for one in loaded:
        one.save_pretrained(tmp_path / "again")
    assert not any("auto_map" in file.read_text(encoding="utf-8") for file in (tmp_path / "again").glob("*config.json"))


def test_conversations_packed_in_one_row_do_not_see_each_other() -> None:
    """Positions that begin anew, and no mask: how training packs. transformers tells the sequences apart by them."""
    model, processor = tiny_model()
    alone = [inputs_of(processor, conversation) for conversation in MIXED[:3]]
    rows = {
        name: torch.cat([one[name] for one in alone if name in one]) for name in ("pixel_values", "patch_positions")
    }
    bounds = [one["cu_seqlens"].diff() for one in alone if "cu_seqlens" in one]
    packed = {
        **rows,
        "input_ids": torch.cat([one["input_ids"] for one in alone], 1),
        "position_ids": torch.cat([torch.arange(one["input_ids"].shape[1]) for one in alone])[None],
        "cu_seqlens": torch.cat([torch.zeros(1, dtype=torch.int32), torch.cat(bounds).cumsum(0)]),
    }
    with torch.inference_mode():
        together = model(**packed, use_cache=False).logits[0]
        separate = torch.cat([model(**one).logits[0] for one in alone])
    assert torch.allclose(together, separate, atol=1e-5)


def test_tied_embeddings_stay_tied(tmp_path: Path) -> None:
    model, processor = tiny_model(text={"tie_word_embeddings": True})
    model.save_pretrained(tmp_path)
    again = OneVisionForConditionalGeneration.from_pretrained(tmp_path)
    assert again.get_output_embeddings().weight is again.get_input_embeddings().weight
    inputs = inputs_of(processor, user(image()))
    with torch.inference_mode():
        assert torch.equal(model(**inputs).logits, again(**inputs).logits)


def test_a_checkpoint_that_lacks_tensors_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model, _ = tiny_model()
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["projector.fc1.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"projector\.fc1\.weight"):
        OneVisionForConditionalGeneration.from_pretrained(tmp_path)


def test_from_parts_keeps_the_weights_of_its_parts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = OneVisionEncoderModel(tiny_encoder_config())
    language = AutoModelForCausalLM.from_config(tiny_text_config(vocab_size=50))
    encoder.save_pretrained(tmp_path / "encoder")
    language.save_pretrained(tmp_path / "language")
    tiny_tokenizer().save_pretrained(tmp_path / "language")
    before = torch.get_rng_state()
    model, processor = OneVisionForConditionalGeneration.from_parts(tmp_path / "encoder", tmp_path / "language")
    assert torch.equal(before, torch.get_rng_state())
    assert encoder.config.use_head
    assert model.vision_model.head is None
    ours = dict(encoder.named_parameters())
    assert all(torch.equal(value, ours[name]) for name, value in model.vision_model.named_parameters())
    rows = language.get_input_embeddings().weight.shape[0]
    theirs = dict(model.language_model.named_parameters())
    for name, value in language.named_parameters():
        assert torch.equal(value, theirs[name][: len(value)])
    assert rows < len(processor.tokenizer) == model.get_input_embeddings().weight.shape[0]
    assert model.config.text_config.vocab_size == len(processor.tokenizer)
    assert processor.tokenizer.convert_ids_to_tokens(model.config.video_token_id) == "<|video_pad|>"
    again, _ = OneVisionForConditionalGeneration.from_parts(tmp_path / "encoder", tmp_path / "language")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    inputs = inputs_of(processor, user(image(), "what"))
    assert torch.isfinite(model(**inputs).logits).all()


def test_wrong_configurations_are_refused() -> None:
    encoder, text = tiny_encoder_config(use_head=False), tiny_text_config()
    for options, match in (
        ({"merger": "3x3"}, "merger='3x3'"),
        ({"merger_tokens": 0}, "merger_tokens=0"),
        ({"vision_feature_layer": -3}, r"-2 \.\. -1"),
        ({"image_token_id": 7, "video_token_id": 7}, "video_token_id=7"),
        ({"vision_config": tiny_encoder_config()}, "use_head=True"),
    ):
        with pytest.raises(InvalidArgumentError, match=match):
            OneVisionVLConfig(**{"vision_config": copy.deepcopy(encoder), "text_config": text, **options})
    with pytest.raises(InvalidArgumentError, match="tokenizer=None"):
        OneVisionForConditionalGeneration.from_parts(encoder, text)


def test_a_language_model_of_random_weights_by_name() -> None:
    """Nothing is downloaded, every text survives the tokenizer, and it says what it is."""
    with pytest.warns(RandomWeightsWarning, match="language model 'tiny'"):
        model, processor = OneVisionForConditionalGeneration.from_parts(tiny_encoder_config(), "tiny")
    said = "Which way? ←, naïve\n  twice "
    ids = processor.tokenizer(said)["input_ids"]
    assert len(ids) == len(said.encode())
    assert processor.tokenizer.decode(ids) == said
    with pytest.warns(RandomWeightsWarning):
        again, _ = OneVisionForConditionalGeneration.from_parts(tiny_encoder_config(), "tiny", seed=1)
    rows = len(processor.tokenizer)
    assert model.language_model.get_input_embeddings().weight.shape == (rows, 128)
    assert not torch.equal(model.language_model.lm_head.weight, again.language_model.lm_head.weight)
