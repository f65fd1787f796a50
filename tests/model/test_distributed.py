"""Two processes over gloo, each with its own clips, against one process with all of them."""

from __future__ import annotations

import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from encoders import random_pack, scaled_model
from torch.nn.parallel import DistributedDataParallel

PACKS = ([5, 9], [7, 3, 3])


def loss_of(model, rank):
    patches, positions, bounds = random_pack(PACKS[rank], seed=rank)
    output = model(patches, patch_positions=positions, cu_seqlens=bounds.tolist())
    return output.pooler_output.square().mean() + output.last_hidden_state.abs().mean()


def checkpointing(model):
    # the old name warns in new versions of transformers, the new one is absent in old ones
    new = hasattr(model, "activation_checkpointing_enable")
    getattr(model, f"{'activation' if new else 'gradient'}_checkpointing_enable")()


def wrapped(model, how):
    if how == "ddp":
        return DistributedDataParallel(model)
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy()
    if how == "fsdp2-bf16":  # the model casts by itself, and float positions must not be rounded
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    if how == "fsdp2-checkpointing":
        checkpointing(model)
    for layer in model.encoder.layers:
        fully_shard(layer, mp_policy=policy)
    return fully_shard(model, mp_policy=policy)


def worker(rank, place, how):
    os.environ["USE_LIBUV"] = "0"
    dist.init_process_group("gloo", init_method=f"file://{place}/rendezvous", rank=rank, world_size=2)
    torch.set_num_threads(1)
    model = wrapped(scaled_model().train(), how)
    loss = loss_of(model, rank)
    loss.backward()
    gradients = {}
    for name, parameter in model.named_parameters():
        gradient = parameter.grad.full_tensor() if hasattr(parameter.grad, "full_tensor") else parameter.grad
        gradients[name.removeprefix("module.")] = gradient
    torch.save({"loss": loss.detach(), "gradients": gradients}, f"{place}/{rank}.pt")
    dist.barrier()
    os._exit(0)  # taking DDP and gloo apart can lock up: their thread wants the GIL that waits for it (torch 2.13)


@pytest.mark.slow
@pytest.mark.skipif(not dist.is_available() or os.name == "nt", reason="needs gloo over files")
@pytest.mark.parametrize("how", ["ddp", "fsdp2", "fsdp2-checkpointing", "fsdp2-bf16"])
def test_two_processes_equal_one(how, tmp_path):
    mp.spawn(worker, (str(tmp_path), how), nprocs=2)
    model = scaled_model().train()
    losses = [loss_of(model, rank) for rank in range(2)]
    (sum(losses) / 2).backward()
    tolerance = 0.06 if how == "fsdp2-bf16" else 1e-5
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert torch.allclose(found["loss"].float(), losses[rank], rtol=tolerance)
        assert set(found["gradients"]) == {name for name, _ in model.named_parameters()}
        for name, parameter in model.named_parameters():
            error = (found["gradients"][name] - parameter.grad).norm() / parameter.grad.norm().clamp(min=1e-3)
            assert error < tolerance, (name, float(error))
