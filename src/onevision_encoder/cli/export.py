"""`ove export MODEL`: an encoder as an ONNX file."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from onevision_encoder.errors import RandomWeightsWarning


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write an encoder as an ONNX file (float32, any number of tokens), for onnxruntime and its relatives.

    Needs the extra: pip install "onevision-encoder[export]".
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Checkpoint folder, hub id, or a preset (random weights, good for measuring speed)."""
    out: Path = Path("encoder.onnx")
    """The file; weights of more than 1 GiB go beside it."""
    clips: Literal["any", "one"] = "any"
    """any: the graph takes cu_seqlens and keeps clips apart by a mask. one: all tokens are one clip; faster."""
    pixels: Literal["uint8", "float32"] = "uint8"
    """uint8: patches as ove tokens writes them. float32: patches that are already normalised."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        from onevision_encoder.model import describe_graph, export_onnx, load_encoder

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RandomWeightsWarning)  # the result says what the weights are
            encoder = load_encoder(self.model, dtype="float32", device="cpu")
        path = export_onnx(
            encoder.model, self.out, clips=self.clips, pixels=self.pixels, facts={"weights": encoder.weights}
        )
        about = describe_graph(encoder.model, clips=self.clips, pixels=self.pixels)
        row = {"file": str(path), "weights": encoder.weights, "inputs": about["inputs"], "outputs": about["outputs"]}
        words = f"{encoder.weights} -> {path} ({', '.join(row['inputs'])} -> {', '.join(row['outputs'])})"
        print(json.dumps(row) if self.json else words)
        return 0
