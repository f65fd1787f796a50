"""Generation against the slow truth: greedy against teacher forcing, caches against none, beams against brute force."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_parts import image, tiny_model, user, video
from transformers import DynamicCache

from onevision_encoder.errors import PlaceholderError
from onevision_encoder.lmm.vision_inputs import VISION_KEYS

PROMPTS = [
    user("what is this", image(height=70, width=42), "and", video(budget=20), "which way"),
    user(video(seed=3, frames=12, budget=9, video_backend="frames"), "which way does the object move"),
    user("yes"),
]
NEW = 4


@pytest.fixture(scope="module", params=("2x2", "attention"))
def parts(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    return tiny_model(request.param)


def inputs_of(processor: Any, conversation: Any) -> Any:
    return processor.apply_chat_template(conversation, tokenize=True, add_generation_prompt=True)


def written(model: Any, inputs: Any, **options: Any) -> torch.Tensor:
    options = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, "pad_token_id": 1, **options}
    return model.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :]


def allowed(model: Any, logits: torch.Tensor) -> torch.Tensor:
    """Without the tokens that the generation above may not write: placeholders, and the end before its time."""
    logits = logits.clone()
    logits[..., [model.config.image_token_id, model.config.video_token_id, 3]] = -torch.inf
    return logits


def test_greedy_is_the_chain_of_argmax_without_any_cache(parts: tuple[Any, Any]) -> None:
    model, processor = parts
    assert processor.tokenizer.eos_token_id == 3
    for conversation in PROMPTS:
        inputs = inputs_of(processor, conversation)
        chain = dict(inputs)
        with torch.inference_mode():
            for _ in range(NEW):
                best = allowed(model, model(**chain, use_cache=False).logits[:, -1]).argmax(-1, keepdim=True)
                chain["input_ids"] = torch.cat([chain["input_ids"], best], 1)
                chain["attention_mask"] = torch.ones_like(chain["input_ids"])
        truth = chain["input_ids"][:, inputs["input_ids"].shape[1] :]
        assert torch.equal(written(model, inputs, eos_token_id=3), truth)
        assert torch.equal(written(model, inputs, eos_token_id=3, use_cache=False), truth)


def test_a_batch_writes_what_its_items_write_alone(parts: tuple[Any, Any]) -> None:
    model, processor = parts
    together = written(model, inputs_of(processor, PROMPTS))
    alone = torch.cat([written(model, inputs_of(processor, one)) for one in PROMPTS])
    assert torch.equal(together, alone)
    assert len(alone.unique(dim=0)) == len(PROMPTS)


def test_beams_of_a_batch_are_those_of_its_items_and_of_no_cache(parts: tuple[Any, Any]) -> None:
    model, processor = parts
    options = {"num_beams": 3, "num_return_sequences": 2}
    together = written(model, inputs_of(processor, PROMPTS), **options)
    assert torch.equal(together, written(model, inputs_of(processor, PROMPTS), use_cache=False, **options))
    alone = torch.cat([written(model, inputs_of(processor, one), **options) for one in PROMPTS])
    assert torch.equal(together, alone)
    assert not torch.equal(together[0], together[1])


def test_the_best_beam_is_the_best_of_all_continuations() -> None:
    """With as many beams as words, two steps of beam search are exhaustive: compare with brute force."""
    model, processor = tiny_model(text={"vocab_size": 64})
    inputs = inputs_of(processor, PROMPTS[0])
    words = model.get_output_embeddings().weight.shape[0]
    best = written(model, inputs, num_beams=words, max_new_tokens=2, min_new_tokens=2, eos_token_id=3)[0]

    ids, media = inputs["input_ids"], {name: inputs[name] for name in VISION_KEYS if name in inputs}
    with torch.inference_mode():
        first = allowed(model, model(**inputs).logits[0, -1].log_softmax(-1))
        ids = torch.cat([ids.expand(words, -1), torch.arange(words)[:, None]], 1)
        ids[first == -torch.inf, -1] = 0  # a word that may not be written; its score stays out of the race
        features = model.get_vision_features(**media).repeat(words, 1)
        second = model(input_ids=ids, vision_features=features).logits[:, -1].log_softmax(-1)
        scores = first[:, None] + allowed(model, second)
    assert best.tolist() == list(divmod(int(scores.argmax()), words))


def test_media_are_encoded_once_whatever_the_beams(monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = tiny_model()
    inputs = inputs_of(processor, PROMPTS)
    seen: list[int] = []
    encode = model.vision_model.forward
    monkeypatch.setattr(
        model.vision_model, "forward", lambda pixels, **kw: seen.append(len(pixels)) or encode(pixels, **kw)
    )
    written(model, inputs, num_beams=3)
    written(model, inputs)
    assert seen == [len(inputs["pixel_values"])] * 2


def test_sampling_is_decided_by_the_seed(parts: tuple[Any, Any]) -> None:
    model, processor = parts
    inputs = inputs_of(processor, PROMPTS)
    options = {"do_sample": True, "temperature": 2.0, "num_return_sequences": 2}
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append(written(model, inputs, **options))
    assert results[0].shape == (2 * len(PROMPTS), NEW)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    forbidden = torch.tensor([model.config.image_token_id, model.config.video_token_id])
    assert not torch.isin(torch.cat(results), forbidden).any()


def test_a_conversation_goes_on_in_its_cache(parts: tuple[Any, Any]) -> None:
    """The second turn brings a new picture; the first one's video is in the cache and is not read again."""
    model, processor = parts
    first = inputs_of(processor, PROMPTS[0])
    cache = DynamicCache(config=model.config.get_text_config())
    answer = written(model, first, past_key_values=cache)
    ids = torch.cat([first["input_ids"], answer], 1)
    more = inputs_of(processor, user(image(5, 84, 56), "and", "is this a b"))
    second = {
        "input_ids": torch.cat([ids, more["input_ids"]], 1),
        "pixel_values": torch.cat([first["pixel_values"], more["pixel_values"]]),
        "patch_positions": torch.cat([first["patch_positions"], more["patch_positions"]]),
        "cu_seqlens": torch.cat([first["cu_seqlens"], first["cu_seqlens"][-1] + more["cu_seqlens"][1:]]),
    }
    if "unit_cu_seqlens" in first:
        ends = first["unit_cu_seqlens"], more["unit_cu_seqlens"]
        second["unit_cu_seqlens"] = torch.cat([ends[0], ends[0][-1] + ends[1][1:]])
    second["attention_mask"] = torch.ones_like(second["input_ids"])
    fresh = written(model, second)
    assert torch.equal(written(model, second, past_key_values=cache), fresh)


def test_a_medium_half_in_the_cache_is_refused() -> None:
    model, processor = tiny_model()
    inputs = inputs_of(processor, PROMPTS[0])
    cache = DynamicCache(config=model.config.get_text_config())
    with torch.inference_mode():
        model.language_model(input_ids=inputs["input_ids"][:, :8], past_key_values=cache, use_cache=True)
    with pytest.raises(PlaceholderError, match="medium 0 is half in the cache of 8 tokens"):
        written(model, inputs, past_key_values=cache)
