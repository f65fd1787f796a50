"""The packed encoder as a graph without Python: ``torch.export`` and ONNX.

Axes: N tokens of the pack, S clips, C width, D = 3*p*p, 3 = (t, h, w).

The graph is the one of the model: parameters, RoPE and pooling are exported from the code that runs, not written a
second time. The number of tokens and of clips stay open. What is given up: bounds cannot be checked inside a graph,
and clips are kept apart by a mask of N x N (see ``marked.py``) unless the graph is for one clip.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import secrets
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from onevision_encoder.errors import InvalidArgumentError, MissingExtraError, WriteError
from onevision_encoder.model.embed import CLIP_MEAN, CLIP_STD, normalize_patches
from onevision_encoder.model.encoder import OneVisionEncoderModel

Clips = Literal["any", "one"]
Pixels = Literal["uint8", "float32"]
ATTENTIONS = ("sdpa", "eager")
METADATA_KEY = "onevision_encoder"
OPSET = 20
"""The first ONNX opset with Gelu."""
WHOLE_FILE = 1 << 30
"""Weights of more bytes than this go beside the file: protobuf ends at 2 GiB."""


class PackedGraph(nn.Module):
    """What is exported: tensors in, tensors out.

    Inputs by name: ``patches`` [N, D]; ``positions`` float32 [N, 3]; ``cu_seqlens`` int32 [S + 1] for
    ``clips="any"``; ``window_cu_seqlens`` int32 if the model has attention windows. Outputs: ``tokens`` [N, C], and
    ``pooled`` [S, C] if it has a head.
    """

    def __init__(self, model: OneVisionEncoderModel, clips: Clips, pixels: Pixels) -> None:
        super().__init__()
        self.model = model
        self.pixels = pixels
        windowed = model.config.window_frames is not None
        self.bounds = ["cu_seqlens"] * (clips == "any") + ["window_cu_seqlens"] * windowed

    def forward(
        self,
        patches: Tensor,
        positions: Tensor,
        cu_seqlens: Tensor | None = None,
        window_cu_seqlens: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        output = self.model(
            normalize_patches(patches) if self.pixels == "uint8" else patches,
            patch_positions=positions,
            cu_seqlens=cu_seqlens,
            window_cu_seqlens=window_cu_seqlens,
            return_dict=True,
        )
        named = (output.last_hidden_state, output.pooler_output)
        return tuple(tensor for tensor in named if tensor is not None)

    @property
    def inputs(self) -> list[str]:
        return ["patches", "positions", *self.bounds]

    @property
    def outputs(self) -> list[str]:
        return ["tokens"] + ([] if self.model.head is None else ["pooled"])

    def example(self) -> dict[str, Tensor]:
        """Numbers to trace with: three clips. Their sizes are not part of the graph."""
        lengths, device = (5, 7, 9), self.model.device
        D = 3 * self.model.config.patch_size**2
        bounds = torch.tensor([0, *lengths], device=device).cumsum(0, dtype=torch.int32)
        return {
            "patches": torch.zeros(sum(lengths), D, dtype=getattr(torch, self.pixels), device=device),
            "positions": torch.zeros(sum(lengths), 3, device=device),
            **{name: bounds.clone() for name in self.bounds},
        }

    def dynamic_shapes(self) -> dict[str, Any]:
        """Which sizes stay open. Two bounds (one clip, one window) are special to torch.export, so it starts at 3."""
        tokens = torch.export.Dim("tokens", min=1)
        bounds = {name: {0: torch.export.Dim(f"{name}_size", min=3)} for name in self.bounds}
        return {"patches": {0: tokens}, "positions": {0: tokens}, **bounds}


def export_program(
    model: OneVisionEncoderModel, *, clips: Clips = "any", pixels: Pixels = "uint8"
) -> torch.export.ExportedProgram:
    """Trace the packed encoder with :func:`torch.export.export`.

    Args:
        model: float32, attention ``sdpa`` or ``eager``; its ``eval`` computation is exported, its mode is kept.
        clips: ``"any"`` = the graph takes ``cu_seqlens`` of two or more clips and masks attention by it;
            ``"one"`` = all tokens are one clip, no mask.
        pixels: ``"uint8"`` = patches as tokenize() gives them, normalised in the graph; ``"float32"`` = normalised.
    Returns:
        The program; its inputs and outputs are those of :class:`PackedGraph`.
    Raises:
        InvalidArgumentError: an argument is none of these.
    """
    graph = _graph(model, clips, pixels)
    modes = [(module, module.training) for module in graph.modules()]
    graph.train(False)
    try:
        with torch.no_grad():
            return torch.export.export(graph, (), graph.example(), dynamic_shapes=graph.dynamic_shapes())
    finally:
        for module, training in modes:
            module.training = training


def export_onnx(
    model: OneVisionEncoderModel,
    path: str | Path,
    *,
    clips: Clips = "any",
    pixels: Pixels = "uint8",
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Write the packed encoder as an ONNX file (opset 20, float32).

    In onnxruntime ``clips="any"`` takes one clip too. Weights of more than 1 GiB are written beside the file,
    as ``NAME.onnx.data``. The file's metadata hold, as JSON under ``onevision_encoder``, what is needed to feed it:
    see :func:`describe_graph`.

    Args:
        path: of the file. model, clips, pixels: as for :func:`export_program`.
        facts: more for the metadata, where the weights are from say; JSON-ready.
    Returns:
        ``path``.
    Raises:
        MissingExtraError: onnx or onnxscript are not installed.
        InvalidArgumentError: as :func:`export_program`; ``facts`` that JSON cannot hold.
        WriteError: the file cannot be written.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError("export", missing, "writing ONNX files")
    target = Path(path)
    if not target.parent.is_dir():
        raise WriteError(target, "there is no such folder")
    graph = _graph(model, clips, pixels)
    about = _metadata({**describe_graph(model, clips=clips, pixels=pixels), **(facts or {})})
    program = export_program(model, clips=clips, pixels=pixels)
    names: dict[str, Any] = {
        "input_names": graph.inputs,
        "output_names": graph.outputs,
        "dynamic_shapes": graph.dynamic_shapes(),
    }
    with _quiet():
        onnx_program = torch.onnx.export(program, **names, opset_version=OPSET, dynamo=True, verbose=False)
    assert onnx_program is not None
    onnx_program.model.metadata_props[METADATA_KEY] = about
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    _save(onnx_program, target, external_data=size > WHOLE_FILE)
    return target


def _metadata(about: Mapping[str, Any]) -> str:
    try:
        return json.dumps(about, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError("facts", about, f"what JSON can hold ({error})") from error


def _save(program: torch.onnx.ONNXProgram, target: Path, *, external_data: bool) -> None:
    """Write in a folder of its own and move: a file that is there is replaced by a whole one, or stays.

    The graph names the weights beside it by name only, so they move with it, and before it.
    """
    part = target.parent / f".{secrets.token_hex(8)}.part"
    try:
        part.mkdir()
        program.save(str(part / target.name), external_data=external_data)
        for file in sorted(part.iterdir(), key=lambda file: file.name == target.name):
            file.replace(target.parent / file.name)
    except OSError as error:
        raise WriteError(target, error.strerror or str(error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def describe_graph(model: OneVisionEncoderModel, *, clips: Clips, pixels: Pixels) -> dict[str, Any]:
    """What someone who has only the file must know to feed it; JSON-ready."""
    from onevision_encoder import __version__

    graph, config = PackedGraph(model, clips, pixels), model.config
    return {
        "version": __version__,
        "torch": torch.__version__,
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "clips": clips,
        "patch_size": config.patch_size,
        "patch_layout": "(channel, y, x), RGB",
        "pixels": pixels,
        "normalization": {"scale": "x / 255", "mean": list(CLIP_MEAN), "std": list(CLIP_STD)},
        "normalized_in_graph": pixels == "uint8",
        "positions": "(t, h, w); t as RoPE sees it, h and w in patches",
        "rope_mode": config.rope_mode,
        "window_frames": config.window_frames,
        "place_waves": config.place_waves,
        "hidden_size": config.hidden_size,
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch has to say about itself, about torchvision, and about sizes that two inputs share."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _graph(model: object, clips: Clips, pixels: Pixels) -> PackedGraph:
    if not isinstance(model, OneVisionEncoderModel):
        allowed = "an OneVisionEncoderModel (load_encoder(...).model, say)"
        raise InvalidArgumentError("model", type(model).__name__, allowed)
    for name, value, choices in (("clips", clips, ("any", "one")), ("pixels", pixels, ("uint8", "float32"))):
        if value not in choices:
            raise InvalidArgumentError(name, value, f"one of {choices}")
    if model.dtype != torch.float32:
        raise InvalidArgumentError("dtype of the model", str(model.dtype), 'float32: load it with dtype="float32"')
    attention = model.config._attn_implementation
    if attention not in ATTENTIONS:
        allowed = f'one of {ATTENTIONS} for export: model.set_attn_implementation("sdpa")'
        raise InvalidArgumentError("attn_implementation", attention, allowed)
    return PackedGraph(model, clips, pixels)
