"""`ove lmm merge ADAPTERS --out DIR`: adapters become part of the weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from onevision_encoder.errors import InvalidArgumentError


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Write a whole model from adapters and the model they were trained on."""

    adapters: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ADAPTERS")]
    """Folder that ove lmm train --stage lora wrote."""
    out: Path
    """Folder to write; must be empty or absent."""
    base: str | None = None
    """The model below the adapters; none = where it was when they were trained."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the weights; auto = the model's."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        import torch

        from onevision_encoder.lmm.loading import is_adapter, load_trained

        if not is_adapter(self.adapters):
            raise InvalidArgumentError("adapters", str(self.adapters), "a folder with adapter_config.json")
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise InvalidArgumentError("out", str(self.out), "a new folder")
        dtype = self.dtype if self.dtype == "auto" else getattr(torch, self.dtype)
        model, processor = load_trained(self.adapters, base=self.base, dtype=dtype)
        model.save_pretrained(str(self.out))
        processor.save_pretrained(str(self.out))
        count = sum(p.numel() for p in model.parameters())
        if self.json:
            print(json.dumps({"out": str(self.out), "parameters": count}, indent=2))
        else:
            print(f"{self.adapters} -> {self.out}: {count:,} parameters")
        return 0
