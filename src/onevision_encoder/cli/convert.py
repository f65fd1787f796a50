"""`ove convert SOURCE DESTINATION`: weights and prepared data, from and to the layouts of our neighbours."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from onevision_encoder.checks import counted
from onevision_encoder.cli.batch import TOKEN_SUFFIX, Input, finish, run_batch
from onevision_encoder.errors import InvalidArgumentError, TokenFileError
from onevision_encoder.tokens import canvases, mosaics
from onevision_encoder.tokens.canvas_import import FileTime, import_canvases
from onevision_encoder.tokens.folders import PictureFormat, staged
from onevision_encoder.tokens.store import load_tokens, save_tokens
from onevision_encoder.types import PatchTokens

Found = Literal["weights", "tokens", "canvases", "mosaics"]
TARGETS: Mapping[Found, tuple[str, ...]] = {
    "weights": ("ours", "original", "ov2", "mage"),
    "tokens": ("canvases", "mosaics"),
    "canvases": ("tokens", "mosaics"),
    "mosaics": ("tokens", "canvases"),
}
"""What each kind of source turns into; the first is what ``auto`` means, except for tokens."""
LAYOUT_NAMES = {
    "ours": "an encoder of ours",
    "original": "an original OneVision-Encoder",
    "ov2": "a vision tower of LLaVA-OneVision-2",
    "mage": "a vision tower of Mage-VL",
}


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Convert a checkpoint, or prepared data, between layouts; say what was found and left out.

    Weights: ours, the original's and its training checkpoints, LLaVA-OneVision-2, Mage-VL (of a whole model, the
    vision tower). Data: our token files, canvases (LLaVA-OneVision-2, Mage-VL), mosaics (the original). The result is
    read back and compared. Nothing is overwritten.
    """

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """Checkpoint folder or file (.safetensors, .pt, .pth, .bin), token file, or folder of canvases or mosaics."""
    destination: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DESTINATION")]
    """New folder, or new NAME.tokens.safetensors."""
    to: Literal["auto", "ours", "original", "ov2", "mage", "tokens", "canvases", "mosaics"] = "auto"
    """auto: weights become ours, canvases and mosaics become tokens."""
    config: str | None = None
    """config.json for weights that come without one."""
    picture_format: PictureFormat = "png"
    """Pictures of canvases and mosaics. png: exact. jpg: quality 95, as their tools write."""
    block: int = 2
    """Patches per side of a block of a canvas: 1, 2 or 3."""
    time: FileTime = "file"
    """Time of tokens made of canvases. file: the source frame's number. virtual: 0 to 63. index, seconds."""
    fps: float | None = None
    """Frames per second of the source, where the source does not say."""
    patch: int | None = None
    """Rescale mosaics to this patch size, 14 say for weights with patch 14."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        found = what_is(Path(self.source))
        to = self._target(found)
        self._check(found, to)
        work: Callable[[Input], Mapping[str, Any]] = self._weights if found == "weights" else self._data
        item = Input(path=self.source, name=Path(self.source).name)
        report = run_batch([item], lambda i: {"found": found, "to": to, **work(i)}, label="convert", quiet=self.json)
        return finish(report, as_json=self.json, line=_text, extra={})

    def _target(self, found: Found) -> str:
        if self.to == "auto" and found != "tokens":
            return TARGETS[found][0]
        if self.to not in TARGETS[found]:
            raise InvalidArgumentError("to", self.to, f"one of {TARGETS[found]}: {self.source} holds {found}")
        return self.to

    def _check(self, found: Found, to: str) -> None:
        """Options that would do nothing, and a destination that is taken, are wrong calls."""
        means = {
            "config": found == "weights",
            "picture_format": to in ("canvases", "mosaics"),
            "block": to == "canvases",
            "time": found == "canvases",
            "fps": found in ("canvases", "mosaics") or to == "canvases",
            "patch": found == "mosaics",
        }
        for name, used in means.items():
            value = getattr(self, name)
            if not used and value != Convert.__dataclass_fields__[name].default:
                raise InvalidArgumentError(name, value, f"not given: it means nothing from {found} to {to}")
        if Path(self.destination).exists():
            raise InvalidArgumentError("destination", self.destination, "a name that is not taken")
        if to == "tokens" and not self.destination.endswith(TOKEN_SUFFIX):
            raise InvalidArgumentError("destination", self.destination, f"a name that ends in {TOKEN_SUFFIX}")

    def _weights(self, item: Input) -> Mapping[str, Any]:
        from onevision_encoder.model.convert import convert_checkpoint

        to: Any = self._target("weights")
        done = convert_checkpoint(item.path, self.destination, to=to, config=self.config).as_dict()
        return {"layout": done.pop("found"), **{k: v for k, v in done.items() if k not in ("source", "to")}}

    def _data(self, item: Input) -> Mapping[str, Any]:
        found = what_is(Path(item.path))
        to = self._target(found)
        tokens = self._read(found, item.path)
        with staged(self.destination) as part:  # it gets its name when it has been read back
            sample = self._write(part, to, tokens)
            exact = self._verify(part, to, tokens)
        clip = tokens.clips[0]
        row = {"tokens": len(tokens), "grid": list(clip.grid), "frames": len(clip.frame_index_T), "exact": exact}
        return {**row, "destination": self.destination, **({"sample": sample} if sample else {})}

    def _read(self, found: str, path: str) -> PatchTokens:
        if found == "tokens":
            return load_tokens(path)
        if found == "canvases":
            return import_canvases(path, time=self.time, fps=self.fps)
        return mosaics.import_mosaics(path, patch=self.patch, fps=self.fps)

    def _write(self, part: Path, to: str, tokens: PatchTokens) -> Mapping[str, Any]:
        """Returns the training line of mosaics, with the paths they will have."""
        if to == "tokens":
            save_tokens(part, tokens)
        elif to == "canvases":
            canvases.export_canvases(part, tokens, picture_format=self.picture_format, block=self.block, fps=self.fps)
        else:
            line = mosaics.export_mosaics(part, tokens, picture_format=self.picture_format)
            place = Path(self.destination)
            images = [(place / Path(image).name).as_posix() for image in line["image"]]
            return {**line, "image": images, "positions_thw": (place / mosaics.POSITIONS).as_posix()}
        return {}

    def _verify(self, part: Path, to: str, tokens: PatchTokens) -> bool:
        """Read the result; whether the pixels are the very same too (with JPEG they are not)."""
        readers: Mapping[str, Callable[[str], PatchTokens]] = {
            "tokens": load_tokens,
            "canvases": import_canvases,
            "mosaics": mosaics.import_mosaics,
        }
        back = readers[to](str(part))
        names = ("positions_N3", "model_positions_N3", "score_N", "kind_N")
        changed = [name for name in names if not np.array_equal(getattr(back, name), getattr(tokens, name))]
        one, other = back.clips[0], tokens.clips[0]
        times = ("frame_index_T", "pts_seconds_T", "model_time_T")
        changed += [name for name in times if not np.array_equal(getattr(one, name), getattr(other, name))]
        exact = bool(np.array_equal(back.patches_ND, tokens.patches_ND))
        if changed or not (exact or self.picture_format == "jpg"):
            raise TokenFileError(f"{self.destination}: reads back differently: {changed or ['patches_ND']}")
        return exact


def what_is(path: Path) -> Found:
    """What a path holds, by the files that only that kind has; everything else is taken for weights.

    Raises InvalidArgumentError for a folder of token files: they convert one by one.
    """
    if path.name.endswith(TOKEN_SUFFIX):
        return "tokens"
    if (path / canvases.POSITIONS).is_file():
        return "canvases"
    if (path / mosaics.POSITIONS).is_file():
        return "mosaics"
    if path.is_dir() and (held := sorted(path.rglob(f"*{TOKEN_SUFFIX}"))):
        raise InvalidArgumentError("source", str(path), f"one of the {len(held)} token files it holds, {held[0]} say")
    return "weights"


def _text(item: Mapping[str, Any]) -> str:
    if item["found"] != "weights":
        pixels = "pixels and places" if item["exact"] else "places (pixels went through JPEG)"
        made = f"{item['name']}: {item['found']} -> {item['destination']} ({item['to']})"
        lines = [f"{made}, {counted(item['tokens'], 'token')}", f"  read back: the same {pixels}"]
        if "sample" in item:
            lines.append(f"  training line: {json.dumps(item['sample'])}")
        return "\n".join(lines)
    under = f" under {item['prefix']!r}" if item["prefix"] else ""
    kinds = ", ".join(item["dtypes"])
    lines = [
        f"{item['name']}: {LAYOUT_NAMES[item['layout']]}{under}",
        f"  {counted(item['tensors'], 'tensor')}, {item['parameters']:,} parameters ({kinds}) -> {item['destination']} "
        f"({item['to']})",
        "  read back: the same bits",
    ]
    if item["left_out"]:
        lines.append("  left out: " + ", ".join(f"{kind} ({n})" for kind, n in item["left_out"].items()))
    return "\n".join(lines + [f"  note: {note}" for note in item["notes"]])
