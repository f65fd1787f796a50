"""Checks of the default path: what is installed, file to tokens, tokens to embeddings, previews.

Axes: T frames, K patches, H W pixels, 3 = RGB or (t, h, w), S clips, C width.
"""

from __future__ import annotations

import importlib.metadata
import io
import tempfile
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onevision_encoder.cli.selftest import Check, MissingPartError, WrongAnswerError, expect

if TYPE_CHECKING:
    from onevision_encoder.tokens.pipeline import ClipReading

DISTRIBUTION = "onevision-encoder"
_PINS = "pip install the versions named, in an environment of its own if another package holds them back"
_TORCH = "reinstall torch and transformers in versions that fit together (pip install --upgrade torch transformers)"
_AV = "pip install --upgrade --force-reinstall av"
_FRAMES, _SIDE, _SAMPLED, _BUDGET = 12, 112, 6, 48


def installed_check() -> Check:
    """Not needed where the package runs from a folder, uninstalled: then there is nothing to compare with."""
    try:
        importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return Check(name="installed versions", run=installed, needed=False, remedy="pip install the package")
    return Check(name="installed versions", run=installed, needed=True, remedy=_PINS)


def path_checks() -> list[Check]:
    return [
        Check(name="file to tokens", run=file_to_tokens, needed=True, remedy=_AV),
        Check(name="encoder: float32", run=encoder_float32, needed=True, remedy=_TORCH),
        Check(name="encoder: as it runs by default", run=encoder_default, needed=True, remedy=_TORCH),
        Check(name="preview .png", run=lambda: preview(".png"), needed=True, remedy="pip install --upgrade pillow"),
        Check(name="preview .gif", run=lambda: preview(".gif"), needed=True, remedy="pip install --upgrade pillow"),
        Check(name="preview .mp4", run=lambda: preview(".mp4"), needed=False, remedy=f"{_AV}, or write .gif"),
    ]


def installed() -> str:
    """Every library that the package declares is there, in a version it accepts."""
    try:
        declared = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingPartError(f"{DISTRIBUTION} is not installed: it runs from a folder") from error
    from packaging.requirements import Requirement

    wanted = [r for r in map(Requirement, declared) if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = []
    for requirement in wanted:
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement} is not installed")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement} is wanted, {version} is installed")
    if wrong:
        raise WrongAnswerError("; ".join(wrong))
    return f"{len(wanted)} libraries, each in a version that is accepted"


def made_file() -> bytes:
    """A Matroska file of a moving square, lossless, so that every pixel that is read is known."""
    import av
    import numpy as np

    from onevision_encoder.codec.known_answer import made_clip

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = _SIDE, _SIDE, "bgr0"
        for i, luma_HW in enumerate(made_clip(_FRAMES, _SIDE, _SIDE)):
            picture = av.VideoFrame.from_ndarray(np.repeat(luma_HW[..., None], 3, -1), format="rgb24")
            picture = picture.reformat(format="bgr0")
            picture.pts, picture.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return file.getvalue()


@cache
def reading() -> ClipReading:
    from onevision_encoder.tokens.pipeline import read_clip

    return read_clip(made_file(), num_frames=_SAMPLED, budget=_BUDGET)


def file_to_tokens() -> str:
    """Encode, decode, select: exact budget, right frames and times, the very pixels of the positions."""
    import numpy as np

    from onevision_encoder.codec.known_answer import made_clip

    tokens = reading().tokens()
    clip, p = tokens.clips[0], tokens.patch
    index = [i * (_FRAMES - 1) // (_SAMPLED - 1) for i in range(_SAMPLED)]
    expect(len(tokens), _BUDGET, "the number of tokens")
    expect(clip.frame_index_T.tolist(), index, "the list of sampled frames")
    expect(np.round(clip.pts_seconds_T * 1000).tolist(), [40.0 * i for i in index], "the list of times in ms")
    times = [63 * i // (_SAMPLED - 1) for i in range(_SAMPLED)]
    expect(clip.model_time_T.tolist(), times, "the list of times the encoder sees")
    expect(len({tuple(row) for row in tokens.positions_N3.tolist()}), _BUDGET, "the number of different positions")
    source = made_clip(_FRAMES, _SIDE, _SIDE)
    for row, (t, h, w) in enumerate(tokens.positions_N3.tolist()):
        block = source[index[t], h * p : h * p + p, w * p : w * p + p]
        if not (tokens.patches_ND[row].reshape(3, p, p) == block).all():
            raise WrongAnswerError(f"the pixels of token {row} are not those of the file at (t, h, w) = {(t, h, w)}")
    share = _on_the_square(tokens, index)
    if share < 0.75:
        raise WrongAnswerError(f"only {share:.0%} of the chosen patches lie where something moves")
    return (
        f"{_BUDGET} of {_SAMPLED * (_SIDE // p) ** 2} patches, each pixel right; {share:.0%} of the chosen ones moved"
    )


def _on_the_square(tokens: Any, index: list[int]) -> float:
    """Share of the patches chosen by their score that touch the square where it is, or was a sample ago."""
    from onevision_encoder.codec.known_answer import SIDE, STEP
    from onevision_encoder.types import Kind

    p, top, chosen, hits = tokens.patch, (_SIDE - SIDE) // 2, 0, 0
    for (t, h, w), kind in zip(tokens.positions_N3.tolist(), tokens.kind_N.tolist(), strict=True):
        if kind != Kind.CODEC:
            continue
        left, right = index[max(t - 1, 0)] * STEP, index[t] * STEP + SIDE
        chosen += 1
        hits += top < h * p + p and h * p < top + SIDE and left < w * p + p and w * p < right
    return hits / chosen if chosen else 0.0


def encoder_float32() -> str:
    """Two clips through a small encoder with given weights, by the default and by the plainest attention."""
    import numpy as np

    from onevision_encoder.model.known_answer import TOLERANCE, known_answer, pooled

    worst = 0.0
    for attention in ("sdpa", "eager"):
        off = float(np.abs(pooled(attention=attention) - known_answer()).max())
        if not off <= TOLERANCE:
            raise WrongAnswerError(f"{attention}: embeddings are off by {off:.2g}, more than {TOLERANCE}")
        worst = max(worst, off)
    return f"sdpa and eager within {worst:.1g} of the answer"


def encoder_default() -> str:
    """The same on the device and in the dtype that are taken where none is named."""
    import numpy as np

    from onevision_encoder.model.known_answer import LEAST_COSINE, known_answer, pooled
    from onevision_encoder.model.precision import inference_dtype, resolve_device

    device = resolve_device("auto")
    choice = inference_dtype(device)
    found, wanted = pooled(device=str(device), dtype=choice.dtype).astype(np.float64), known_answer()
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    cosine = float(((found * wanted).sum(1) / norms).min())
    name = str(choice.dtype).removeprefix("torch.")
    if not cosine >= LEAST_COSINE:
        raise WrongAnswerError(f"{name} on {device}: cosine {cosine:.5f} to the answer, less than {LEAST_COSINE}")
    return f"{name} on {device}: cosine {cosine:.5f} to the answer ({choice.reason})"


def preview(suffix: str) -> str:
    """Write a preview and read it back."""
    import av
    from PIL import Image

    from onevision_encoder.video.decoders import available_encoders
    from onevision_encoder.view import write_preview

    if suffix == ".mp4" and not available_encoders()["libx264"]:
        raise MissingPartError("this build of PyAV has no libx264 encoder")
    clip = reading()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"preview{suffix}"
        write_preview(path, clip.frames, clip.selection, clip.signals, panel=None if suffix == ".png" else 112)
        if suffix == ".mp4":
            with av.open(str(path)) as container:
                size, count = "H.264", sum(1 for _ in container.decode(video=0))
        else:
            with Image.open(path) as image:
                image.load()
                size, count = f"{image.width} x {image.height}", getattr(image, "n_frames", 1)
    expect(count, 1 if suffix == ".png" else _SAMPLED, "the number of pictures in it")
    return f"{size}, {count} picture{'s' if count > 1 else ''}"
