"""A run in one process: it learns, goes on to the bit where it was stopped, and says what is wrong."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import MadeStream, make_stream, small_config, weights_of
from stopping import StoppedError, stop_after

from onevision_encoder.errors import InvalidArgumentError, OneVisionError, WriteError
from onevision_encoder.model import load_encoder
from onevision_encoder.pretrain import train_state
from onevision_encoder.pretrain.config import CheckpointConfig, DataConfig, ParallelConfig
from onevision_encoder.pretrain.failures import DivergedError, InterruptedRunError, ResumeError
from onevision_encoder.pretrain.loop import Trainer
from onevision_encoder.pretrain.parallel import Ranks, SpreadEncoder, parameter_groups
from onevision_encoder.pretrain.run_folder import export_bank, export_encoder
from onevision_encoder.pretrain.run_log import read_metrics
from onevision_encoder.pretrain.schedule import rate_share
from onevision_encoder.pretrain.start import pretrain


def run(out: Path, **changes: Any) -> Any:
    stream = changes.pop("stream", make_stream)
    return pretrain(small_config(**changes), out, stream=stream, device="cpu", quiet=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 8 steps that nobody stopped."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    run(out)
    return out


def same(one: Path, other: Path) -> None:
    a, b = weights_of(one), weights_of(other)
    assert sorted(a) == sorted(b)
    assert [name for name in a if not np.array_equal(a[name], b[name])] == []


@pytest.mark.parametrize("background", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("steps", [4, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 6))])
def test_a_stopped_run_ends_with_the_same_bits(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, steps: int, background: bool
) -> None:
    keeping = CheckpointConfig(every=3, keep=2, background=background)
    with monkeypatch.context() as patched:
        stop_after(patched, steps)
        with pytest.raises(StoppedError):
            run(tmp_path, checkpoint=keeping)
    result = run(tmp_path, checkpoint=keeping)
    assert result.first == steps // 3 * 3
    same(tmp_path, whole)
    exact = ("step", "loss", "lr", "grad_norm", "loss/object/image", "accuracy/motion", "tokens")
    rows, expected = ([{name: row[name] for name in exact} for row in read_metrics(f)] for f in (tmp_path, whole))
    assert rows == expected
    starts = json.loads((tmp_path / "run.json").read_text())["starts"]
    assert [start["step"] for start in starts] == ([0, result.first] if result.first else [0])


@pytest.mark.slow
def test_checkpoints_hold_blocks_of_any_size(tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_state, "BLOCK", 5)
    stop_after(monkeypatch, 4)
    with pytest.raises(StoppedError):
        run(tmp_path)
    assert {name.split("rows")[1] for name in weights_of(tmp_path) if name.startswith("bank/object/rows")} == {
        "[0:5]",
        "[5:10]",
        "[10:13]",
    }
    monkeypatch.undo()
    run(tmp_path)
    same(tmp_path, whole)


@pytest.mark.slow
def test_it_learns(tmp_path: Path) -> None:
    result = run(tmp_path, steps=60, checkpoint=CheckpointConfig(every=100))
    rows = read_metrics(result.out)
    first, last = ([row["loss"] for row in rows[part]] for part in (slice(5), slice(-5, None)))
    assert np.mean(last) < 0.7 * np.mean(first)
    assert np.mean([row["accuracy/motion"] for row in rows[-5:]]) > 2 / 7


def test_the_rate_is_that_of_the_step(whole: Path) -> None:
    config = small_config()
    for row in read_metrics(whole):
        assert row["lr"] == config.optimizer.lr * rate_share(config.schedule, row["step"], config.steps)


def test_a_step_is_adamw_on_the_mean_gradient(tmp_path: Path, whole: Path) -> None:
    """The first step of the encoder, done again by hand with torch's own AdamW and norm."""
    config = small_config()
    state = train_state.build_state(config, Ranks())
    stream = MadeStream(4, 0, 1, 16)
    model, losses = state.encoder.model, []
    from onevision_encoder.pretrain.feed import to_device

    for _ in range(2):
        batch = to_device(next(stream), config.banks, torch.device("cpu"))
        x = model(batch.patches_ND, patch_positions=batch.positions_N3, cu_seqlens=batch.bounds).pooler_output
        losses.append(sum(b.config.weight * b(x, batch.labels[n], step=0).loss for n, b in state.banks.items()))
    (sum(losses) / 2).backward()
    rows = [bank.rows.grad.to_dense() for bank in state.banks.values()]
    norm = torch.cat([g.flatten() for g in [*(p.grad for p in model.parameters()), *rows]]).double().norm()
    row = read_metrics(whole)[0]
    assert row["loss"] == pytest.approx(float(sum(losses).detach()) / 2, rel=1e-6)
    assert row["grad_norm"] == pytest.approx(float(norm), rel=1e-6)
    for parameter in model.parameters():
        parameter.grad.mul_(config.optimizer.clip_norm / norm)
    lr = config.optimizer.lr * rate_share(config.schedule, 0, config.steps)
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.2), lr=lr, betas=(0.9, 0.95))
    optimizer.step()
    run(tmp_path / "one", checkpoint=CheckpointConfig(every=1, keep=100))
    kept = tmp_path / "one/checkpoints"
    for path in [path for path in kept.glob("step-*") if path.name != "step-00000001"]:
        shutil.rmtree(path)
    found = weights_of(tmp_path / "one")
    for name, parameter in model.named_parameters():
        assert np.allclose(found[f"encoder/{name}"], parameter.detach().numpy(), rtol=0, atol=3e-7), name


def test_norms_biases_and_the_probe_do_not_decay() -> None:
    model = train_state.first_encoder(small_config())
    decayed, exempt = parameter_groups(model, 0.2)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert decayed["weight_decay"] == 0.2
    assert exempt["weight_decay"] == 0
    free = {names[id(parameter)] for parameter in exempt["params"]}
    assert "head.probe" in free
    assert all(name == "head.probe" or "norm" in name or name.endswith("bias") for name in free)
    assert all(names[id(parameter)].endswith("weight") for parameter in decayed["params"])
    assert len(free) + len(decayed["params"]) == len(names)


def test_the_encoder_is_what_the_checkpoint_holds(tmp_path: Path, whole: Path) -> None:
    out = export_encoder(whole, tmp_path / "early", step=6)
    loaded, final = (load_encoder(path, dtype=torch.float32).model for path in (out, whole / "encoder"))
    found = weights_of(whole)
    for name, parameter in final.named_parameters():
        assert np.array_equal(parameter.detach().numpy(), found[f"encoder/{name}"])
    assert any(not torch.equal(a, b) for a, b in zip(loaded.parameters(), final.parameters(), strict=True))
    with pytest.raises(InvalidArgumentError, match="early"):
        export_encoder(whole, tmp_path / "early")
    with pytest.raises(ResumeError, match="step 5"):
        export_encoder(whole, tmp_path / "none", step=5)


def test_nonsense_stops_the_run_and_names_the_sample(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = SpreadEncoder.embed
    drawn = []

    def overflowing(self: SpreadEncoder, *args: Any) -> torch.Tensor:
        x_SC = embed(self, *args)
        drawn.append(len(x_SC))
        return x_SC * torch.tensor([1, torch.inf, 1, 1])[:, None] if len(drawn) == 10 else x_SC

    with monkeypatch.context() as patched:
        patched.setattr(SpreadEncoder, "embed", overflowing)
        with pytest.raises(
            DivergedError, match=r"step 4: loss is nan; samples sample37\. Nothing of this step"
        ) as caught:
            run(tmp_path)
    assert (caught.value.step, caught.value.ids) == (4, ("sample37",))
    assert sorted(p.name for p in (tmp_path / "checkpoints").glob("step*")) == ["step-00000003"]
    assert run(tmp_path).first == 3
    same(tmp_path, whole)


def test_ctrl_c_saves_and_the_run_goes_on(tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    do, before = Trainer._one_step, signal.getsignal(signal.SIGINT)  # jobs in the background ignore it

    def one_step(self: Trainer) -> None:
        if self.step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        do(self)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_one_step", one_step)
        with pytest.raises(InterruptedRunError, match=f"before step 5.*ove pretrain --out {tmp_path}"):
            run(tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    assert run(tmp_path).first == 5
    same(tmp_path, whole)


def test_another_configuration_is_refused_by_its_field(tmp_path: Path, whole: Path) -> None:
    for changes, field in (
        ({"steps": 9}, "steps"),
        ({"seed": 4}, "seed"),
        ({"optimizer": replace(small_config().optimizer, lr=1.0)}, "optimizer.lr"),
        ({"parallel": ParallelConfig(precision="bfloat16")}, "parallel.precision"),
    ):
        with pytest.raises(ResumeError, match=f"with {field} = ") as caught:
            run(whole, **changes)
        assert caught.value.field == field
    assert run(whole, name="renamed", checkpoint=CheckpointConfig(every=5)).first == 8, "these decide nothing"
    with pytest.raises(InvalidArgumentError, match="resume"):
        pretrain(small_config(), whole, resume=False, stream=make_stream, device="cpu", quiet=True)


def test_damaged_checkpoints_are_named_and_nothing_begins_anew(tmp_path: Path, whole: Path) -> None:
    place = tmp_path / "checkpoints"

    def fresh() -> None:
        shutil.rmtree(tmp_path)
        shutil.copytree(whole, tmp_path)

    fresh()
    data = next((place / "step-00000008").glob("*.distcp"))
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ResumeError, match=r"step-00000008: is damaged.*bytes instead of.*step-00000006"):
        run(tmp_path)
    fresh()
    (place / "step-00000008/.metadata").unlink()
    with pytest.raises(ResumeError, match=r"metadata is missing"):
        run(tmp_path)
    fresh()
    (place / "step-00000008/state.json").write_text("{")
    with pytest.raises(ResumeError, match="no complete checkpoint"):
        run(tmp_path)
    fresh()
    shutil.rmtree(place / "step-00000008")
    with pytest.raises(ResumeError, match="latest names it"):
        run(tmp_path)
    shutil.rmtree(place)
    with pytest.raises(ResumeError, match="no checkpoint"):
        run(tmp_path)
    assert not place.exists()


@pytest.mark.slow
def test_half_of_a_save_is_never_taken(tmp_path: Path, whole: Path) -> None:
    left = tmp_path / "checkpoints/.part-00000003"
    left.mkdir(parents=True)
    (left / "__0_0.distcp").write_bytes(b"half")
    run(tmp_path)
    assert not left.exists()
    same(tmp_path, whole)


@pytest.mark.parametrize("background", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_full_disk_stops_the_run_and_keeps_the_last_checkpoint(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, background: bool
) -> None:
    keeping = CheckpointConfig(every=3, background=background)
    sync, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if (tmp_path / "checkpoints/latest").is_file():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(WriteError, match=r"No space left on device.*goes on from the checkpoint before"):
            run(tmp_path, checkpoint=keeping)
    assert calls
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["latest", "step-00000003"]
    assert run(tmp_path, checkpoint=keeping).first == 3
    same(tmp_path, whole)


def test_only_the_newest_are_kept(whole: Path) -> None:
    names = sorted(p.name for p in (whole / "checkpoints").iterdir())
    assert names == ["latest", "step-00000006", "step-00000008"]
    assert (whole / "checkpoints/latest").read_text() == "step-00000008\n"


@pytest.mark.slow
def test_pictures_grow_and_the_position_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    growing = DataConfig(batch_size=4, image_sizes={"0": 16, "0.5": 24})
    run(tmp_path / "whole", data=growing)
    rows = read_metrics(tmp_path / "whole")
    assert [row["image_size"] for row in rows] == [16] * 4 + [24] * 4
    assert [row["tokens"] for row in rows] == [8 * 16 * 3 // 2] * 4 + [8 * 36 * 3 // 2] * 4
    with monkeypatch.context() as patched:
        stop_after(patched, 5)
        with pytest.raises(StoppedError):
            run(tmp_path / "stopped", data=growing)
    run(tmp_path / "stopped", data=growing)
    same(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["bfloat16", "activation_checkpointing", "fsdp2"])
def test_ways_to_compute_agree(tmp_path: Path, whole: Path, setting: str) -> None:
    parallel = {
        "activation_checkpointing": ParallelConfig(activation_checkpointing=True),
        "bfloat16": ParallelConfig(precision="bfloat16"),
        "fsdp2": ParallelConfig(mode="fsdp2"),
    }[setting]
    run(tmp_path, parallel=parallel)
    found, expected = ([row["loss"] for row in read_metrics(folder)] for folder in (tmp_path, whole))
    assert found == pytest.approx(expected, rel=6e-2 if setting == "bfloat16" else 1e-4)
    masters = weights_of(tmp_path)
    assert {array.dtype for name, array in masters.items() if name.startswith(("encoder", "adamw"))} == {np.dtype("f4")}
    if setting == "bfloat16":
        assert found != expected


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"batch_size=4.*multiple.*3"):
        small_config().rank_batch(3)
    with pytest.raises(InvalidArgumentError, match=r"data\.sources"):
        pretrain(small_config(), tmp_path, device="cpu", quiet=True)


def test_micro_steps_of_a_plain_encoder_need_nothing() -> None:
    encoder = SpreadEncoder(train_state.first_encoder(small_config()), ParallelConfig(), Ranks())
    with encoder.micro_step(last=False), encoder.micro_step(last=True):
        assert not encoder.sharded


def test_attention_is_chosen_for_each_pack() -> None:
    patches, positions = torch.randn(520, 48), torch.zeros(520, 3)
    for precision, attention, bounds, expected in (
        ("bfloat16", "auto", [0, 4, 8], "eager"),
        ("bfloat16", "auto", [0, 4, 520], "sdpa"),
        ("float32", "auto", [0, 4, 8], "sdpa"),
        ("float32", "eager", [0, 4, 520], "eager"),
    ):
        parallel = ParallelConfig(precision=precision, attention=attention)
        encoder = SpreadEncoder(train_state.first_encoder(small_config()), parallel, Ranks())
        encoder.embed(patches[: bounds[-1]], positions[: bounds[-1]], bounds)
        assert encoder.model.config._attn_implementation == expected
    with pytest.raises(InvalidArgumentError, match="attn_implementation"):
        SpreadEncoder(train_state.first_encoder(small_config()), ParallelConfig(attention="nope"), Ranks())


def test_a_run_starts_from_weights_and_goes_on_without_them(tmp_path: Path, whole: Path) -> None:
    """Stage 2 begins where stage 1 ended, banks included; once it has a checkpoint it needs stage 1 no more."""
    first = tmp_path / "first"
    shutil.copytree(whole / "encoder", first / "encoder")
    rows = export_bank(whole, "object", first / "object.safetensors")
    started = small_config(
        encoder=replace(small_config().encoder, init=str(first / "encoder")), bank_init={"object": str(rows)}
    )
    state, before = train_state.build_state(started, Ranks()), weights_of(whole)
    for name, parameter in state.encoder.model.named_parameters():
        assert np.array_equal(parameter.detach().numpy(), before[f"encoder/{name}"])
    assert np.array_equal(state.banks["object"].rows.detach().numpy(), before["bank/object/rows[0:13]"])
    assert not np.array_equal(state.banks["motion"].rows.detach().numpy(), before["bank/motion/rows[0:7]"])
    pretrain(replace(started, steps=1), tmp_path / "second", stream=make_stream, device="cpu", quiet=True)
    shutil.rmtree(first)
    again = pretrain(replace(started, steps=1), tmp_path / "second", stream=make_stream, device="cpu", quiet=True)
    assert again.first == 1
    with pytest.raises(OneVisionError, match="first"):
        train_state.build_state(started, Ranks())


def test_weights_of_another_shape_are_refused_by_the_field(whole: Path) -> None:
    encoder = small_config().encoder
    other = replace(encoder, init=str(whole / "encoder"), overrides={**encoder.overrides, "rope_mode": "rotary"})
    with pytest.raises(ResumeError, match="rope_mode is pairwise, the configuration says rotary"):
        train_state.first_encoder(small_config(encoder=other))
