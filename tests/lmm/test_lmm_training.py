"""Training with transformers' and others' own tools: they must find nothing unusual in the composed model."""

from __future__ import annotations

import importlib.util
import os
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tiny_parts import image, tiny_model, user, video
from torch.nn.parallel import DistributedDataParallel

NEEDS_PEFT = pytest.mark.skipif(not importlib.util.find_spec("peft"), reason="needs peft, of the extra dev")
NEEDS_ACCELERATE = pytest.mark.skipif(not importlib.util.find_spec("accelerate"), reason="needs accelerate, of dev")

ANSWERS = ("left", "right", "up", "down", "red", "green", "blue", "still")


def samples() -> list[list[dict[str, Any]]]:
    """Eight conversations told apart by what is seen alone: four pictures, four videos."""
    media = [image(seed, 28, 28) for seed in range(4)] + [video(seed, 4, budget=4) for seed in range(4)]
    return [
        [*user(medium, "what is this"), {"role": "assistant", "content": answer}]
        for medium, answer in zip(media, ANSWERS, strict=True)
    ]


def collate(processor: Any, conversations: Any) -> dict[str, Any]:
    """Labels on the answers alone."""
    inputs = dict(processor.apply_chat_template(conversations, tokenize=True, return_assistant_tokens_mask=True))
    inputs["labels"] = inputs["input_ids"].masked_fill(inputs.pop("assistant_masks") == 0, -100)
    return inputs


def answers(model: Any, processor: Any, conversations: Any) -> list[str]:
    prompts = [conversation[:-1] for conversation in conversations]
    inputs = processor.apply_chat_template(prompts, tokenize=True, add_generation_prompt=True)
    written = model.generate(**inputs, max_new_tokens=3, do_sample=False, pad_token_id=1, eos_token_id=3)
    cut = written[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in processor.batch_decode(cut, skip_special_tokens=True)]


@pytest.mark.slow
@pytest.mark.parametrize("merger", ["none", "2x2", "attention"])
def test_eight_samples_are_learned_by_heart(merger: str) -> None:
    model, processor = tiny_model(merger)
    conversations = samples()
    batch = collate(processor, conversations)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    before = answers(model.eval(), processor, conversations)
    for _ in range(80):
        loss = model.train()(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert before != list(ANSWERS)
    assert float(loss.detach()) < 0.05
    assert answers(model.eval(), processor, conversations) == list(ANSWERS)


def test_the_loss_is_that_of_the_answers() -> None:
    model, processor = tiny_model()
    batch = collate(processor, samples()[:3])
    labels = batch["labels"]
    assert (labels != -100).sum() == 3 * 2
    output = model(**batch)
    log_p = output.logits[:, :-1].log_softmax(-1).gather(-1, labels[:, 1:].clamp(min=0)[..., None])[..., 0]
    assert torch.allclose(output.loss, -log_p[labels[:, 1:] != -100].mean(), atol=1e-6)


def test_eager_and_sdpa_agree() -> None:
    (sdpa, processor), (eager, _) = tiny_model(), tiny_model(attn_implementation="eager")
    assert eager.vision_model.config._attn_implementation == "eager"
    assert eager.language_model.config._attn_implementation == "eager"
    batch = collate(processor, samples())
    mine = batch["attention_mask"].bool()
    with torch.inference_mode():
        assert torch.allclose(sdpa(**batch).logits[mine], eager(**batch).logits[mine], atol=1e-5)


def test_bfloat16_stays_near(tmp_path: Path) -> None:
    model, processor = tiny_model()
    batch = collate(processor, samples())
    with torch.inference_mode():
        exact = model(**batch).logits[batch["attention_mask"].bool()]
        half = model.to(torch.bfloat16)(**batch).logits[batch["attention_mask"].bool()]
    assert half.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(half.float().flatten(), exact.flatten(), dim=0) > 0.999


@NEEDS_PEFT
@pytest.mark.slow  # the import of peft alone takes seconds
@pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed:FutureWarning")  # peft's own habits
def test_lora_trains_adapters_alone_and_merges(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model, processor = tiny_model()
    conversations = [*samples()[:2], [*user("what"), {"role": "assistant", "content": "yes"}]]
    batch = collate(processor, conversations)
    with torch.inference_mode():
        base = model(**batch).logits
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=4, target_modules=r"language_model\..*\.(q_proj|v_proj)", modules_to_save=["projector"]
    )
    adapted = peft.get_peft_model(model, config)
    with torch.inference_mode():
        assert torch.allclose(adapted(**batch).logits, base, atol=1e-6)
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("lora_" in name or "projector" in name for name in trained)
    before = {name: parameter.detach().clone() for name, parameter in adapted.named_parameters()}
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.5)
    adapted.train()
    losses = []
    for _ in range(5):
        loss = adapted(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    adapted.eval()
    assert losses[-1] < losses[0]
    changed = {name for name, p in adapted.named_parameters() if not torch.equal(p, before[name])}
    assert changed <= trained
    assert any("lora_B" in name for name in changed)
    with torch.inference_mode():
        moved = adapted(**batch).logits
    assert answers(adapted, processor, conversations[:2])
    adapted.save_pretrained(tmp_path)
    fresh, _ = tiny_model()
    with torch.inference_mode():
        loaded = peft.PeftModel.from_pretrained(fresh, tmp_path)
        assert torch.allclose(loaded(**batch).logits, moved, atol=1e-5)
        assert torch.allclose(adapted.merge_and_unload()(**batch).logits, moved, atol=1e-5)


@NEEDS_ACCELERATE
@pytest.mark.slow
def test_the_trainer_trains_evaluates_and_resumes(tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    model, processor = tiny_model()
    conversations = [*samples()[:4], [*user("what"), {"role": "assistant", "content": "yes"}]]
    new = "activation_checkpointing" in {field.name for field in fields(TrainingArguments)}  # the old name warns
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=2,
        per_device_eval_batch_size=2,
        gradient_accumulation_steps=2,
        max_steps=6,
        learning_rate=3e-3,
        save_steps=3,
        logging_steps=1,
        remove_unused_columns=False,
        report_to=[],
        use_cpu=True,
        seed=0,
        **{"activation_checkpointing" if new else "gradient_checkpointing": True},
    )

    def trainer(model: Any) -> Any:
        return Trainer(
            model=model,
            args=arguments,
            train_dataset=conversations,
            eval_dataset=conversations,
            data_collator=lambda rows: collate(processor, rows),
            processing_class=processor,
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = trainer(model)
        before = first.evaluate()["eval_loss"]
        first.train()
        assert first.evaluate()["eval_loss"] < before
        assert (tmp_path / "checkpoint-3" / "processor_config.json").is_file()
        again, _ = tiny_model()
        trainer(again).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def parts_of(rank: int) -> tuple[Any, dict[str, Any]]:
    """One rank sees a picture and a video, the other reads text alone."""
    model, processor = tiny_model()
    conversations = [samples()[i] for i in (0, 5)]
    if rank:
        conversations = [[*user("what is this"), {"role": "assistant", "content": "yes no"}]]
    return model.train(), collate(processor, conversations)


def worker(rank: int, place: str, how: str) -> None:
    os.environ["USE_LIBUV"] = "0"
    dist.init_process_group("gloo", init_method=f"file://{place}/rendezvous", rank=rank, world_size=2)
    torch.set_num_threads(1)
    model, batch = parts_of(rank)
    if how == "ddp":
        model = DistributedDataParallel(model)
    else:
        from torch.distributed.fsdp import fully_shard

        for layer in [*model.vision_model.encoder.layers, *model.language_model.model.layers]:
            fully_shard(layer)
        fully_shard(model)
    model(**batch).loss.backward()
    gradients = {}
    for name, parameter in model.named_parameters():
        gradient = parameter.grad.full_tensor() if hasattr(parameter.grad, "full_tensor") else parameter.grad
        gradients[name.removeprefix("module.")] = gradient
    torch.save(gradients, f"{place}/{rank}.pt")
    dist.barrier()
    os._exit(0)  # taking DDP and gloo apart can lock up: their thread wants the GIL that waits for it (torch 2.13)


@pytest.mark.slow
@pytest.mark.skipif(not dist.is_available() or os.name == "nt", reason="needs gloo over files")
@pytest.mark.parametrize("how", ["ddp", "fsdp2"])
def test_two_processes_equal_one_though_one_of_them_sees_nothing(how: str, tmp_path: Path) -> None:
    mp.spawn(worker, (str(tmp_path), how), nprocs=2)
    model, _ = parts_of(0)
    (sum(model(**parts_of(rank)[1]).loss for rank in range(2)) / 2).backward()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert set(found) == {name for name, _ in model.named_parameters()}
        for name, parameter in model.named_parameters():
            error = (found[name] - parameter.grad).norm() / parameter.grad.norm().clamp(min=1e-3)
            assert error < 1e-4, (name, float(error))
