"""Fine-tuning by transformers' Trainer: its optimiser, checkpoints, processes; our stages, data and record.

The output folder holds ``training.json`` (what this run is, and the samples left out), ``log.jsonl`` (a line for each
log of the Trainer), ``checkpoint-N`` folders, ``tokens`` (the cache, unless it is elsewhere), and at the end the
model with its processor, or the adapters.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainingArguments, set_seed

from onevision_encoder import __version__
from onevision_encoder.errors import BrokenSamplesError, InvalidArgumentError, OneVisionError
from onevision_encoder.lmm.loading import is_adapter, load_trained, need
from onevision_encoder.lmm.samples import Sample, read_samples
from onevision_encoder.lmm.stages import enter_stage
from onevision_encoder.lmm.token_cache import TokenCache
from onevision_encoder.lmm.training_config import TrainingConfig
from onevision_encoder.lmm.training_data import Collator, Rows, SampleEncoder, check_packing, pack_rows
from onevision_encoder.lmm.training_log import LogFile, Tick
from onevision_encoder.pretrain.settings import differences
from onevision_encoder.tokens.files import write_atomically

RECORD, LOG, CACHE = "training.json", "log.jsonl", "tokens"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingReport:
    """What was done: ``facts`` is JSON-ready; ``broken``: (line, cause) of the samples left out."""

    facts: Mapping[str, Any]
    broken: tuple[tuple[int, str], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Surveyed:
    """Samples that can be trained on, their tokens for the language model, and how their media were read."""

    samples: list[Sample]
    lengths: list[int]
    visual: int
    paths: dict[str, int]
    broken: tuple[tuple[int, str], ...]


def fine_tune(
    model: str | Path,
    data: str | Path,
    out: str | Path,
    config: TrainingConfig | None = None,
    *,
    val: str | Path | None = None,
    media_root: str | Path | None = None,
    cache: str | Path | None = None,
    dtype: str = "float32",
    device: str = "auto",
    resume: bool = False,
    tick: Tick | None = None,
    **reading: Any,
) -> TrainingReport:
    """Train a composed model on a file of conversations (see :mod:`..samples`).

    Before the first step every sample is read once, so that what is broken shows at once and not on the third day.

    Args:
        model: folder or hub id of a composed model, or of adapters, which then become part of it (not for stage lora).
            out: a new folder, ``tokens`` of an earlier run apart, or with ``resume`` the one of the same run that was
            interrupted. val: another file, for the loss on it each ``save_every`` steps. media_root: None = the folder
            of each file. cache: None = ``out/tokens``.
        dtype: of the weights: float32, bfloat16, or auto = as saved. device: auto or cpu.
        tick: called with ("train" or "val", samples read, samples) and then ("steps", steps taken, steps).
        reading: defaults of the processor (``budget``, ``video_backend``, ``num_frames`` ...), saved with the model.
    Raises:
        ConversationFileError, BrokenSamplesError: naming every line. MissingExtraError: no accelerate, no peft.
        InvalidArgumentError: a folder that is taken, nothing to resume, another run in it. CheckpointError: the model.
    """
    need("accelerate", *(["peft"] if config is not None and config.stage == "lora" else []), purpose="training")
    config, out = config or TrainingConfig(), Path(out)
    run = _run(config, model, {"train": data, "val": val}, dtype, reading)
    if config.stage == "lora" and is_adapter(model):
        allowed = "a whole model: new adapters would stand on the model below these. ove lmm merge makes one of both"
        raise InvalidArgumentError("model", str(model), allowed)
    start = _checkpoint(out, run) if resume else None
    if not resume and os.environ.get("RANK", "0") == "0":  # the others may come when the first has begun
        _check_fresh(out)
    warm, processor = load_trained(model, dtype=dtype if dtype == "auto" else getattr(torch, dtype), **reading)
    processor.require_chat_template()
    encode = SampleEncoder(processor, TokenCache(out / CACHE if cache is None else Path(cache)))
    limit = config.max_tokens or getattr(warm.config.text_config, "max_position_embeddings", None)
    files = {name: Path(file) for name, file in (("train", data), ("val", val)) if file is not None}
    surveyed = {
        name: _survey(name, file, read_samples(file, media_root), encode, config, limit, tick)
        for name, file in files.items()
    }
    rows = {name: _rows(part, config) for name, part in surveyed.items()}
    facts = {**run, "data": {name: _facts(part, rows[name]) for name, part in surveyed.items()}}
    write_atomically(out / RECORD, (json.dumps(facts, indent=2) + "\n").encode())
    if Path(model).is_dir():
        warm.name_or_path = str(Path(model).resolve())  # adapters name it as their base, wherever they are loaded
    set_seed(config.seed)  # adapters are drawn
    if config.pack is not None:
        check_packing(warm)
    trained = enter_stage(warm, config)
    sets = {name: Rows(part.samples, rows[name], encode) for name, part in surveyed.items()}
    trainer = _trainer(trained, processor, sets, out, config, device=device, tick=tick)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the Trainer's own affairs, which change with each of its versions
        trainer.train(resume_from_checkpoint=None if start is None else str(start))
    trainer.save_model(str(out))
    number = sum(p.numel() for p in trained.parameters() if p.requires_grad)
    last = _summary(out / LOG)
    done = {**facts, "steps": trainer.state.global_step, "trained_parameters": number, **last}
    return TrainingReport(facts=done, broken=tuple(b for part in surveyed.values() for b in part.broken))


def _run(config: TrainingConfig, model: Any, files: Mapping[str, Any], dtype: str, reading: Any) -> dict[str, Any]:
    """What must be the same for a run to go on: all but how often it is saved, logged, and by how many it is read."""
    kept = {k: v for k, v in asdict(config).items() if k not in ("save_every", "keep", "log_every", "workers")}
    digests = {
        name: hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file and Path(file).is_file() else None
        for name, file in files.items()
    }
    run = {"version": __version__, "model": str(model), "dtype": dtype, "config": kept, "files": digests}
    made: dict[str, Any] = json.loads(json.dumps({**run, "reading": reading}))
    return made


def _holds_a_run(out: Path) -> bool:
    """Tokens alone, of a run that ended before its first step, are worth keeping and in nobody's way."""
    return out.is_dir() and any(path.name != CACHE for path in out.iterdir())


def _check_fresh(out: Path) -> None:
    if _holds_a_run(out):
        found = "resume=True goes on with the run in it" if (out / RECORD).is_file() else "it is not empty"
        raise InvalidArgumentError("out", str(out), f"a new folder: {found}")


def _checkpoint(out: Path, run: Mapping[str, Any]) -> Path | None:
    """The last whole checkpoint of the same run; None where it was stopped before the first."""
    if not (out / RECORD).is_file():
        if (out / CACHE).is_dir() and not _holds_a_run(out):
            return None
        raise InvalidArgumentError("resume", str(out), f"a folder with a run to go on with: no {RECORD} there")
    before = json.loads((out / RECORD).read_text(encoding="utf-8"))
    for name, value in run.items():
        for part, mine, its in differences(value, before.get(name)):
            raise InvalidArgumentError(part or name, mine, f"to resume, the run's own: {its!r}")
    found = [path for path in out.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return max(found, key=lambda path: int(path.name.partition("-")[2]), default=None)


def _survey(
    name: str,
    file: Path,
    samples: Sequence[Sample],
    encode: SampleEncoder,
    config: TrainingConfig,
    limit: int | None,
    tick: Tick | None,
) -> _Surveyed:
    """Read every sample once, which fills the cache. Raises BrokenSamplesError for broken ones, unless left out."""
    longest = min((n for n in (limit, config.pack) if n is not None), default=None)
    good, lengths, visual, broken = [], [], 0, []
    paths: dict[str, int] = {}
    for i, sample in enumerate(samples):
        try:
            encoded = encode(sample)
        except OneVisionError as error:
            broken.append((sample.line, str(error)))
        else:
            length = len(encoded.input_ids)
            if longest is not None and length > longest:
                broken.append((sample.line, f"{length} tokens, more than {longest}"))
            else:
                good.append(sample)
                lengths.append(length)
                visual += sum(medium.tokens for medium in encoded.media)
                for medium in encoded.media:
                    paths[medium.path] = paths.get(medium.path, 0) + 1
        if tick is not None:
            tick(name, i + 1, len(samples))
    if broken and (config.broken == "refuse" or not good):
        raise BrokenSamplesError(file, broken)
    return _Surveyed(samples=good, lengths=lengths, visual=visual, paths=paths, broken=tuple(broken))


def _rows(part: _Surveyed, config: TrainingConfig) -> list[list[int]]:
    if config.pack is None:
        return [[i] for i in range(len(part.samples))]
    return pack_rows(part.lengths, config.pack, seed=config.seed)


def _facts(part: _Surveyed, rows: Sequence[Sequence[int]]) -> dict[str, Any]:
    return {
        "samples": len(part.samples),
        "rows": len(rows),
        "tokens": sum(part.lengths),
        "visual_tokens": part.visual,
        "media": part.paths,
        "left_out": [{"line": line, "cause": cause} for line, cause in part.broken],
    }


def _trainer(
    model: Any,
    processor: Any,
    sets: Mapping[str, Any],
    out: Path,
    config: TrainingConfig,
    *,
    device: str,
    tick: Tick | None,
) -> Trainer:
    known = {field.name for field in fields(TrainingArguments)}
    saving = "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
    more: dict[str, Any] = {saving: config.checkpoint_gradients}
    if config.steps is not None:
        more["max_steps"] = config.steps
    if "val" in sets:
        more |= {"eval_strategy": "steps", "eval_steps": config.save_every, "prediction_loss_only": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = TrainingArguments(
            output_dir=str(out),
            num_train_epochs=config.epochs,
            per_device_train_batch_size=config.batch,
            per_device_eval_batch_size=config.batch,
            gradient_accumulation_steps=config.accumulate,
            learning_rate=config.rate,
            lr_scheduler_type=config.schedule,
            warmup_steps=config.warmup,
            weight_decay=config.weight_decay,
            max_grad_norm=config.clip,
            bf16=config.bf16,
            seed=config.seed,
            data_seed=config.seed,
            full_determinism=config.exact,
            save_steps=config.save_every,
            save_total_limit=config.keep,
            logging_steps=config.log_every,
            logging_first_step=True,
            dataloader_num_workers=config.workers,
            dataloader_pin_memory=torch.cuda.is_available() and device != "cpu",
            remove_unused_columns=False,
            report_to=[],
            disable_tqdm=True,
            use_cpu=device == "cpu",
            **more,
        )
    if arguments.n_gpu > 1:
        raise InvalidArgumentError("device", f"{arguments.n_gpu} GPUs, one process", "a process a GPU: use torchrun")
    pad = processor.tokenizer.pad_token_id
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=sets["train"],
        eval_dataset=sets.get("val"),
        data_collator=Collator(pad=0 if pad is None else pad, packed=config.pack is not None),
        processing_class=processor,
        callbacks=[LogFile(out / LOG, tick)],
    )
    trainer.remove_callback(PrinterCallback)  # standard output is the caller's
    return trainer


def _summary(log: Path) -> dict[str, Any]:
    """The first and the last loss of the log."""
    losses = [row["loss"] for row in map(json.loads, log.read_text("utf-8").splitlines()) if "loss" in row]
    return {"first_loss": losses[0], "last_loss": losses[-1]} if losses else {}
