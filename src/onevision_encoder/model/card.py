"""The model card: the README.md that a saved checkpoint carries to the Hub.

It states what the code knows (shape, preprocessing, how to load) and says plainly what it does not: what the weights
were trained on, and their licence.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from onevision_encoder.errors import InvalidArgumentError, WriteError

if TYPE_CHECKING:
    from onevision_encoder.model.encoder import OneVisionEncoderModel

CARD = "README.md"
BLANK_MARK = "This is the model card of a 🤗 transformers model that has been pushed on the Hub."
"""What transformers writes into the card of a repository that has none."""
BLANK_FIELD = "[More Information Needed]"
BLANK_FIELDS = 10
"""A card with the mark and more empty fields than this was never filled in; the blank one has over 30."""

_LICENSE = re.compile(r"[A-Za-z][A-Za-z0-9.+_-]{0,63}")
_TEMPLATE = """---
license: {license}
library_name: onevision-encoder
pipeline_tag: feature-extraction
tags:
- onevision-encoder
- video
- image
- vision-transformer
---

# {name}

A OneVision-Encoder: a vision transformer over packed patches of images and videos, with three-axis rotary positions
(time, row, column), so that it reads any selection of patches of any size and length.

## Weights

{weights}

Licence of the weights: {license_words}

## Configuration

| | |
|---|---|
{table}

## Preprocessing

RGB patches of {patch} x {patch} pixels, flattened in (channel, y, x) order, normalised as (x / 255 - mean) / std with
CLIP's mean {mean} and std {std}. Any height and width that are
multiples of {patch} are accepted; nothing is resized or cropped by the model. `tokenize` does all of it from a file.

## Use

```python
from onevision_encoder import embed_tokens, load_encoder, tokenize

encoder = load_encoder({where})
embeddings = embed_tokens(encoder, tokenize("video.mp4", budget=2048))
print(embeddings.{shown}.shape)
```

As a transformers model, on normalised pixels [B, 3, H, W], [B, 3, T, H, W] or packed patches:

```python
from onevision_encoder import OneVisionEncoderModel

model = OneVisionEncoderModel.from_pretrained({where})
```
"""


def model_card(
    model: OneVisionEncoderModel, *, name: str | None = None, license: str = "unknown", weights: str | None = None
) -> str:
    """The text of a card.

    Args:
        model: whose configuration is described.
        name: of the model; the folder's or repository's, say.
        license: identifier as the Hub knows them (``apache-2.0``, ...), of the weights.
        weights: what they were trained on and by whom, in words; None = what the code knows, which is where they
            were loaded from.
    Raises:
        InvalidArgumentError: ``license`` is no identifier, ``name`` is not one line.
    """
    from onevision_encoder.model.embed import CLIP_MEAN, CLIP_STD

    if not isinstance(license, str) or not _LICENSE.fullmatch(license):
        raise InvalidArgumentError(
            "license", license, "an identifier as the Hub knows them: apache-2.0, mit, other ..."
        )
    if name is not None and not (isinstance(name, str) and name.isprintable()):
        raise InvalidArgumentError("name", name, "one line of text")
    config = model.config
    rows = {
        "width, layers, heads": f"{config.hidden_size}, {config.num_hidden_layers}, {config.num_attention_heads}",
        "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
        "patch": f"{config.patch_size} x {config.patch_size} pixels",
        "trained at": f"{config.image_size} pixels, by `config.json`",
        "rotary positions": f"`{config.rope_mode}`, theta {config.rope_theta:g}",
        "absolute places": f"{config.place_waves} waves an axis" if config.place_waves else "no",
        "attention": "whole clips" if config.window_frames is None else f"windows of {config.window_frames} frames",
        "pooling head": "yes" if config.use_head else "no",
        "dtype": str(model.dtype).removeprefix("torch."),
    }
    return _TEMPLATE.format(
        name=name or "OneVision-Encoder",
        where=json.dumps(name or "path/to/this/folder", ensure_ascii=False),
        license=license,
        license_words=f"`{license}`." if license != "unknown" else "not stated; whoever publishes them must say.",
        weights=weights or _origin(str(config._name_or_path or "")),
        table="\n".join(f"| {key} | {value} |" for key, value in rows.items()),
        patch=config.patch_size,
        mean=tuple(CLIP_MEAN),
        std=tuple(CLIP_STD),
        shown="pooled_SC" if config.use_head else "cu_seqlens",
    )


def write_model_card(
    model: OneVisionEncoderModel,
    folder: str | Path,
    *,
    name: str | None = None,
    license: str = "unknown",
    weights: str | None = None,
    overwrite: bool = False,
) -> bool:
    """Write ``folder/README.md`` and say whether it was written: a README that is there stays, unless ``overwrite``.

    Args:
        name, license, weights: as for :func:`model_card`.
    Raises:
        WriteError: the file cannot be written. InvalidArgumentError: as for :func:`model_card`.
    """
    target = Path(folder) / CARD
    if target.exists() and not overwrite:
        return False
    try:
        target.write_text(model_card(model, name=name, license=license, weights=weights), encoding="utf-8")
    except OSError as error:
        raise WriteError(target, str(error)) from error
    return True


def is_blank_card(text: str) -> bool:
    """Whether this is the empty form that transformers puts on the Hub where there is no card."""
    return BLANK_MARK in text and text.count(BLANK_FIELD) > BLANK_FIELDS


def _origin(source: str) -> str:
    if not source:
        return (
            "Made from a configuration, so random at first. This card does not know what they were trained on since; "
            "whoever publishes them must say."
        )
    shown = Path(source).name if Path(source).exists() else source  # a folder's whole path is nobody's business
    return f"Loaded from `{shown}`. This card does not know whether they were trained further since."
