"""Draw a small street scene and encode it: footage of the project's own, for pictures and demonstrations.

    python examples/make_clip.py street.mp4

A walker, a cyclist, a car, a flag and a bird move through a street that stands still, under the grain of a sensor.
Everything is drawn from the frame's time alone, so the same call gives the same pictures.
"""

from __future__ import annotations

import argparse
import math
from fractions import Fraction

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT, FPS, SECONDS, OVER = 768, 432, 24, 8, 2
ROAD, PAVEMENT = 330, 296
Draw = ImageDraw.ImageDraw


def sky() -> Image.Image:
    """An evening sky, top to bottom, at the size drawn."""
    rows = np.linspace(0, 1, HEIGHT * OVER)[:, None, None]
    picture = (1 - rows) * np.array([58, 84, 140]) + rows * np.array([252, 190, 140])
    return Image.fromarray(np.broadcast_to(picture, (HEIGHT * OVER, WIDTH * OVER, 3)).astype(np.uint8))


def scaled(*numbers: float) -> tuple[float, ...]:
    return tuple(OVER * n for n in numbers)


def house(draw: Draw, left: int, width: int, height: int, wall: str, rng: np.random.Generator) -> None:
    top = PAVEMENT - height
    draw.rectangle(scaled(left, top, left + width, PAVEMENT), fill=wall)
    draw.polygon(scaled(left - 8, top, left + width / 2, top - 46, left + width + 8, top), fill="#5b3a35")
    for y in range(top + 18, PAVEMENT - 34, 44):
        for x in range(left + 14, left + width - 22, 36):
            pane = "#ffd98a" if rng.random() < 0.45 else "#33435c"
            draw.rectangle(scaled(x, y, x + 20, y + 26), fill=pane, outline="#e9e1d3", width=3)
            draw.line(scaled(x + 10, y, x + 10, y + 26), fill="#e9e1d3", width=3)
    draw.rectangle(scaled(left + width / 2 - 11, PAVEMENT - 34, left + width / 2 + 11, PAVEMENT), fill="#3d2a25")


def tree(draw: Draw, x: int, rng: np.random.Generator) -> None:
    draw.rectangle(scaled(x - 5, PAVEMENT - 70, x + 5, PAVEMENT), fill="#4a3428")
    for _ in range(90):
        dx, dy, r = rng.normal(0, 22), rng.normal(0, 20), rng.uniform(5, 13)
        shade = rng.integers(0, 3)
        draw.ellipse(
            scaled(x + dx - r, PAVEMENT - 96 + dy - r, x + dx + r, PAVEMENT - 96 + dy + r),
            fill=("#3f6b3a", "#4e7d43", "#345a33")[shade],
        )


def street() -> Image.Image:
    """What stands still."""
    rng = np.random.default_rng(4)
    picture = sky()
    draw = ImageDraw.Draw(picture)
    hills = [(x, 250 - 34 * math.sin(x / 120) - 16 * math.sin(x / 47)) for x in range(0, WIDTH + 8, 8)]
    draw.polygon([scaled(*p) for p in [(0, HEIGHT), *hills, (WIDTH, HEIGHT)]], fill="#6f7f8f")
    for left, width, height, wall in (
        (24, 132, 150, "#c9a07a"),
        (176, 110, 112, "#9db0a3"),
        (330, 150, 172, "#b98b86"),
        (520, 96, 120, "#cdb98a"),
        (640, 118, 150, "#8fa0b5"),
    ):
        house(draw, left, width, height, wall, rng)
    draw.rectangle(scaled(0, PAVEMENT, WIDTH, ROAD), fill="#a59b90")
    for x in range(-20, WIDTH, 32):
        draw.line(scaled(x + 14, PAVEMENT, x, ROAD), fill="#8d8379", width=2)
    draw.rectangle(scaled(0, ROAD, WIDTH, HEIGHT), fill="#4c4d55")
    for x in range(10, WIDTH, 92):
        draw.rectangle(scaled(x, 388, x + 46, 393), fill="#d8d3c4")
    for x in (312, 628):
        tree(draw, x, rng)
    draw.line(scaled(500, PAVEMENT, 500, 110), fill="#e6e6e6", width=8)
    grain = rng.normal(0, 5, (HEIGHT * OVER, WIDTH * OVER, 1))
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


def limb(draw: Draw, x: float, y: float, length: float, angle: float, bend: float, color: str) -> None:
    """Two bones from a joint; angles from straight down."""
    kx, ky = x + length * math.sin(angle), y + length * math.cos(angle)
    fx, fy = kx + length * math.sin(angle - bend), ky + length * math.cos(angle - bend)
    draw.line(scaled(x, y, kx, ky, fx, fy), fill=color, width=6 * OVER, joint="curve")


def walker(draw: Draw, t: float, x: float, y: float, coat: str) -> None:
    swing, bob = math.sin(6.2 * t), 1.5 * abs(math.cos(6.2 * t))
    hip, neck = y - 34 - bob, y - 62 - bob
    for side in (1, -1):
        limb(draw, x, hip, 17, 0.55 * side * swing, 0.35 + 0.35 * max(0.0, side * swing), "#2c3347")
        limb(draw, x, neck + 6, 13, -0.5 * side * swing, -0.4, coat)
    draw.rounded_rectangle(scaled(x - 8, neck, x + 8, hip + 3), radius=12, fill=coat)
    draw.ellipse(scaled(x - 7, neck - 16, x + 7, neck - 2), fill="#e3b18c")
    draw.pieslice(scaled(x - 8, neck - 18, x + 8, neck - 2), 170, 360, fill="#40291d")


def cyclist(draw: Draw, t: float, x: float, y: float) -> None:
    turn = 7 * t
    for wheel in (x - 22, x + 22):
        draw.ellipse(scaled(wheel - 15, y - 30, wheel + 15, y), outline="#16181d", width=5)
        for spoke in range(4):
            a = turn + spoke * math.pi / 4
            dx, dy = 14 * math.cos(a), 14 * math.sin(a)
            draw.line(scaled(wheel - dx, y - 15 - dy, wheel + dx, y - 15 + dy), fill="#9aa0a8", width=2)
    draw.line(
        scaled(x - 22, y - 15, x - 6, y - 40, x + 16, y - 38, x - 2, y - 15, x - 6, y - 40), fill="#d8443c", width=6
    )
    draw.line(scaled(x - 2, y - 15, x - 22, y - 15), fill="#d8443c", width=6)
    draw.line(scaled(x + 22, y - 15, x + 15, y - 46), fill="#d8443c", width=6)
    for phase in (0.0, math.pi):
        limb(
            draw, x - 5, y - 46, 16, 0.75 + 0.4 * math.sin(turn + phase), 0.9 + 0.3 * math.cos(turn + phase), "#22304d"
        )
    draw.line(scaled(x - 5, y - 47, x + 8, y - 70), fill="#f2c230", width=22)
    draw.line(scaled(x + 7, y - 66, x + 17, y - 47), fill="#f2c230", width=9)
    draw.ellipse(scaled(x + 5, y - 88, x + 20, y - 72), fill="#e3b18c")
    draw.pieslice(scaled(x + 3, y - 91, x + 21, y - 73), 175, 365, fill="#2f7fd0")


def car(draw: Draw, x: float, y: float) -> None:
    draw.rounded_rectangle(scaled(x, y - 34, x + 128, y - 8), radius=16, fill="#2e6f8e")
    draw.polygon(scaled(x + 22, y - 32, x + 42, y - 56, x + 88, y - 56, x + 108, y - 32), fill="#2e6f8e")
    draw.polygon(scaled(x + 30, y - 33, x + 46, y - 51, x + 62, y - 51, x + 62, y - 33), fill="#bcd6e6")
    draw.polygon(scaled(x + 67, y - 33, x + 67, y - 51, x + 85, y - 51, x + 99, y - 33), fill="#bcd6e6")
    draw.ellipse(scaled(x - 2, y - 28, x + 8, y - 18), fill="#fff2b8")
    for wheel in (x + 28, x + 100):
        draw.ellipse(scaled(wheel - 13, y - 22, wheel + 13, y + 4), fill="#16181d")
        draw.ellipse(scaled(wheel - 6, y - 15, wheel + 6, y - 3), fill="#aab0b8")


def flag(draw: Draw, t: float) -> None:
    edge = [(500 + x, 112 + 5 * math.sin(x / 9 - 7 * t) * x / 60) for x in range(0, 61, 4)]
    lower = [(x, y + 36) for x, y in reversed(edge)]
    draw.polygon([scaled(*p) for p in edge + lower], fill="#1f8a83")
    band = [(x, y + 12) for x, y in edge]
    draw.polygon([scaled(*p) for p in band + [(x, y + 12) for x, y in reversed(band)]], fill="#f4e3b5")


def bird(draw: Draw, t: float, x: float, y: float) -> None:
    lift = 9 * math.sin(13 * t)
    draw.line(scaled(x - 14, y - lift, x - 5, y - 3, x, y, x + 5, y - 3, x + 14, y - lift), fill="#20242c", width=6)


def frame(background: Image.Image, t: float) -> np.ndarray:
    """The street at ``t`` seconds, uint8 [H, W, 3]."""
    picture = background.copy()
    draw = ImageDraw.Draw(picture)
    flag(draw, t)
    bird(draw, t, 720 - 84 * t, 70 + 12 * math.sin(1.3 * t))
    walker(draw, t, 92 + 46 * t, 322, "#7d3c62")
    walker(draw, t + 0.4, 600 - 38 * t, 316, "#3d6b58")
    car(draw, 860 - 150 * t, 384)
    cyclist(draw, t, -60 + 106 * t, 416)
    small = picture.filter(ImageFilter.GaussianBlur(0.6)).resize((WIDTH, HEIGHT), Image.Resampling.BOX)
    noise = np.random.default_rng(round(1000 * t)).normal(0, 1.6, (HEIGHT, WIDTH, 1))
    return np.clip(np.asarray(small) + noise, 0, 255).astype(np.uint8)


def main(path: str) -> None:
    background = street()
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FPS * SECONDS):
            made = av.VideoFrame.from_ndarray(frame(background, number / FPS), format="rgb24")
            made.pts, made.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(made))
        container.mux(stream.encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", nargs="?", default="street.mp4", help="video to write (default: %(default)s)")
    main(parser.parse_args().path)
