"""The pictures of block-coder.md, from any video: one frame of it, looked at the way the block coder does.

    python docs/pictures/make_pictures.py VIDEO [--frame 20] [--out docs/pictures]

The 64 sampled frames are sized as for an encoder with patches of 16 pixels. Everything is taken from the readable
coder, which is checked against the C core on the way. The pictures in this folder are of Big Buck Bunny,
(c) Blender Foundation, CC-BY 3.0.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import panels as draw
from blocks import decisions, motion, searching
from panels import COLD, INK, LEGEND, MUTED, WARM, WIDTH, Panel
from PIL import Image
from walk import Walk, walk

from onevision_encoder.codec import blockcoder_signals, raw_scores
from onevision_encoder.codec.blockcoder import coder_constants
from onevision_encoder.codec.twin import coded_frames
from onevision_encoder.codec.twin.pictures import DCT, transform
from onevision_encoder.types import FrameSequence
from onevision_encoder.video import Sampling, Sizing, read_video
from onevision_encoder.view.canvas import Canvas

HALF = (WIDTH - 3 * draw.GAP) // 2
Draw = Callable[[FrameSequence, int, Walk], Canvas]


def prediction(frames: FrameSequence, t: int, step: Walk) -> Canvas:
    """What is left of a frame after each of two guesses."""
    old = np.abs(step.source_HW - step.before_HW)
    new = np.abs(step.source_HW - step.prediction_HW)
    grey = [draw.grey(p, HALF) for p in (step.before_HW, step.source_HW, step.prediction_HW)]
    left = [draw.heat(p, 64, grey[0].shape[:2]) for p in (old, new)]
    canvas, _ = draw.sheet(
        [
            Panel(title="a  the frame before, as a decoder shows it", pixels_HW3=grey[0]),
            Panel(title="b  this frame", pixels_HW3=grey[1]),
            Panel(title=f"c  |b - a|: {old.mean():.1f} grey levels a pixel", pixels_HW3=left[0]),
            Panel(title=f"d  |b - prediction|: {new.mean():.1f} grey levels a pixel", pixels_HW3=left[1]),
        ],
        columns=2,
        legend=LEGEND,
    )
    draw.scale(canvas, 64, "grey levels")
    return canvas


def transforming(frames: FrameSequence, t: int, step: Walk) -> Canvas:
    """One cell from residual to what is left of it."""
    coder, best = step.coder, (-1, (0, 0))
    for (j, i), cell in coder.cells.items():
        if cell.inter and cell.coded:
            change = (
                step.decoded_HW[8 * j : 8 * j + 8, 8 * i : 8 * i + 8]
                - step.prediction_HW[8 * j : 8 * j + 8, 8 * i : 8 * i + 8]
            )
            worth = int(np.abs(change).sum())
            best = max(best, (worth if worth < 64 * 16 else 0, (j, i)))
    j, i = best[1]
    cut = slice(8 * j, 8 * j + 8), slice(8 * i, 8 * i + 8)
    residual = step.source_HW[cut] - step.prediction_HW[cut]
    spectrum = transform(residual, DCT, (2, 9))
    magnitude = np.abs(spectrum) + coder.p["round_inter"] * coder.step16 // 256
    levels = np.sign(spectrum) * (magnitude * (65536 // coder.step16) >> 16)
    change, side = step.decoded_HW[cut] - step.prediction_HW[cut], 26
    tables = [
        Panel(title="residual, grey levels", pixels_HW3=draw.numbers(residual, 80, side)),
        Panel(title="its spectrum", pixels_HW3=draw.numbers(np.round(spectrum / 16), 160, side)),
        Panel(title=f"levels: divided by {coder.step16 / 16:.1f}", pixels_HW3=draw.numbers(levels, 18, side)),
        Panel(title=f"decoded; {step.bits_yx[j, i]:.0f} bits", pixels_HW3=draw.numbers(change, 80, side)),
    ]
    return draw.sheet(tables, columns=4)[0]


def quantising(frames: FrameSequence, t: int, step: Walk) -> Canvas:
    """The same crop of the decoded frame, coded at three steps."""
    j, i = np.unravel_index(
        int(np.argmax(step.bits_yx[:-6, :-6])), (step.bits_yx.shape[0] - 6, step.bits_yx.shape[1] - 6)
    )
    y, x = (min(max(0, 8 * int(n) - 36), full - 96) for n, full in zip((j, i), step.source_HW.shape, strict=True))
    panels, constants = [], coder_constants()
    for more in (0, 64, 128):
        given = constants | {name: constants[name] + more for name in ("qp_inter", "qp_intra")}
        coder = list(coded_frames(frames.luma_THW[t - 1 : t + 1], constants=given))[1][0]
        bits, error = sum(coder.out.bits.values()) / 256, np.abs(coder.recon - coder.source).mean()
        title = f"step {coder.step16 / 16:.0f}: {bits:,.0f} bits, error {error:.1f}"
        panels.append(Panel(title=title, pixels_HW3=draw.grey(coder.recon[y : y + 96, x : x + 96], 282, smooth=False)))
    return draw.sheet(panels, columns=3)[0]


def bits(frames: FrameSequence, t: int, step: Walk) -> Canvas:
    """What was sent, and what it cost."""
    H, W = step.source_HW.shape
    size, top = (round(H * HALF / W), HALF), float(np.percentile(step.bits_yx, 99))
    sent = draw.grey(128 + 2 * (step.decoded_HW - step.prediction_HW), HALF)
    title = f"bits of each cell; {step.bits_yx.sum():,.0f} together"
    panels = [
        Panel(title="the coded residual: grey is none, contrast doubled", pixels_HW3=sent),
        Panel(title=title, pixels_HW3=draw.heat(step.bits_yx, top, size)),
    ]
    canvas, corners = draw.sheet(panels, columns=2, legend=LEGEND)
    draw.scale(canvas, top, "bits a cell of 8 x 8 pixels", x=corners[1][0])
    return canvas


def clip(frames: FrameSequence, t: int, step: Walk) -> Canvas:
    """Bits of each frame of a clip with a cut: its second half is mirrored."""
    luma_THW = frames.luma_THW.copy()
    half = len(luma_THW) // 2
    luma_THW[half:] = luma_THW[half:, :, ::-1]
    signals = blockcoder_signals(luma_THW)
    assert signals.bits_Tyx is not None
    bits_T = signals.bits_Tyx.sum((1, 2))
    room, low = 150, 186
    canvas = Canvas(low + LEGEND + 4, WIDTH, draw.DARK.background)
    title = "thousand bits of each frame; the clip is mirrored from the middle on, which makes a cut"
    canvas.text(draw.GAP, 16, title, 13, INK)
    pitch, left = (WIDTH - 40) // len(bits_T), 40
    for value in np.linspace(0, bits_T.max(), 3):
        y = low - round(room * value / bits_T.max())
        canvas.rect(left, y, WIDTH, y + 1, draw.DARK.rule)
        canvas.text(left - 6, y + 4, f"{value / 1000:.0f}", 12, MUTED, "right")
    for i, value in enumerate(bits_T):
        x = left + i * pitch
        color = WARM if signals.cut_T[i] else INK if i == t else COLD
        canvas.rect(x, low - round(room * value / bits_T.max()), x + pitch - 2, low, color)
    entries = [(WARM, "first of a scene: all intra"), (COLD, "predicted from the frame before")]
    draw.key(canvas, [*entries, (INK, f"frame {t}, that of the pictures above")], x=left)
    return canvas


def scores(frames: FrameSequence, t: int, step: Walk) -> Canvas:
    """The four scores of the frame's patches, the best eighth of them outlined."""
    signals, panels, marks = blockcoder_signals(frames.luma_THW), [], []
    H, W = frames.luma_THW.shape[1:]
    size, patch = (round(H * HALF / W), HALF), frames.patch
    units = {"bits": "bits a cell", "residual": "grey levels", "motion": "pixels", "fused": ""}
    for name, unit in units.items():
        score_hw = raw_scores(signals, patch=patch, score=name)[t]
        top = float(np.percentile(score_hw, 99))
        shown = draw.heat(score_hw, top, size) * 0.62 + draw.grey(frames.luma_THW[t], HALF) * 0.3
        panels.append(Panel(title=f"{name}, up to {top:.3g} {unit}", pixels_HW3=shown.astype(np.uint8)))
        marks.append(np.argsort(-score_hw, axis=None, kind="stable")[: score_hw.size // 8])
    canvas, corners = draw.sheet(panels, columns=2, legend=LEGEND)
    columns, side = W // patch, patch * HALF / W
    for (left, top_), chosen in zip(corners, marks, strict=True):
        for n in chosen:
            x, y = left + side * (n % columns), top_ + side * (n // columns)
            draw.frame(canvas, round(x), round(y), round(x + side), round(y + side), COLD)
    draw.key(canvas, [(COLD, f"the best eighth of the frame's {score_hw.size} patches of {patch} x {patch} pixels")])
    return canvas


PICTURES: dict[str, Draw] = {
    "prediction.jpg": prediction,
    "motion.jpg": motion,
    "search.jpg": searching,
    "decisions.jpg": decisions,
    "transform.png": transforming,
    "quantiser.jpg": quantising,
    "bits.jpg": bits,
    "clip.png": clip,
    "scores.jpg": scores,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--frame", type=int, default=20, help="which of the 64 sampled frames, 1 or later")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()
    frames = read_video(args.video, sampling=Sampling(), sizing=Sizing(patch=16, max_patches=200))
    if not 0 < args.frame < len(frames.luma_THW):
        raise SystemExit(f"--frame is 1 to {len(frames.luma_THW) - 1} for this video")
    if min(frames.luma_THW.shape[1:]) < 96:
        raise SystemExit(f"{args.video} is too small: the pictures need 96 pixels each way")
    step = walk(frames.luma_THW[: args.frame + 1])
    args.out.mkdir(parents=True, exist_ok=True)
    for name, make in PICTURES.items():
        picture = Image.fromarray(make(frames, args.frame, step).pixels_HW3)
        if name.endswith(".jpg"):
            picture.save(args.out / name, quality=84, optimize=True)
        else:
            picture.quantize(128, dither=Image.Dither.NONE).save(args.out / name, optimize=True)


if __name__ == "__main__":
    main()
