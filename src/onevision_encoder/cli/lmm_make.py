"""`ove lmm make --encoder DIR --language-model DIR --out DIR`: a fresh vision-language model from its parts."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from onevision_encoder.errors import InvalidArgumentError, RandomWeightsWarning


@dataclass(frozen=True, kw_only=True)
class Make:
    """Put an encoder and a language model together; what stands between them is new and must be trained."""

    encoder: str
    """A checkpoint folder, a hub id, or a preset with random weights: tiny, small, base, large, huge."""
    language_model: str
    """A folder or hub id of any causal language model of transformers, with its tokenizer; or tiny: a small Qwen3 with
    random weights and a tokenizer of bytes, to try the commands with."""
    out: Path
    """Folder to write; must be empty or absent."""
    merger: Literal["2x2", "none", "attention"] = "2x2"
    """2x2: four neighbours a token. none: a patch a token. attention: any number a token."""
    patches_per_token: int = 4
    """With attention."""
    vision_feature_layer: int = -1
    """Which blocks of the encoder are read: -1 all, -2 all but the last ..."""
    chat_template: Path | None = None
    """A file with the tokenizer's chat template (Jinja), over its own; many base models have none."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the weights."""
    seed: int = 0
    """Of the new weights."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        import torch

        from onevision_encoder.lmm import OneVisionForConditionalGeneration
        from onevision_encoder.lmm.language_presets import LANGUAGE_PRESETS
        from onevision_encoder.model import PRESETS

        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise InvalidArgumentError("out", str(self.out), "a new folder")
        template = None if self.chat_template is None else _read(self.chat_template)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RandomWeightsWarning)  # said below, in a sentence
            model, processor = OneVisionForConditionalGeneration.from_parts(
                self.encoder,
                self.language_model,
                merger=self.merger,
                patches_per_token=self.patches_per_token,
                vision_feature_layer=self.vision_feature_layer,
                dtype=getattr(torch, self.dtype),
                seed=self.seed,
            )
        if template is not None:
            processor.tokenizer.chat_template = template
        model.save_pretrained(str(self.out))
        processor.save_pretrained(str(self.out))
        chosen = (("encoder", self.encoder, PRESETS), ("language model", self.language_model, LANGUAGE_PRESETS))
        random = [f"{what} {name}" for what, name, presets in chosen if name in presets]
        if random:
            print(f"ove: random weights: {', '.join(random)}; what it writes means nothing yet", file=sys.stderr)
        if processor.tokenizer.chat_template is None:
            lacks = f"the tokenizer of {self.language_model} has no chat template, which chat and training need"
            print(f"ove: {lacks}: --chat-template FILE gives it one", file=sys.stderr)
        parts = ("vision_model", "merger", "projector", "language_model")
        counts = {name: sum(p.numel() for p in getattr(model, name).parameters()) for name in parts}
        if self.json:
            print(json.dumps({"out": str(self.out), "merger": self.merger, "parameters": counts}, indent=2))
        else:
            shown = ", ".join(f"{name} {count:,}" for name, count in counts.items())
            print(f"{self.out}: {shown} parameters; merger and projector are new: ove lmm train --stage projector")
        return 0


def _read(template: Path) -> str:
    try:
        return template.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidArgumentError("chat_template", str(template), f"a readable text file ({error})") from error
