"""What training reads: labels against a mask by brute force, packs against samples alone, the cache against none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conversation_files import ROWS, media_folder, write_rows
from tiny_parts import tiny_model

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.lmm import TokenCache, read_samples
from onevision_encoder.lmm.training_data import Collator, SampleEncoder, check_packing, pack_rows

THINKING = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}"
    "{% if message['role'] == 'assistant' and loop.last %}{{ '<s>.<s> ' }}{% endif %}"
    "{{ message['content'] + '<|im_end|>' + ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant ' }}{% endif %}"
)
"""As Qwen3's, which writes an empty thought before the last answer and no other."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = media_folder(tmp_path_factory.mktemp("media"))
    write_rows(place / "x.jsonl", ROWS)
    return place


def by_hand(ids: list[int], start: int, assistant: int, end: int) -> list[bool]:
    """A walk over the tokens: an answer begins after ``<|im_start|> assistant`` and ends with ``<|im_end|>``."""
    mask, inside = [], False
    for i, token in enumerate(ids):
        if i >= 2 and ids[i - 2] == start and ids[i - 1] == assistant:
            inside = True
        mask.append(inside)
        if token == end:
            inside = False
    return mask


@pytest.mark.parametrize("template", [None, THINKING])
def test_labels_are_the_answers_found_by_hand(folder: Path, template: str | None) -> None:
    _, processor = tiny_model()
    processor.tokenizer.chat_template = template or processor.tokenizer.chat_template
    names = processor.tokenizer.convert_tokens_to_ids(["<|im_start|>", "assistant", "<|im_end|>"])
    learned = []
    for sample in read_samples(folder / "x.jsonl"):
        encoded = SampleEncoder(processor)(sample)
        wanted = torch.tensor(by_hand(encoded.input_ids.tolist(), *names))
        assert torch.equal(encoded.labels != -100, wanted)
        assert torch.equal(encoded.labels[wanted], encoded.input_ids[wanted])
        learned.append(processor.tokenizer.decode(encoded.labels[wanted]).replace(" ", ""))
    thought = "" if template is None else "<s>.<s>"
    assert learned == [
        f"left<|im_end|>{thought}updown<|im_end|>",
        *(f"{thought}{word}<|im_end|>" for word in ("red", "yes", "still")),
    ]


@pytest.mark.parametrize("merger", ["2x2", *(pytest.param(m, marks=pytest.mark.slow) for m in ("none", "attention"))])
def test_packs_and_batches_equal_samples_alone(folder: Path, merger: str, tmp_path: Path) -> None:
    model, processor = tiny_model(merger)
    cache = TokenCache(tmp_path)
    encode = SampleEncoder(processor, cache)
    samples = [encode(sample) for sample in read_samples(folder / "x.jsonl")]
    alone, answers = [], 0
    gradient = {}
    for sample in samples:
        batch = Collator(pad=1, packed=False)([[sample]])
        count = int((batch["labels"] != -100).sum())
        loss = model(**batch, num_items_in_batch=1).loss  # the sum over the answers' tokens
        alone.append(float(loss.detach()))
        loss.backward()
        answers += count
    for name, parameter in model.named_parameters():
        gradient[name] = parameter.grad.clone()
    layouts: list[tuple[bool, list[list[Any]]]] = [
        (False, [[sample] for sample in samples]),
        (True, [samples]),
        (True, [[samples[2], samples[0]], [samples[3], samples[1]]]),
    ]
    for packed, rows in layouts:
        model.zero_grad()
        batch = Collator(pad=1, packed=packed)(rows)
        # media stand in the order of the rows
        loss = model(**batch, num_items_in_batch=answers).loss
        assert float(loss.detach()) == pytest.approx(sum(alone) / answers, rel=1e-5)
        loss.backward()
        for name, parameter in model.named_parameters():
            error = (parameter.grad * answers - gradient[name]).norm() / gradient[name].norm().clamp(min=1e-3)
            assert error < 1e-3, (name, float(error))


def test_the_cache_gives_what_reading_gives(folder: Path, tmp_path: Path) -> None:
    for budget in (None, 20):
        _, processor = tiny_model(request_budget=budget)
        cache = TokenCache(tmp_path / str(budget))
        samples = read_samples(folder / "x.jsonl")
        fresh = [SampleEncoder(processor)(sample) for sample in samples]
        for _ in range(2):
            encode = SampleEncoder(processor, cache)
            for sample, plain in zip(samples, fresh, strict=True):
                encoded = encode(sample)
                assert torch.equal(encoded.input_ids, plain.input_ids)
                assert set(encoded.vision) == set(plain.vision)
                assert all(torch.equal(encoded.vision[name], plain.vision[name]) for name in plain.vision)
        assert (cache.found, cache.stored) == (4, 4)
        assert not cache.corrupt


def test_the_cache_knows_content_options_and_damage(folder: Path, tmp_path: Path) -> None:
    _, processor = tiny_model()
    samples = read_samples(folder / "x.jsonl")
    cache = TokenCache(tmp_path / "cache")
    first = SampleEncoder(processor, cache)(samples[0])
    copy = write_rows(tmp_path / "x.jsonl", ROWS[:1])
    (tmp_path / "0.mp4").write_bytes((folder / "0.mp4").read_bytes())
    SampleEncoder(processor, cache)(read_samples(copy)[0])
    assert (cache.found, cache.stored) == (1, 1), "the same content under another path"
    (tmp_path / "0.mp4").write_bytes((folder / "1.mp4").read_bytes())
    SampleEncoder(processor, cache)(read_samples(copy)[0])
    _, other = tiny_model(num_frames=4)
    SampleEncoder(other, cache)(samples[0])
    assert (cache.found, cache.stored) == (1, 3), "other content, other options"
    for entry in (tmp_path / "cache").rglob("*.safetensors"):
        data = bytearray(entry.read_bytes())
        data[-1] ^= 1
        entry.write_bytes(bytes(data))
    again = SampleEncoder(processor, cache)(samples[0])
    assert len(cache.corrupt) == 1
    assert torch.equal(again.vision["pixel_values"], first.vision["pixel_values"])


def test_rows_are_filled_and_not_overfilled() -> None:
    lengths = torch.randint(1, 60, (300,), generator=torch.Generator().manual_seed(0)).tolist()
    rows = pack_rows(lengths, 100, seed=3)
    assert sorted(i for row in rows for i in row) == list(range(300))
    sums = [sum(lengths[i] for i in row) for row in rows]
    assert max(sums) <= 100
    assert len(rows) <= 1.1 * sum(lengths) / 100
    assert rows == pack_rows(lengths, 100, seed=3)
    assert rows != pack_rows(lengths, 100, seed=4)
    with pytest.raises(InvalidArgumentError, match="longest"):
        pack_rows(lengths, 50)


def test_a_model_that_mixes_packed_samples_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = tiny_model()
    check_packing(model)
    forward = type(model).forward
    monkeypatch.setattr(type(model), "forward", lambda self, **k: forward(self, **{**k, "use_cache": True}))
    with pytest.raises(InvalidArgumentError, match="see each other"):
        check_packing(model)


def test_rows_of_several_samples_need_packing(folder: Path) -> None:
    _, processor = tiny_model()
    sample = SampleEncoder(processor)(read_samples(folder / "x.jsonl")[2])
    with pytest.raises(InvalidArgumentError, match="unless packed"):
        Collator(pad=1, packed=False)([[sample, sample]])
