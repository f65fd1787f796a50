"""Labels of the motion suite follow what can be seen: measured on drawn pixels and outlines, not read from the plan.

Axes: T frames, H W pixels, 3 = RGB, R rings, A angles.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import pan

from onevision_encoder.evaluate import MotionSuite
from onevision_encoder.evaluate.motion_families import FAMILIES, FamilyName
from onevision_encoder.evaluate.motion_scene import ClipPlan, Scene

SIDE = 160
BOTH: tuple[FamilyName, ...] = ("development", "held_out")
PLAIN = {name: MotionSuite(family=name, final=True, size=SIDE, nuisances=(), frames=(32, 32)) for name in BOTH}


class Watched:
    """A clip without nuisances: its frames, and outlines of the object that the label is about and of the other."""

    def __init__(self, plan: ClipPlan, every: int = 1) -> None:
        self.scene, self.frames = Scene(plan), range(0, plan.frames, every)
        self.rgb = np.stack([self.scene.frame(t) for t in self.frames]).astype(np.float64)
        self.actor = np.stack([self.scene.mask(t, plan.actor) for t in self.frames]).astype(np.float64)
        self.other = np.stack([self.scene.mask(t, 1 - plan.actor) for t in self.frames]).astype(np.float64)

    def still_outside(self) -> bool:
        """No pixel changes but under the actor's outline of this or the next frame."""
        changed = (np.diff(self.rgb, axis=0) != 0).any(-1)
        return not (changed & (self.actor[1:] == 0) & (self.actor[:-1] == 0)).any()

    def activity(self) -> NDArray[np.float64]:
        """Mean change of pixels between frames."""
        change: NDArray[np.float64] = np.abs(np.diff(self.rgb, axis=0)).mean((1, 2, 3))
        return change


def shift(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """(dy, dx) in pixels by phase correlation on the torus, to half a pixel or so."""
    cross = np.fft.fft2(after) * np.conj(np.fft.fft2(before))
    peak = np.fft.ifft2(cross / (np.abs(cross) + 1e-3 * np.abs(cross).max())).real
    at = np.array(np.unravel_index(peak.argmax(), peak.shape))
    size = np.array(peak.shape)
    moved: NDArray[np.float64] = ((at + size // 2) % size - size // 2).astype(np.float64)
    return moved


def centre(mask: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean position on the torus, (y, x) in pixels."""
    turn = np.exp(2j * np.pi * np.arange(SIDE) / SIDE)
    angles = np.angle([(mask.sum(1) * turn).sum(), (mask.sum(0) * turn).sum()])
    where: NDArray[np.float64] = angles / (2 * np.pi) * SIDE % SIDE
    return where


def rings(picture: NDArray[np.float64], at: NDArray[np.float64], radii_R: NDArray[np.float64]) -> NDArray[np.float64]:
    """[R, 180, 3] nearest pixels on circles around a point; angle grows clockwise on the screen."""
    theta_A = np.arange(180) * 2 * np.pi / 180
    y = np.rint(at[0] + radii_R[:, None] * np.sin(theta_A)).astype(int) % SIDE
    x = np.rint(at[1] + radii_R[:, None] * np.cos(theta_A)).astype(int) % SIDE
    return picture[y, x]


def best_lag(before: NDArray[np.float64], after: NDArray[np.float64], lags: range, axis: int) -> int:
    """By how much ``before`` must be rolled to look most like ``after``; rolled-in rows of axis 0 do not count."""

    def distance(lag: int) -> float:
        error = (np.roll(before, lag, axis) - after) ** 2
        if axis == 0 and lag:
            error = error[lag:] if lag > 0 else error[:lag]
        return float(error.mean())

    return min(lags, key=distance)


def small_actor_plan(family: FamilyName, label: str, nth: int = 0, **options: object) -> ClipPlan:
    """A clip of a class whose actor is the small object, which nothing can cover; of ``which_*`` as it comes."""
    config = replace(PLAIN[family], **options)  # type: ignore[arg-type]
    place, found = config.labels.index(label), -1
    for k in range(200):
        plan = config.plan("train", place + k * len(config.labels))
        found += plan.actor == 1 or label.startswith("which")
        if found == nth:
            return plan
    raise AssertionError("no such clip")


def test_the_measures_themselves() -> None:
    mask = np.zeros((SIDE, SIDE))
    mask[150:158, 3:20] = 1
    assert shift(mask, np.roll(mask, (7, -9), (0, 1))).tolist() == [7, -9]
    assert centre(mask) == pytest.approx([153.5, 11.0])
    turned = rings(np.random.default_rng(0).uniform(0, 1, (SIDE, SIDE, 3)), np.array([80.0, 80.0]), np.arange(9.0, 20))
    assert best_lag(turned, np.roll(turned, 5, 1), range(-20, 21), 1) == 5
    assert best_lag(turned, np.roll(turned, -2, 0), range(-5, 6), 0) == -2


SIGNS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}


@pytest.mark.parametrize("family", BOTH)
def test_moves_go_where_and_as_fast_as_they_say(family: FamilyName) -> None:
    f = FAMILIES[family]
    for label in (label for label in f.labels if label.startswith("move")):
        clip = Watched(small_actor_plan(family, label), every=3)
        steps = np.array([shift(a, b) for a, b in pairwise(clip.actor)])
        way, pace = label.removeprefix("move_").rsplit("_", 1)
        sign = np.sum([SIGNS[w] for w in way.split("_")], axis=0)
        mean = steps.mean(0) / 3 / SIDE
        assert (np.sign(np.where(np.abs(mean) < 0.001, 0, mean)) == sign).all(), (label, mean)
        low, high = f.slow if pace == "slow" else f.fast
        assert 0.93 * low < np.linalg.norm(mean) < 1.07 * high, (label, mean)
        assert clip.still_outside()


@pytest.mark.parametrize("family", BOTH)
def test_speeds_do_not_overlap_and_families_differ(family: FamilyName) -> None:
    f = FAMILIES[family]
    assert f.fast[0] > 2 * f.slow[1]
    other = FAMILIES["held_out" if family == "development" else "development"]
    for name in ("slow", "fast", "spin", "growth", "event_frames", "dash", "sway_kind"):
        mine, theirs = getattr(f, name), getattr(other, name)
        disjoint = not isinstance(mine, tuple) or mine[0] > theirs[1] or theirs[0] > mine[1]
        assert mine != theirs, name
        assert disjoint, name
    assert not set(f.directions) & set(other.directions)


@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize("way", ["clockwise", "anticlockwise"])
def test_rotations_turn_as_they_say(family: FamilyName, way: str) -> None:
    f, lags = FAMILIES[family], []
    for nth in range(2):
        plan = small_actor_plan(family, f"rotate_{way}", nth)
        clip = Watched(plan, every=2)
        at = np.mean([np.unwrap(m, period=SIDE) for m in np.array([centre(m) for m in clip.actor]).T], axis=1)
        polar = [rings(p, at, np.arange(4.0, 10.0)) for p in clip.rgb]
        lags += [best_lag(a, b, range(-20, 21), 1) for a, b in pairwise(polar)]
        assert clip.still_outside()
    rate = np.median(lags) * 2 * np.pi / 180 / 2
    assert f.spin[0] * 0.8 < rate * (1 if way == "clockwise" else -1) < f.spin[1] * 1.2, (way, rate)


@pytest.mark.parametrize("way", ["in", "out"])
def test_development_zooms_change_the_outline_s_area(way: str) -> None:
    f = FAMILIES["development"]
    clip = Watched(small_actor_plan("development", f"zoom_{way}"))
    growth = np.diff(np.log(clip.actor.sum((1, 2)))) / 2
    rate = np.median(growth) * (1 if way == "in" else -1)
    assert 0.9 * f.growth[0] < rate < 1.1 * f.growth[1]
    assert np.sum(np.sign(growth) != np.sign(np.median(growth))) <= 2  # starting again, once in 24 to 34 frames
    assert clip.still_outside()


@pytest.mark.parametrize("way", ["in", "out"])
def test_held_out_zooms_flow_through_the_rim(way: str) -> None:
    f, lags, step = FAMILIES["held_out"], [], 0.04
    for nth in range(2):
        clip = Watched(small_actor_plan("held_out", f"zoom_{way}", nth, size=SIDE), every=4)
        assert all((clip.actor[0] == m).all() for m in clip.actor)
        at = np.array(clip.scene.poses.at_TO2[0, 1]) * SIDE
        radii = 0.09 * SIDE * np.exp(np.arange(np.log(0.4), np.log(0.8), step))
        polar = [rings(p, at, radii) for p in clip.rgb]
        lags += [best_lag(a, b, range(-10, 11), 0) for a, b in pairwise(polar)]
        assert clip.still_outside()
    rate = np.median(lags) * step / 4 * (1 if way == "in" else -1)
    assert 0.7 * f.growth[0] < rate < 1.3 * f.growth[1], lags


def bursts(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Runs of frames with change: (first, last + 1)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]]).astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


@pytest.mark.parametrize("family", BOTH)
def test_jumps_are_as_many_as_they_say(family: FamilyName) -> None:
    f = FAMILIES[family]
    for label in (label for label in f.labels if label.startswith("jumps")):
        clip = Watched(small_actor_plan(family, label))
        found = bursts(clip.activity() > 0)
        assert len(found) == int(label[-1])
        for first, last in found:
            assert last - first == f.event_frames
            assert np.linalg.norm(shift(clip.actor[first], clip.actor[last])) == pytest.approx(f.dash * SIDE, abs=1.5)
        assert clip.still_outside()


@pytest.mark.parametrize("family", BOTH)
def test_sixteen_frames_tell_events_apart_and_no_cut_hides_one(family: FamilyName) -> None:
    config = replace(PLAIN[family], frames=(32, 64), nuisances=("cut",))
    gaps, cuts = 0, 0
    for index in range(1200):
        plan = config.plan("train", index)
        events = plan.path.events
        for (_, _, end), (_, start, _) in pairwise(events):
            assert start - end >= plan.frames // 16
            gaps += 1
        for _, start, end in events:
            assert 0 < start < end < plan.frames
            assert plan.cut is None or plan.cut > end or plan.cut <= start
            cuts += plan.cut is not None
    assert min(gaps, cuts) > 50


@pytest.mark.parametrize("family", BOTH)
def test_two_events_come_in_the_order_they_say(family: FamilyName) -> None:
    for label in (label for label in FAMILIES[family].labels if label.startswith("order")):
        for nth in range(2):
            clip = Watched(small_actor_plan(family, label, nth))
            seen = []
            for first, last in bursts(clip.activity() > 0):
                before, after = clip.actor[first], clip.actor[last]
                moved = np.linalg.norm((centre(after) - centre(before) + SIDE / 2) % SIDE - SIDE / 2)
                same_outline = all((clip.actor[t] == before).all() for t in range(first, last + 1))
                seen.append("dash" if moved > 10 else "swell" if same_outline else "turn")
            assert f"order_{'_'.join(seen)}" == label


@pytest.mark.parametrize("family", BOTH)
def test_the_object_that_moves_is_the_one_it_says(family: FamilyName) -> None:
    for label in ("which_large", "which_small"):
        clip = Watched(small_actor_plan(family, label), every=2)
        larger = clip.actor.sum() > clip.other.sum()
        assert label == ("which_large" if larger else "which_small")
        assert all((clip.other[0] == m).all() for m in clip.other)
        places = np.array([(centre(m) - centre(clip.actor[0]) + SIDE / 2) % SIDE - SIDE / 2 for m in clip.actor])
        assert 0.08 * SIDE < np.ptp(places, axis=0).max() < 0.24 * SIDE
        assert clip.still_outside()


@pytest.mark.parametrize("family", BOTH)
def test_static_clips_stand_still(family: FamilyName) -> None:
    assert Watched(small_actor_plan(family, "static"), every=5).activity().max() == 0


@pytest.mark.parametrize("family", BOTH)
def test_a_pan_moves_the_scene_and_the_objects_alike(family: FamilyName) -> None:
    config = replace(PLAIN[family], nuisances=("pan",))
    place = config.labels.index("static")
    plan = next(p for p in (config.plan("train", place + k * 20) for k in range(40)) if p.pan_2 != (0, 0))
    clip, step = Watched(plan, every=4), -4 * SIDE * np.array(plan.pan_2)
    window = np.outer(np.hanning(SIDE), np.hanning(SIDE))
    grey = [(p.mean(-1) - p.mean()) * window for p in clip.rgb]
    scene = np.median([shift(a, b) for a, b in pairwise(grey)], axis=0)
    thing = np.median([shift(a, b) for a, b in pairwise(clip.other)], axis=0)
    assert scene == pytest.approx(step, abs=1.0)
    assert thing == pytest.approx(step, abs=1.0)
    known = pan((3.0, -5.0), frames=2, height=SIDE, width=SIDE) - 128.0  # the measure, on a scene of known motion
    assert shift(known[0] * window, known[1] * window) == pytest.approx([-5, 3], abs=1)
