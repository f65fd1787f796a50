"""The small encoder of the self-test: its written-down answer is that of the encoder written a second time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from reference_encoder import ReferenceEncoder

from onevision_encoder.model import normalize_patches
from onevision_encoder.model.known_answer import LENGTHS, known_answer, made_encoder, made_numbers, made_tokens, pooled


def test_the_answer_is_the_references() -> None:
    reference, tokens = ReferenceEncoder(made_encoder()), made_tokens()
    x_ND = normalize_patches(torch.tensor(tokens.patches_ND)).double().numpy()
    bounds = tokens.cu_seqlens.tolist()
    for s, (start, stop) in enumerate(pairwise(bounds)):
        truth_C = reference(x_ND[start:stop], tokens.model_positions_N3[start:stop].astype(np.float64))[2]
        np.testing.assert_allclose(known_answer()[s], truth_C, atol=0.0005001)
    assert len(bounds) == len(LENGTHS) + 1


def test_it_shows_what_goes_wrong() -> None:
    """Large enough that rounding to bfloat16 stays within the bound, and different enough between clips to notice."""
    answer = known_answer()
    first, second = answer / np.linalg.norm(answer, axis=1, keepdims=True)
    assert answer.std() > 1
    assert first @ second < 0.9
    for attention in ("sdpa", "eager"):
        np.testing.assert_allclose(pooled(attention=attention), answer, atol=0.001)


def test_numbers_are_even_and_depend_on_the_name() -> None:
    numbers = made_numbers("weights", 20_000)
    assert -1 <= numbers.min() < -0.99
    assert 0.99 < numbers.max() < 1
    assert abs(numbers.mean()) < 0.02
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.03
    assert not np.array_equal(numbers, made_numbers("other weights", 20_000))


def test_the_random_state_of_the_caller_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    made_encoder()
    assert torch.equal(torch.rand(3), expected)
