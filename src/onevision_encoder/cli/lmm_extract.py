"""`ove lmm extract-encoder CHECKPOINT OUT`: the encoder taken out of a vision-language model again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from onevision_encoder.checks import counted


@dataclass(frozen=True, kw_only=True)
class ExtractEncoder:
    """Write the encoder of a vision-language model, the very same bits, for ove encode --model and load_encoder."""

    checkpoint: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")]
    """Folder of the vision-language model, or a checkpoint of its training."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Folder to write; must be empty or absent."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        from onevision_encoder.lmm.extraction import extract_encoder

        done = extract_encoder(self.checkpoint, self.out)
        if self.json:
            print(json.dumps({"out": str(self.out), **asdict(done)}, indent=2))
            return 0
        kinds = ", ".join(done.dtypes)
        print(f"{counted(done.tensors, 'tensor')}, {done.parameters:,} parameters ({kinds}) -> {self.out}")
        print("  read back: the same bits")
        if done.unread:
            print(
                f"  note: the language model did not read the last {counted(done.unread, 'block')}: not trained with it"
            )
        return 0
