"""The bank alone in its process: the formula, its gradients, what it refuses, and what it never holds."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch
from bank_cases import WIDTH, Case, cases, dense_loss, dense_truth, make_bank, sampled_by_hand
from torch.utils._python_dispatch import TorchDispatchMode

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.pretrain import BankConfig, ConceptBank
from onevision_encoder.pretrain.loss import chunk_rows

SMALL = Case(BankConfig(classes=11, sample_rate=1.0, scale=3.0, chunk=4), (5,))


@pytest.mark.parametrize("name", cases(1))
def test_loss_and_gradients_equal_dense_autograd(name):
    case = cases(1)[name]
    bank, (embeddings, labels) = make_bank(case), case.batch(0)
    result = bank(embeddings.requires_grad_(), labels, step=case.step)
    result.loss.backward()
    truth = dense_truth(case)
    torch.testing.assert_close(result.loss.detach(), truth["loss"].double(), rtol=1e-6, atol=1e-12)
    assert result.accuracy.item() == pytest.approx(truth["accuracy"], nan_ok=True)
    assert result.labelled == truth["labelled"]
    torch.testing.assert_close(embeddings.grad, truth["embeddings"][0], rtol=1e-6, atol=1e-9)
    if bank.rows.grad is None:
        assert not truth["touched"]
        return
    torch.testing.assert_close(bank.rows.grad.to_dense(), truth["rows"], rtol=1e-6, atol=1e-9)
    if case.config.sample_rate < 1:
        assert sorted(bank.rows.grad._indices()[0].tolist()) == truth["touched"]


def test_float32_is_near_float64():
    case = Case(BankConfig(classes=53, sample_rate=0.4), (9,))
    embeddings, labels = case.batch(0)
    exact, single = make_bank(case), make_bank(case).float()
    wanted, found = (bank(embeddings, labels, step=3).loss for bank in (exact, single))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=0)
    wanted.backward()
    found.backward()
    error = single.rows.grad.to_dense().double() - exact.rows.grad.to_dense()
    assert error.norm() < 1e-5 * exact.rows.grad.to_dense().norm()


@pytest.mark.parametrize("tau", [None, 0.3])
def test_gradcheck(tau):
    case = Case(BankConfig(classes=11, sample_rate=1.0, scale=3.0, chunk=4, filter=tau), (5,))
    bank, (embeddings, labels) = make_bank(case), case.batch(0)
    rows = (bank.rows.detach() * 100).requires_grad_()  # of length about 3, so that a step of 1e-6 is small

    def loss(embeddings, rows):
        return torch.func.functional_call(bank, {"rows": rows}, (embeddings, labels), {"step": 0}).loss

    assert torch.autograd.gradcheck(loss, (embeddings.requires_grad_(), rows))


def test_gradients_follow_what_the_loss_is_multiplied_by_and_add_up():
    bank, (embeddings, labels) = make_bank(SMALL), SMALL.batch(0)
    bank(embeddings, labels, step=0).loss.backward()
    once = bank.rows.grad.clone()
    (3 * bank(embeddings, labels, step=0).loss).backward()
    torch.testing.assert_close(bank.rows.grad, 4 * once)


def test_a_frozen_bank_still_gives_embeddings_their_gradient():
    case = cases(1)["sampled 0.4, filter"]
    bank, (embeddings, labels) = make_bank(case).requires_grad_(False), case.batch(0)
    bank(embeddings.requires_grad_(), labels, step=case.step).loss.backward()
    assert bank.rows.grad is None
    torch.testing.assert_close(embeddings.grad, dense_truth(case)["embeddings"][0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("chunk", [1, 3, 53, 1000, None])
def test_the_chunk_changes_nothing_but_the_last_digits(chunk):
    case = cases(1)["scale 64, margin 0.3"]
    options = vars(case.config) | {"chunk": chunk}
    found = make_bank(Case(BankConfig(**options), case.sizes))(*case.batch(0), step=3).loss
    torch.testing.assert_close(found, make_bank(case)(*case.batch(0), step=3).loss, rtol=1e-12, atol=0)


def test_extreme_logits_neither_overflow_nor_vanish():
    """e^{64 cos} with opposite and equal rows, float32: a loss of 128 and one of nearly 0."""
    bank = ConceptBank("object", BankConfig(classes=2, sample_rate=1.0, margin=0.0), 2)
    bank.load_rows(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    ahead = torch.tensor([[1.0, 0.0]])
    assert bank(ahead, torch.tensor([[1]]), step=0).loss.item() == pytest.approx(128.0)
    near = bank(ahead, torch.tensor([[0]]), step=0)
    assert near.loss.item() == pytest.approx(0.0, abs=1e-30)
    assert near.accuracy == 1
    near.loss.backward()
    assert bank.rows.grad.isfinite().all()


def test_bfloat16_products_are_those_of_rounded_inputs():
    """The dispatch that a GPU takes, here as a CPU does it: rounded inputs, float32 sums."""
    case = Case(BankConfig(classes=500, scale=16.0, sample_rate=0.5, precision="bfloat16", chunk=64), (24,))
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.nn.functional.normalize(torch.randn(24, 64, generator=generator), dim=1)
    labels = torch.randint(0, 500, (24, 3), generator=generator)
    found = {}
    for precision in ("float32", "bfloat16"):
        bank = ConceptBank("object", BankConfig(**vars(case.config) | {"precision": precision}), 64)
        leaf = embeddings.clone().requires_grad_()
        loss = bank(leaf, labels, step=0).loss
        loss.backward()
        found[precision] = (loss.detach(), leaf.grad, bank.rows.grad.to_dense())
    assert found["float32"][0] != found["bfloat16"][0]
    torch.testing.assert_close(found["bfloat16"][0], found["float32"][0], rtol=1e-3, atol=0)
    for exact, rounded in zip(found["float32"][1:], found["bfloat16"][1:], strict=True):
        assert (exact - rounded).norm() < 0.01 * exact.norm()


@contextmanager
def coarse_products(way):
    """All that one can set so that torch rounds products."""
    if way == "new names":
        matmul = torch.backends.mkldnn.matmul
        before, matmul.fp32_precision = matmul.fp32_precision, "bf16"
    else:
        torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            yield
        if way == "new names":
            assert matmul.fp32_precision == "bf16"
        else:
            assert torch.get_float32_matmul_precision() == "medium"
    finally:
        if way == "new names":
            matmul.fp32_precision = before
        else:
            torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("way", ["old names", "new names"])
def test_products_do_not_heed_autocast_or_global_precision(way):
    if way == "new names" and not hasattr(torch.backends.mkldnn, "matmul"):
        pytest.skip(f"torch {torch.__version__} has no torch.backends.mkldnn.matmul")
    bank = ConceptBank("object", BankConfig(classes=300, sample_rate=1.0, precision="float32"), 64)
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(64, 64, generator=generator)
    labels = torch.randint(0, 300, (64, 2), generator=generator)
    bank(embeddings, labels, step=0).loss.backward()
    wanted, bank.rows.grad = bank.rows.grad, None
    with coarse_products(way):
        bank(embeddings, labels, step=0).loss.backward()
    assert torch.equal(bank.rows.grad, wanted)


def test_half_precision_embeddings_get_a_gradient_of_their_own_dtype():
    bank, (embeddings, labels) = make_bank(SMALL).float(), SMALL.batch(0)
    leaf = embeddings.bfloat16().requires_grad_()
    result = bank(leaf, labels, step=0)
    result.loss.backward()
    assert result.loss.dtype == torch.float32
    assert leaf.grad.dtype == torch.bfloat16
    assert leaf.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": torch.tensor([[11]])}, InvalidArgumentError, r"labels=11.*0 to 10.*'object'"),
        ({"labels": torch.tensor([[-2]])}, InvalidArgumentError, r"labels=-2"),
        ({"labels": torch.tensor([[0]], dtype=torch.int32)}, ShapeError, r"int32.*int64 \[1, P\]"),
        ({"labels": torch.tensor([0])}, ShapeError, "labels"),
        ({"labels": torch.tensor([[0], [1]])}, ShapeError, r"\[1, P\]"),
        ({"embeddings": torch.zeros(1, WIDTH + 1)}, ShapeError, r"\[B, 8\]"),
        ({"embeddings": torch.zeros(1, WIDTH, dtype=torch.int64)}, ShapeError, "floats"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, message):
    arguments = {"embeddings": torch.ones(1, WIDTH), "labels": torch.tensor([[0]])} | change
    with pytest.raises(error, match=message):
        make_bank(SMALL)(arguments["embeddings"], arguments["labels"], step=0)


def test_rows_of_half_precision_are_refused():
    with pytest.raises(ShapeError, match="master copy"):
        make_bank(SMALL).bfloat16()(torch.ones(1, WIDTH), torch.tensor([[0]]), step=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"classes": 0},
        {"sample_rate": 0.0},
        {"sample_rate": 1.1},
        {"sample_rate": float("nan")},
        {"scale": 0.0},
        {"scale": float("inf")},
        {"margin": -0.1},
        {"margin": float("nan")},
        {"filter": 1.5},
        {"weight": float("inf")},
        {"lr_scale": -1.0},
        {"precision": "float16"},
        {"chunk": 0},
    ],
)
def test_wrong_configurations_are_refused(wrong):
    with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
        BankConfig(**({"classes": 5} | wrong))


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operation makes, backward ones included."""

    elements, calls = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(x, torch.Tensor) and not x.is_sparse:
                self.elements = max(self.elements, x.numel())
        self.calls += 1
        return out


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_no_tensor_of_samples_by_classes_is_ever_made(rate):
    classes, width, samples = 4000, 16, 64
    bank = ConceptBank("object", BankConfig(classes=classes, sample_rate=rate, chunk=100), width)
    embeddings, labels = torch.randn(samples, width), torch.randint(0, classes, (samples, 3))
    with Largest() as largest:
        bank(embeddings.requires_grad_(), labels, step=0).loss.backward()
    assert largest.calls > classes * rate / 100
    assert largest.elements <= classes * width < samples * classes / 3


def test_chunks_keep_within_their_memory():
    for samples, width in ((1, 1024), (256, 1024), (65536, 64), (100, 10)):
        rows = chunk_rows(samples, width, torch.device("cpu"))
        assert 16 <= rows <= 4096
        assert rows * max(samples, width) * 4 <= 16 << 20


_PEAK = """
import json, sys, torch
sys.path[:0] = {path!r}
from onevision_encoder.pretrain import BankConfig, ConceptBank
torch.set_num_threads(1)
def held(what):
    return 1024 * int(open("/proc/self/status").read().split(what)[1].split()[0])
small = ConceptBank("object", BankConfig(classes=9000, sample_rate=1.0), 512)
step = lambda bank: bank(torch.randn(512, 512, requires_grad=True), torch.randint(0, 9000, (512, 4)), step=0)
step(small).loss.backward()
before = held("VmRSS:")
bank = ConceptBank("object", BankConfig(classes=200_000, sample_rate=1.0), 512)
step(bank).loss.backward()
print(json.dumps([before, held("VmHWM:"), 2 * bank.rows.numel() * 4]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_peak_memory_is_that_of_bank_and_gradient():
    """512 x 200,000 float32 cosines would take another 410 MB, half of bank and gradient."""
    done = subprocess.run(
        [sys.executable, "-c", _PEAK.format(path=sys.path)], capture_output=True, text=True, check=True
    )
    before, after, ideal = json.loads(done.stdout)
    assert after - before < 1.1 * ideal


def test_reference_of_these_tests_agrees_with_cross_entropy():
    """One label, all classes, no filter: the formula is cross entropy with a margin, as torch computes it."""
    case = Case(BankConfig(classes=11, sample_rate=1.0, scale=3.0), (5,), columns=1)
    embeddings, _ = case.batch(0)
    labels, rows = torch.tensor([[3], [0], [10], [3], [7]]), make_bank(case).rows.detach()
    cosines = torch.nn.functional.cosine_similarity(embeddings[:, None], rows[None], dim=-1)
    margin = 0.3 * torch.nn.functional.one_hot(labels[:, 0], 11)
    wanted = torch.nn.functional.cross_entropy(3 * (cosines - margin), labels[:, 0])
    torch.testing.assert_close(dense_loss(case, embeddings, rows, labels, sampled_by_hand(case)), wanted)
