"""The bank over gloo ranks against one dense process: unequal batches, uneven shards, DDP's and FSDP's averages."""

from __future__ import annotations

import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from bank_cases import WIDTH, Case, cases, dense_loss, dense_truth, make_bank, sampled_by_hand
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.pretrain import BankConfig, ConceptBank, RowAdamW, clip_global_norm

pytestmark = pytest.mark.skipif(not dist.is_available() or os.name == "nt", reason="needs gloo over files")
LEARNING = Case(BankConfig(classes=53, sample_rate=0.4, scale=12.0, chunk=7), (9, 0, 5, 3), columns=3)
FEATURES = 5
STEPS = 3


def encoder(how):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(FEATURES, 7), nn.Tanh(), nn.Linear(7, WIDTH)).double()
    if how == "ddp":
        return DistributedDataParallel(model)
    if how == "fsdp2":
        from torch.distributed.fsdp import fully_shard

        fully_shard(model[0])
        return fully_shard(model)
    return model


def features(rank, micro):
    generator = torch.Generator().manual_seed(10 * rank + micro)
    return torch.randn(LEARNING.sizes[rank], FEATURES, generator=generator, dtype=torch.float64)


def learn(model, bank, ranks):
    """Steps of two micro batches with a common clip. ``ranks``: whose samples this process sees."""
    optimizers = torch.optim.AdamW(model.parameters(), lr=0.01), RowAdamW([bank], lr=0.01, weight_decay=0.1)
    norms = []
    for step in range(STEPS):
        for micro in range(2):
            embeddings = model(torch.cat([features(rank, micro) for rank in ranks]))
            labels = torch.cat([LEARNING.batch(rank)[1] for rank in ranks]).roll(micro, 1)
            (bank(embeddings, labels, step=step).loss / 2).backward()
        norms.append(clip_global_norm(model.parameters(), [bank], 0.5))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return torch.stack(norms)


def whole(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def refusals(rank):
    """What every rank raises when rank 1 alone is wrong, and that the next step still works."""
    case = Case(BankConfig(classes=53), (4,) * dist.get_world_size())
    bank, (embeddings, labels) = make_bank(case), case.batch(rank)
    wrong = labels.clone()
    wrong[0, 0] = 53 if rank == 1 else 0
    seen = []
    for arguments in (
        (embeddings, wrong, 0),
        (embeddings[:, : WIDTH - (rank == 1)], labels, 0),
        (embeddings, labels, int(rank == 1)),
    ):
        try:
            bank(*arguments[:2], step=arguments[2])
        except (InvalidArgumentError, ShapeError) as error:
            seen.append(str(error))
    return [*seen, bool(torch.isfinite(bank(embeddings, labels, step=0).loss))]


def losses(rank, world):
    found = {}
    for name, case in cases(world).items():
        bank, (embeddings, labels) = make_bank(case), case.batch(rank)
        result = bank(embeddings.requires_grad_(), labels, step=case.step)
        result.loss.backward()
        rows = None if bank.rows.grad is None else bank.rows.grad.to_dense()
        found[name] = {
            "loss": result.loss.detach(),
            "each": result.loss_B,
            "accuracy": result.accuracy.item(),
            "labelled": result.labelled,
            "embeddings": embeddings.grad,
            "rows": torch.zeros_like(bank.rows) if rows is None else rows,
            "sparse": rows is not None and bank.rows.grad.is_sparse,
            "range": bank.row_range,
        }
    return found


def worker(rank, world, place, ways):
    os.environ["USE_LIBUV"] = "0"
    dist.init_process_group("gloo", init_method=f"file://{place}/rendezvous", rank=rank, world_size=world)
    torch.set_num_threads(1)
    found = {"losses": losses(rank, world), "refusals": refusals(rank)}
    for how in ways:
        model, bank = encoder(how), make_bank(LEARNING)
        norms = learn(model, bank, [rank])
        state = {name.removeprefix("module."): whole(p).detach() for name, p in model.named_parameters()}
        found[how] = {"norms": norms, "encoder": state, "bank": bank.full_state()}
    groups = [dist.new_group([r]) for r in range(world)]
    found["alone"] = make_bank(LEARNING, group=groups[rank]).row_range
    try:
        make_bank(LEARNING, group=groups[1 - min(rank, 1)])
    except InvalidArgumentError as error:
        found["outside"] = str(error)
    torch.save(found, f"{place}/{rank}.pt")
    dist.barrier()
    os._exit(0)  # taking DDP and gloo apart can lock up: their thread wants the GIL that waits for it (torch 2.13)


def ranks(world, place, ways):
    mp.spawn(worker, (world, str(place), ways), nprocs=world)
    return [torch.load(place / f"{rank}.pt") for rank in range(world)]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return ranks(2, tmp_path_factory.mktemp("two"), ("ddp",))


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    return ranks(4, tmp_path_factory.mktemp("four"), ("ddp", "fsdp2"))


WORLDS = [pytest.param("two", id="2"), pytest.param("four", id="4", marks=pytest.mark.slow)]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", cases(2))
def test_ranks_equal_one_dense_process(world, name, request):
    found = [one["losses"][name] for one in request.getfixturevalue(world)]
    case = cases(len(found))[name]
    truth = dense_truth(case)
    assert [one["range"][1] for one in found[:-1]] == [one["range"][0] for one in found[1:]]
    rows = torch.cat([one["rows"] for one in found])
    torch.testing.assert_close(rows, truth["rows"], rtol=1e-6, atol=1e-9)
    for rank, one in enumerate(found):
        torch.testing.assert_close(one["loss"], truth["loss"].double(), rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(one["each"], truth["each"][rank], rtol=1e-6, atol=1e-9, equal_nan=True)
        assert not one["each"].requires_grad
        assert one["accuracy"] == pytest.approx(truth["accuracy"], nan_ok=True)
        assert one["labelled"] == truth["labelled"]
        # times the ranks, because DDP and FSDP average
        wanted = len(found) * truth["embeddings"][rank]
        torch.testing.assert_close(one["embeddings"], wanted, rtol=1e-6, atol=1e-9)
        assert one["sparse"] == (case.config.sample_rate < 1)


@pytest.mark.parametrize(
    ("world", "how"),
    [("two", "ddp"), *(pytest.param("four", how, marks=pytest.mark.slow) for how in ("ddp", "fsdp2"))],
)
def test_steps_of_encoder_and_bank_equal_those_of_one_process(world, how, request):
    found = request.getfixturevalue(world)
    model, bank = encoder("alone"), make_bank(LEARNING)
    norms = learn(model, bank, range(len(found)))
    assert (norms > 0.5).all(), "the clip must have had something to do"
    assert found[1][how]["bank"] == {}
    torch.testing.assert_close(found[0][how]["bank"]["rows"], bank.rows.detach(), rtol=1e-6, atol=1e-9)
    for one in found:
        torch.testing.assert_close(one[how]["norms"], norms, rtol=1e-9, atol=0)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(one[how]["encoder"][name], parameter.detach(), rtol=1e-6, atol=1e-9)


def test_one_process_equals_dense_autograd_through_an_encoder():
    """Closes the circle of the test above: its one process is that of the formula."""
    model, bank = encoder("alone"), make_bank(LEARNING)
    x, labels = features(0, 0), LEARNING.batch(0)[1]
    bank(model(x), labels, step=LEARNING.step).loss.backward()
    found = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    dense_loss(LEARNING, model(x), bank.rows.detach(), labels, sampled_by_hand(LEARNING)).backward()
    for gradient, p in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(gradient, p.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("world", WORLDS)
def test_an_error_of_one_rank_is_one_of_all(world, request):
    for rank, one in enumerate(request.getfixturevalue(world)):
        label, width, step, goes_on = one["refusals"]
        if rank == 1:
            assert "labels=53" in label
            assert "0 to 52" in label
            assert "embeddings" in width
        else:
            assert "rank 1" in label
            assert "rank 1" in width
        assert "the same step on every rank" in step
        assert goes_on


@pytest.mark.parametrize("world", WORLDS)
def test_a_group_of_one_owns_all_rows(world, request):
    for one in request.getfixturevalue(world):
        assert one["alone"] == (0, 53)
        assert "this process is in" in one["outside"]


def test_sampled_classes_do_not_depend_on_the_number_of_ranks():
    case = Case(BankConfig(classes=1001, sample_rate=0.25), (1,))
    wanted = sampled_by_hand(case)
    for world in (1, 2, 3, 4):
        from onevision_encoder.pretrain.rows import sampled_rows, split_rows

        spans = [split_rows(1001, world, rank) for rank in range(world)]
        found = [start + sampled_rows(5, "object", case.step, start, stop, 0.25) for start, stop in spans]
        assert torch.cat(found).tolist() == wanted
    assert isinstance(make_bank(case), ConceptBank)
