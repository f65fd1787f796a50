"""Checkpoints of one layout -> another: ``ove convert``.

convert_checkpoint("LLaVA-OneVision-2-8B-Instruct", "encoder")          # the vision tower, as an encoder of ours
convert_checkpoint("encoder", "tower", to="ov2")                        # and back

Bits are kept: no tensor is ever cast. The result is loaded and compared before it takes its place.
"""

from __future__ import annotations

import copy
import gc
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from onevision_encoder import __version__
from onevision_encoder.errors import CheckpointError, InvalidArgumentError, WriteError
from onevision_encoder.model.configuration import OneVisionEncoderConfig
from onevision_encoder.model.encoder import OneVisionEncoderModel
from onevision_encoder.model.foreign_config import (
    OURS_ONLY,
    SHAPES,
    SHARED,
    read_config,
    read_json,
    wordless,
    write_config,
)
from onevision_encoder.model.layouts import FUSED_LAYOUTS, HEAD, WeightLayout, find_tower, to_fused, to_ours
from onevision_encoder.model.weight_files import open_weights
from onevision_encoder.tokens.folders import new_folder

WEIGHTS, CONFIG, REPORT, PREPROCESSOR = (
    "model.safetensors",
    "config.json",
    "conversion.json",
    "preprocessor_config.json",
)
_NO_NORM = (
    "layernorm_post, the last norm, has no place in a vision tower: last_hidden_state differs by it from the source's"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class EncoderWeights:
    """An encoder read from any layout.

    Attributes:
        state: tensors in our names. config: of our kind, what ``OneVisionEncoderModel(config)`` wants.
        layout: what it was found in. prefix: what stood before its names there.
        left_out: tensors of the checkpoint that are not the encoder's, by kind.
        notes: what the checkpoint did not say, and what was taken instead.
    """

    state: Mapping[str, Tensor]
    config: OneVisionEncoderConfig
    layout: WeightLayout
    prefix: str
    left_out: Mapping[str, int]
    notes: tuple[str, ...]

    def model(self) -> OneVisionEncoderModel:
        """The encoder with these very tensors, in ``eval`` mode.

        Raises:
            CheckpointError: tensors are missing or of another shape than the configuration says.
        """
        with torch.device("meta"):
            model = OneVisionEncoderModel(self.config)
        try:
            model.load_state_dict(dict(self.state), strict=True, assign=True)
        except RuntimeError as error:
            raise CheckpointError("weights", f"do not fit their configuration: {error}") from error
        model.train(False)
        return model


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What a conversion did; JSON-ready through :meth:`as_dict`.

    Attributes:
        found, to: layouts. prefix: of the encoder's names in the source.
        tensors, parameters: written. dtypes: of the tensors written, with their number.
        left_out: tensors that were not written, by kind: a merger, a language model, the pooling head ...
    """

    source: str
    destination: str
    found: WeightLayout
    to: WeightLayout
    prefix: str
    tensors: int
    parameters: int
    dtypes: Mapping[str, int]
    left_out: Mapping[str, int]
    notes: tuple[str, ...]
    version: str = __version__

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def for_the_folder(self) -> dict[str, Any]:
        """As :meth:`as_dict`, with names in place of paths: the folder may go to the Hub."""
        places = {key: Path(getattr(self, key)).resolve().name for key in ("source", "destination")}
        return self.as_dict() | places


def read_weights(source: str | Path, *, config: str | Path | None = None) -> EncoderWeights:
    """Read the encoder of a checkpoint, wherever it sits in it; only its own tensors are read.

    Args:
        source: a folder (safetensors, sharded or not, or one pickled file) or a file ``.safetensors``, ``.pt``,
            ``.pth``, ``.bin``: ours, the original's, its training checkpoints, LLaVA-OneVision-2, Mage-VL, or any
            model that holds such an encoder.
        config: a ``config.json`` for weights without one (of another size than the published ones).
    Raises:
        CheckpointError: naming the file or tensor and what would be accepted.
    """
    place = Path(source)
    weights = open_weights(place)
    tower = find_tower(source, weights.names())
    tensors = ((name, weights.tensor(stored)) for name, stored in tower.names.items())
    state = dict(to_ours(tensors, source))
    beside = (place if place.is_dir() else place.parent) / CONFIG
    path = Path(config) if config is not None else beside
    found = read_json(source, path) if config is not None or path.is_file() else None
    read = read_config(source, found, state, fused=tower.fused)
    made = EncoderWeights(
        state=state,
        config=read.config,
        layout=read.layout,
        prefix=tower.prefix,
        left_out=tower.left_out,
        notes=read.notes,
    )
    made.model()  # every tensor there, every shape right
    return made


def convert_checkpoint(
    source: str | Path,
    destination: str | Path,
    *,
    to: WeightLayout = "ours",
    config: str | Path | None = None,
    prefix: str = "",
) -> Conversion:
    """Write the encoder of ``source`` to the new folder ``destination``: config, weights, report.

    Args:
        source, config: see :func:`read_weights`.
        to: ``ours`` and ``original`` have one set of names; ``ov2`` and ``mage`` are vision towers without merger.
        prefix: put before every name, ``"model.visual."`` as inside LLaVA-OneVision-2, say; not for ``ours``.
    Raises:
        CheckpointError: the source cannot be read, or the layout has no word for what it does; or what was written
            does not read back as it was.
        WriteError: ``destination`` is there already, or cannot be written. InvalidArgumentError: no such layout.
    """
    if to not in get_args(WeightLayout):
        raise InvalidArgumentError("to", to, f"one of {get_args(WeightLayout)}")
    if prefix and to not in FUSED_LAYOUTS:
        raise InvalidArgumentError("prefix", prefix, f"none with to={to!r}: such an encoder stands alone")
    target = Path(destination)
    if target.exists():
        raise WriteError(target, "it exists; name a folder that does not")
    weights = read_weights(source, config=config)
    written, report = _prepared(source, target, weights, to, prefix)
    with new_folder(target) as part:
        report = replace(report, notes=(*report.notes, *_write(part, Path(source), weights, written, to)))
        (part / REPORT).write_text(json.dumps(report.for_the_folder(), indent=2) + "\n", encoding="utf-8")
        _verify(part, weights, to)
        gc.collect()  # some systems do not rename a folder while a file in it is mapped
    return report


def _prepared(
    source: str | Path, target: Path, weights: EncoderWeights, to: WeightLayout, prefix: str
) -> tuple[dict[str, Tensor], Conversion]:
    """The tensors to write, and the report on them."""
    state = to_fused(weights.state) if to in FUSED_LAYOUTS else dict(weights.state)
    dropped = _without_place(weights) if to in FUSED_LAYOUTS else {}
    written = {prefix + name: tensor.contiguous() for name, tensor in state.items()}
    report = Conversion(
        source=str(source),
        destination=str(target),
        found=weights.layout,
        to=to,
        prefix=weights.prefix,
        tensors=len(written),
        parameters=sum(tensor.numel() for tensor in written.values()),
        dtypes=_count_dtypes(written),
        left_out={**weights.left_out, **dropped},
        notes=(*weights.notes, *wordless(weights.config, to), *([_NO_NORM] if dropped else [])),
    )
    return written, report


def _without_place(weights: EncoderWeights) -> dict[str, int]:
    """Tensors that a vision tower has no place for, by kind."""
    names = [name for name in weights.state if name.startswith(HEAD)]
    norms = sum(name.startswith("layernorm_post.") for name in names)
    kinds = {"pooling head": len(names) - norms, "layernorm_post": norms}
    return {kind: count for kind, count in kinds.items() if count}


def _write(
    folder: Path, source: Path, weights: EncoderWeights, written: dict[str, Tensor], to: WeightLayout
) -> list[str]:
    """Fill the folder; returns what is worth a note."""
    dtype = _widest(written)
    if to == "ours":
        config = copy.deepcopy(weights.config)
        config.architectures = ["OneVisionEncoderModel"]
        config.dtype = dtype
        config.save_pretrained(folder)
    else:
        fields = write_config(source, weights.config, to) | {"dtype": str(dtype).removeprefix("torch.")}
        (folder / CONFIG).write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    try:
        save_file(written, folder / WEIGHTS, metadata={"format": "pt"})
    except SafetensorError as error:  # a full disk, say
        raise WriteError(folder / WEIGHTS, str(error)) from error
    beside = source / PREPROCESSOR
    if not beside.is_file():
        return []
    if to in FUSED_LAYOUTS or weights.layout in FUSED_LAYOUTS:
        return [f"{PREPROCESSOR} was not copied: {weights.layout} and {to} prepare pixels differently"]
    shutil.copyfile(beside, folder / PREPROCESSOR)
    return []


def _verify(folder: Path, weights: EncoderWeights, to: WeightLayout) -> None:
    """Load what was written, the way a reader would, and compare it with what was read, bit for bit."""
    fields = (*SHAPES, *SHARED, *OURS_ONLY)
    if to in FUSED_LAYOUTS:
        read = read_weights(folder)
        back, config = read.state, read.config
        wanted = {name: tensor for name, tensor in weights.state.items() if not name.startswith(HEAD)}
    else:
        model = _loaded(folder)
        back, config = model.state_dict(), model.config
        wanted = dict(weights.state)
        fields = (*fields, "use_head", "rope_temporal_size")
    changed = sorted(
        name
        for name in back.keys() | wanted.keys()
        if name not in back or name not in wanted or not _same(back[name], wanted[name])
    )
    if changed:
        raise CheckpointError(folder, f"reads back differently in {len(changed)} tensors, {changed[0]} among them")
    for name in fields:
        found, meant = getattr(config, name), getattr(weights.config, name)
        if found != meant:
            raise CheckpointError(folder, f"reads back differently: {name}={found!r}, not {meant!r}")


def _loaded(folder: Path) -> OneVisionEncoderModel:
    try:
        model: OneVisionEncoderModel = OneVisionEncoderModel.from_pretrained(
            folder, dtype="auto", local_files_only=True
        )
    except (OSError, SafetensorError) as error:
        raise CheckpointError(folder, f"cannot be read back: {error}") from error
    return model


def _same(one: Tensor, other: Tensor) -> bool:
    """Equal to the bit; or ``one`` exactly widened (a file of mixed dtypes loads in the widest)."""
    if one.shape != other.shape or torch.promote_types(one.dtype, other.dtype) != one.dtype:
        return False
    if one.dtype != other.dtype:
        return bool(torch.isclose(one, other.to(one.dtype), rtol=0, atol=0, equal_nan=True).all())
    return torch.equal(*(tensor.contiguous().view(torch.uint8) for tensor in (one, other)))


def _widest(state: Mapping[str, Tensor]) -> torch.dtype:
    widest = next(iter(state.values())).dtype
    for tensor in state.values():
        widest = torch.promote_types(widest, tensor.dtype)
    return widest


def _count_dtypes(state: Mapping[str, Tensor]) -> dict[str, int]:
    names = [str(tensor.dtype).removeprefix("torch.") for tensor in state.values()]
    return {name: names.count(name) for name in sorted(set(names))}
