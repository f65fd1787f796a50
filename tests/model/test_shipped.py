"""The weights that come along: they load without a word, they are small, and their card says what they are."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import moving_square, textured
from huggingface_hub import ModelCard
from safetensors import safe_open
from transformers import AutoModel

from onevision_encoder import OneVisionEncoderModel, OneVisionEncoderProcessor, embed_tokens, load_encoder, tokenize
from onevision_encoder.evaluate import load_backbone
from onevision_encoder.model import default_weights

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks/results/learning.json"


def test_every_way_to_load_them_gives_the_same_encoder() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_encoder(dtype=torch.float32, device="cpu")
    assert loaded.pretrained
    assert loaded.weights.startswith("shipped with onevision-encoder")
    named = load_encoder("default", dtype=torch.float32, device="cpu")
    auto = AutoModel.from_pretrained(default_weights(), dtype=torch.float32)
    ours = OneVisionEncoderModel.from_pretrained("default", dtype=torch.float32)
    for other in (named.model, auto, ours):
        assert all(torch.equal(a, b) for a, b in zip(loaded.model.parameters(), other.parameters(), strict=True))
    assert load_backbone("default", device="cpu").loaded.pretrained
    assert OneVisionEncoderProcessor.from_pretrained("default").image_processor.patch_size == 14


def test_they_are_small_and_in_half_precision() -> None:
    files = {path.name: path.stat().st_size for path in default_weights().iterdir()}
    assert set(files) == {"config.json", "model.safetensors", "README.md"}
    assert sum(files.values()) <= 8e6
    with safe_open(str(default_weights() / "model.safetensors"), framework="pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118


def test_the_card_states_data_licences_figures_and_the_command() -> None:
    card = ModelCard.load(default_weights() / "README.md")
    assert card.data.license == "apache-2.0"
    for words in (
        "Fashion-MNIST",
        "MIT licence",
        "procedural clips",
        "CC-BY 3.0",
        "bench_learning.py",
        "without labels",
    ):
        assert words in card.content
    told = re.findall(r"^\| (.+) \| (.+) \| (.+) \| ([\d.]+) \| ([\d.]+) \|$", card.content, re.M)
    assert len(told) >= 8
    published = json.loads(RESULTS.read_text())["tables"]
    for task, head, reads, *accuracies in told:
        for encoder, accuracy in zip(("random", "stage 2, real clips"), accuracies, strict=True):
            [row] = [r for r in published[f"{task}, {head}"] if (r["encoder"], r["reads"]) == (encoder, reads)]
            assert abs(float(row["accuracy, %"]) - float(accuracy)) <= 5 * max(1.0, float(row["+-"])), (task, head)


@pytest.mark.parametrize("seed", range(3))
def test_embeddings_follow_what_is_seen(seed: int) -> None:
    """The same picture, shifted and darker, is nearer than another one: which random weights do not promise."""
    rng = np.random.default_rng(seed)
    encoder = load_encoder(dtype=torch.float32, device="cpu")
    pictures = [textured(56, 56, int(rng.integers(1 << 30))) for _ in range(8)]
    changed = [np.clip(0.9 * np.roll(p, 2, axis=1), 0, 255).astype(np.uint8) for p in pictures]
    first, second = (
        np.concatenate([embed_tokens(encoder, tokenize(p[None], policy="dense")).pooled_SC for p in group])
        for group in (pictures, changed)
    )
    first, second = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (first, second))
    assert ((first @ second.T).argmax(1) == np.arange(8)).mean() >= 0.75


def test_they_read_clips_too() -> None:
    tokens = tokenize(moving_square(frames=16), budget=64)
    assert embed_tokens(load_encoder(device="cpu"), tokens).pooled_SC.shape == (1, 192)
