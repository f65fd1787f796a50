"""Damaged folders of canvases and mosaics, and pickled weights, thousands of times: a result or a typed error."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made import frames, selection
from neighbours import some_blocks, write_canvases
from test_fuzz_media import damage

from onevision_encoder.errors import OneVisionError
from onevision_encoder.model import OneVisionEncoderConfig, OneVisionEncoderModel, read_weights
from onevision_encoder.tokens import export_canvases, export_mosaics, import_canvases, import_mosaics, make_tokens

SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
VALUES = [None, -1, 0, 1, 3, 2**40, -(2**70), 1.5, float("nan"), "x", "", [], [1], {}, {"a": 1}, True]


@pytest.fixture
def originals(tmp_path: Path) -> dict[str, Path]:
    seen = dict(zip((0, 5), frames(2, 2, 4, patch=2).rgb_THW3, strict=True))
    write_canvases(tmp_path / "theirs", seen, some_blocks(seen, 2, 4, 2, 2), h=2, w=4, patch=2)
    clip = frames(16, 2, 2, patch=4)
    export_canvases(tmp_path / "ours", make_tokens(clip, selection((16, 2, 2), 32)), block=1, fps=25)
    export_mosaics(tmp_path / "mosaics", make_tokens(clip, selection((16, 2, 2), 32)))
    return {name: tmp_path / name for name in ("theirs", "ours", "mosaics")}


def spoil_json(path: Path, rng: random.Random) -> None:
    meta = json.loads(path.read_text())
    inner: dict[str, Any] = meta
    while inner:
        key = rng.choice(sorted(inner))
        if isinstance(inner[key], dict) and inner[key] and rng.random() < 0.7:
            inner = inner[key]
            continue
        inner[key] = rng.choice(VALUES)
        break
    path.write_text(json.dumps(meta))


def spoil_array(path: Path, rng: random.Random) -> None:
    array = np.load(path)
    how = rng.randrange(4)
    if how == 0:
        array.flat[rng.randrange(array.size)] = rng.choice([0, 1, 7, 100])
    elif how == 1:
        array = array[: rng.randrange(len(array) + 1)]
    elif how == 2:
        array = array.astype(rng.choice([np.float64, np.uint8, np.int64, np.bool_]))
    else:
        array = array[..., None]
    np.save(path, array)


@pytest.mark.soak
def test_damaged_folders(originals: dict[str, Path], tmp_path: Path) -> None:
    rng = random.Random(0)
    outcomes: Counter[str] = Counter()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        name = rng.choice(sorted(originals))
        place = tmp_path / "damaged"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(originals[name], place)
        file = rng.choice(sorted(f for f in place.iterdir() if f.name != "_DONE"))
        if file.suffix == ".json" and rng.random() < 0.8:
            spoil_json(file, rng)
        elif file.suffix == ".npy" and rng.random() < 0.8:
            spoil_array(file, rng)
        else:
            file.write_bytes(damage(file.read_bytes(), np.random.default_rng(rng.getrandbits(32))))
        try:
            (import_mosaics if name == "mosaics" else import_canvases)(place)
            outcomes["read"] += 1
        except OneVisionError as error:
            outcomes[type(error).__name__] += 1
    print(dict(outcomes))
    assert outcomes["read"] > 10
    assert outcomes["TokenFileError"] > 10


@pytest.mark.soak
def test_damaged_pickled_weights(tmp_path: Path) -> None:
    """Half the damage in the first KiB, where the pickle is; the tensors behind it forgive every change."""
    shape = {"hidden_size": 128, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = OneVisionEncoderConfig(**shape, patch_size=2, use_head=False)
    config.save_pretrained(tmp_path)
    torch.save(OneVisionEncoderModel(config).state_dict(), tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    rng = random.Random(0)
    outcomes: Counter[str] = Counter()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        damaged = bytearray(whole)
        if rng.random() < 0.5:
            for _ in range(rng.randrange(1, 4)):
                damaged[rng.randrange(1024)] = rng.randrange(256)
        else:
            damaged = bytearray(damage(whole, np.random.default_rng(rng.getrandbits(32))))
        (tmp_path / "damaged.pt").write_bytes(damaged)
        try:
            read_weights(tmp_path / "damaged.pt")
            outcomes["read"] += 1
        except OneVisionError as error:
            outcomes[type(error.__cause__).__name__] += 1
    print(dict(outcomes))
    assert outcomes["read"] > 0
    assert len(outcomes) > 3
