"""Pictures of what is decided block by block: vectors, their search, how each block is predicted."""

from __future__ import annotations

import numpy as np
import panels as draw
from panels import COLD, INK, LEGEND, MUTED, WARM, WIDTH, Panel
from walk import Walk, search_again

from onevision_encoder.codec.twin.bits import vector_bits
from onevision_encoder.types import FrameSequence
from onevision_encoder.view.canvas import Canvas


def motion(frames: FrameSequence, t: int, step: Walk) -> Canvas:
    """Where each block's content came from."""
    H, W = step.source_HW.shape
    k = WIDTH // W
    picture = draw.faded(draw.grey(step.source_HW, k * W))
    canvas, [(left, top)] = draw.sheet(
        [
            Panel(
                title="a dot is a block of this frame, its line the way its content came (vectors of a pixel and more)",
                pixels_HW3=picture,
            )
        ],
        columns=1,
        legend=LEGEND,
    )
    cells = step.coder.cells
    for y in range(0, H, 16):
        for x in range(0, W, 16):
            four = [(u, v) for v in (y, y + 8) for u in (x, x + 8)]
            own = len({(cells[v // 8, u // 8].mv, cells[v // 8, u // 8].inter) for u, v in four}) > 1
            for u, v in four if own else four[:1]:
                cell, middle = cells[v // 8, u // 8], 4 if own else 8
                if not cell.inter or np.hypot(*cell.mv) < 4:
                    continue
                here = left + k * (u + middle), top + k * (v + middle)
                color = WARM if own else COLD
                draw.line(canvas, here, (here[0] + k * cell.mv[0] / 4, here[1] + k * cell.mv[1] / 4), color)
                canvas.rect(here[0] - 2, here[1] - 2, here[0] + 4, here[1] + 4, INK)
    draw.key(
        canvas,
        [(COLD, "one vector for 16 x 16 pixels"), (WARM, "a vector for each 8 x 8"), (INK, "the block now")],
        x=left,
    )
    return canvas


def decisions(frames: FrameSequence, t: int, step: Walk) -> Canvas:
    """How each block was coded."""
    H, W = step.source_HW.shape
    k = WIDTH // W
    base = draw.faded(draw.grey(step.source_HW, k * W))
    canvas, [(left, top)] = draw.sheet(
        [Panel(title="how each block is predicted", pixels_HW3=base)], columns=1, legend=LEGEND
    )
    share = {"skip": 0, "one": 0, "four": 0, "intra": 0}
    for y in range(0, H, 16):
        for x in range(0, W, 16):
            at = [(v // 8, u // 8) for v in (y, y + 8) for u in (x, x + 8)]
            cells = [step.coder.cells[i] for i in at]
            box = left + k * x, top + k * y, left + k * (x + 16), top + k * (y + 16)
            if cells[0].skip:
                share["skip"] += 4
                continue
            if len({(c.mv, c.inter) for c in cells}) == 1 and cells[0].inter:
                share["one"] += 4
                draw.tint(canvas, *box, COLD)
                continue
            for (j, i), cell in zip(at, cells, strict=True):
                share["four" if cell.inter else "intra"] += 1
                small = left + 8 * k * i, top + 8 * k * j, left + 8 * k * (i + 1), top + 8 * k * (j + 1)
                draw.tint(canvas, *small, INK if cell.inter else WARM)
    part = {name: f"{100 * n / (H * W / 64):.0f} %" for name, n in share.items()}
    entries = [
        (draw.DARK.tone, f"untinted, skipped: {part['skip']} of the picture"),
        (COLD, f"one vector: {part['one']}"),
        (INK, f"8 x 8, a vector each: {part['four']}"),
        (WARM, f"8 x 8, intra: {part['intra']}"),
    ]
    draw.key(canvas, entries, x=left)
    return canvas


def whole_pixel_prices(step: Walk, x: int, y: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """(SAD, SAD + lambda x bits) of every whole-pixel vector up to ``reach`` of the block at pixel (x, y), [dy, dx]."""
    plane, margin = np.pad(step.before_HW, 24, mode="edge"), 24 - reach
    area = plane[y + margin : y + margin + 2 * reach + 16, x + margin : x + margin + 2 * reach + 16]
    block = step.source_HW[y : y + 16, x : x + 16]
    sad = np.abs(np.lib.stride_tricks.sliding_window_view(area, (16, 16)) - block).sum((2, 3))
    predictor = step.coder._median(x, y, 16, step.reference)
    rates = [
        vector_bits((4 * dx, 4 * dy), predictor) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)
    ]
    return sad, sad + (np.array(rates).reshape(sad.shape) * step.coder.weight_search >> 16)


def telling_block(step: Walk, reach: int) -> tuple[int, int]:
    """Pixel (x, y) of a block that moved and where the least error lies farthest from the least price."""
    H, W = step.source_HW.shape
    best, at = -1, (0, 0)
    for y in range(16, H - 16, 16):
        for x in range(16, W - 16, 16):
            sad, price = whole_pixel_prices(step, x, y, reach)
            cheap, near = (np.unravel_index(int(np.argmin(m)), m.shape) for m in (price, sad))
            moved = max(abs(int(n) - reach) for n in cheap)
            apart = max(abs(int(a) - int(b)) for a, b in zip(cheap, near, strict=True))
            if moved >= 3 and apart > best:
                best, at = apart, (x, y)
    return at


def searching(frames: FrameSequence, t: int, step: Walk) -> Canvas:
    """The price of every whole-pixel vector of one block, and which of them the search looked at."""
    reach, k = 23, 6
    x, y = telling_block(step, reach)
    found, (sad, price) = search_again(step, x, y), whole_pixel_prices(step, x, y, reach)
    size, top, low = (k * len(sad),) * 2, float(np.percentile(price, 90)), float(sad.min())
    v, u = (min(max(0, n - 40), full - 96) for n, full in zip((y, x), step.source_HW.shape, strict=True))
    panels = [
        Panel(title="this frame; the block", pixels_HW3=draw.grey(step.source_HW[v : v + 96, u : u + 96], size[0])),
        Panel(title="error of every vector; the least", pixels_HW3=draw.heat(top - sad, top - low, size)),
        Panel(title="error + lambda x bits; the search", pixels_HW3=draw.heat(top - price, top - low, size)),
    ]
    canvas, corners = draw.sheet(panels, columns=3, legend=LEGEND)

    def mark(panel: int, dx: float, dy: float, r: int, color: draw.RGB) -> None:
        a, b = (round(corners[panel][i] + k * (d + reach + 0.5)) for i, d in enumerate((dx, dy)))
        canvas.rect(a - r, b - r, a + r + 1, b + r + 1, color)

    zoom = size[0] / 96
    left, above = round(corners[0][0] + zoom * (x - u)), round(corners[0][1] + zoom * (y - v))
    draw.frame(canvas, left, above, left + round(16 * zoom), above + round(16 * zoom), WARM, 2)
    least = np.unravel_index(int(np.argmin(sad)), sad.shape)
    mark(1, int(least[1]) - reach, int(least[0]) - reach, 4, INK)
    for mv in found.seen:
        mark(2, mv[0] / 4, mv[1] / 4, 1, COLD)
    mark(2, found.found[0] / 4, found.found[1] / 4, 4, WARM)
    entries = [
        (INK, "least error"),
        (COLD, f"the {len(found.seen)} vectors looked at"),
        (WARM, f"taken: ({found.found[0] / 4:g}, {found.found[1] / 4:g}) pixels"),
    ]
    draw.key(canvas, entries, x=corners[0][0])
    canvas.text(
        WIDTH - 16, canvas.pixels_HW3.shape[0] - 9, f"bright: cheap; +-{reach} pixels shown", 12, MUTED, "right"
    )
    return canvas
