"""The picture of a sweep: dots where the numbers are, names that do not touch, the same in both formats."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from onevision_encoder.evaluate.drawing import SHAPES, Drawing, outline, width_of
from onevision_encoder.evaluate.sweep_plot import COLORS, Dot, Series, draw, pareto

NAMES = ("codec:bits", "codec:fused", "uniform", "uniform_lowres", "random", "codec:frame_difference", "run_length")
SVG = "{http://www.w3.org/2000/svg}"


def some() -> list[Series]:
    return [
        Series(
            name=name,
            dots=tuple(
                Dot(tokens=64 << k, accuracy=0.1 + 0.1 * k + 0.02 * i, low=0.07 + 0.1 * k, high=0.3 + 0.1 * k)
                for k in range(3)
            ),
        )
        for i, name in enumerate(NAMES)
    ]


def test_pareto_against_all_pairs() -> None:
    rng = np.random.default_rng(1)
    dots = [(float(c), float(a)) for c, a in rng.integers(0, 12, (40, 2))]
    best = {(c, a) for c, a in dots if not any((x <= c and y > a) or (x < c and y >= a) for x, y in dots)}
    assert set(pareto(dots)) == best
    assert pareto(dots) == sorted(best)


def test_the_drawing_is_whole_and_its_words_do_not_touch() -> None:
    drawing = draw("Title & more", some(), chance=0.05)
    root = ElementTree.fromstring(drawing.svg())
    words = [(e.text or "", float(e.get("x", 0)), float(e.get("y", 0)), e) for e in root.iter(f"{SVG}text")]
    assert {"Title & more", "chance", "64", "128", "256", *NAMES} <= {text for text, *_ in words}
    boxes = []
    for text, x, y, e in words:
        if e.get("transform"):
            continue
        size, width = int(e.get("font-size", 0)), width_of(text, int(e.get("font-size", 0)))
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[e.get("text-anchor", "start")]
        boxes.append((left, y - 0.75 * size, left + width, y + 0.2 * size))
        assert 0 <= left <= left + width <= drawing.width
        assert 0 <= y <= drawing.height
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (a, b)
    picture = Image.open(io.BytesIO(drawing.png()))
    assert picture.size == (2 * drawing.width, 2 * drawing.height)
    seen = {tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in COLORS}
    pixels = {tuple(rgb) for rgb in np.asarray(picture).reshape(-1, 3).tolist()}
    assert len(seen & pixels) == len(COLORS), "every colour is there in full"


def test_higher_accuracy_lies_higher_and_more_tokens_further_right() -> None:
    series = [Series(name="one", dots=(Dot(tokens=64, accuracy=0.2, low=0.1, high=0.3),))]
    series += [Series(name="two", dots=(Dot(tokens=256, accuracy=0.6, low=0.5, high=0.7),))]
    polygons = re.findall(r'<polygon points="([^"]+)"', draw("t", series).svg())
    centres = [np.mean([[float(v) for v in p.split(",")] for p in polygon.split()], axis=0) for polygon in polygons[:2]]
    (two_x, two_y), (one_x, one_y) = centres  # the better one is drawn first
    assert two_x > one_x
    assert two_y < one_y


def test_markers_are_closed_shapes_of_about_one_size() -> None:
    drawing = Drawing(100, 20)
    for i, shape in enumerate(SHAPES):
        corners = np.array(outline(shape, 10.0 + 10 * i, 10.0, 4.0))
        x, y = corners.T
        area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
        assert 25 < area < 65
        drawing.marker(shape, 10.0 + 10 * i, 10.0, 4.0, "#0072b2")
    drawing.line([(0, 19), (100, 19)], "#000000", 1, (4, 3))
    row = np.asarray(Image.open(io.BytesIO(drawing.png())))[38, :, 0]
    assert 0.4 < (row < 128).mean() < 0.75, "dashes"
