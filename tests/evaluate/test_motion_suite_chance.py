"""One frame of a clip of the motion suite says nothing about its class."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from one_frame import Z_999, accuracies, chance_interval, kernel_ridge, ridge

from onevision_encoder.evaluate import MotionSuite
from onevision_encoder.evaluate.motion_families import FamilyName
from onevision_encoder.evaluate.motion_scene import ClipPlan, Scene, plan_clip, poses

BOTH: tuple[FamilyName, ...] = ("development", "held_out")


def suite(family: FamilyName, **options: object) -> MotionSuite:
    return replace(MotionSuite(family=family, final=True, size=64), **options)  # type: ignore[arg-type]


def plans(config: MotionSuite, count: int) -> tuple[list[ClipPlan], np.ndarray]:
    return [config.plan("train", i) for i in range(count)], np.arange(count) % len(config.labels)


@lru_cache
def pose_plans(family: FamilyName) -> tuple[list[ClipPlan], np.ndarray]:
    return plans(suite(family), 1600)


@lru_cache
def pose_table(family: FamilyName) -> np.ndarray:
    """[3, N, D]: pose features of the first, middle and last frame."""
    return np.array([[pose_features(p, rows(p)[k]) for p in pose_plans(family)[0]] for k in range(3)])


def rows(plan: ClipPlan) -> tuple[int, int, int]:
    """First, middle and last frame."""
    return 0, plan.frames // 2, plan.frames - 1


def relabelled(config: MotionSuite, plan: ClipPlan, label: str) -> ClipPlan:
    how = {"size": config.size, "frames": config.frames, "nuisances": config.nuisances, "codecs": config.codecs}
    return plan_clip(plan.family, label, plan.seed, **how)  # type: ignore[arg-type]


def test_chance_interval_is_the_binomial_s() -> None:
    low, high = chance_interval(400, 20)
    sample = np.random.default_rng(0).binomial(400, 1 / 20, 400_000) / 400
    inside = np.mean((sample >= low) & (sample <= high))
    assert 0.999 <= inside < 0.9997
    assert low < 1 / 20 < high < 0.1


@pytest.mark.parametrize("family", BOTH)
def test_the_first_frame_is_the_same_picture_whatever_the_class(family: FamilyName) -> None:
    config = suite(family)
    for index in (0, 1, 17):
        plan = config.plan("val", index)
        expected = Scene(relabelled(config, plan, "static")).frame(0)
        for label in config.labels:
            other = relabelled(config, plan, label)
            assert (other.frames, other.cut, other.sigma, other.coding) == (
                plan.frames,
                plan.cut,
                plan.sigma,
                plan.coding,
            )
            assert np.array_equal(other.camera_T2, plan.camera_T2)
            if not label.startswith("which"):  # whose path begins anywhere on its circle
                assert other.actor == relabelled(config, plan, "static").actor
                assert np.array_equal(Scene(other).frame(0), expected)


@pytest.mark.parametrize("family", BOTH)
def test_appearance_after_a_cut_is_independent_of_the_class(family: FamilyName) -> None:
    """The background around the objects, in the last frame of a clip with a cut."""
    config = suite(family, nuisances=("cut", "pan"))
    index = next(i for i in range(100) if config.plan("train", i).cut is not None)
    plan = config.plan("train", index)
    scenes = [Scene(relabelled(config, plan, label)) for label in config.labels]
    last = plan.frames - 1
    covered = np.max([s.mask(last, o) for s in scenes for o in (0, 1)], axis=0) > 0
    pictures = np.array([s.frame(last)[~covered] for s in scenes])
    assert pictures.shape[1] > 50
    assert (pictures == pictures[0]).all()


def pose_features(plan: ClipPlan, t: int) -> np.ndarray:
    """All a perfect eye could read from one frame: cosine and sine of every coordinate of both objects."""
    pose = poses(plan)
    turns = np.concatenate(
        [
            2 * np.pi * pose.at_TO2[t].ravel(),
            pose.angle_TO[t],
            2 * np.pi / plan.family.swell_period * pose.swell_TO[t],
            2 * np.pi * (pose.at_TO2[t, 0] - pose.at_TO2[t, 1]),
        ]
    )
    return np.concatenate([np.cos(turns), np.sin(turns)])


@pytest.mark.parametrize("family", BOTH)
def test_perfect_knowledge_of_one_frame_is_at_chance(family: FamilyName) -> None:
    _, label_N = pose_plans(family)
    low, high = chance_interval(800, 20)
    for k, x in enumerate(pose_table(family)):
        for probe in (ridge, kernel_ridge):
            accuracy = np.mean(probe(x[:800], label_N[:800], x[800:]) == label_N[800:])
            assert low <= accuracy <= high, (k, probe.__name__, accuracy)


@pytest.mark.parametrize("family", BOTH)
def test_poses_are_even_on_their_circles_in_every_class(family: FamilyName) -> None:
    """Mean cosine and sine of each coordinate, class by class, at the first, middle and last frame: Rayleigh's test."""
    _, label_N = pose_plans(family)
    worst, tests = 0.0, 0
    for x in pose_table(family):
        for label in range(20):
            mean = x[label_N == label].mean(0)
            resultant = np.hypot(*np.split(mean, 2)) ** 2 * (label_N == label).sum()
            worst, tests = max(worst, float(resultant.max())), tests + len(resultant)
    # exp(-resultant) is the chance of one; all of them together have one in a thousand.
    assert worst < -np.log(0.001 / tests)


@pytest.mark.parametrize("family", BOTH)
def test_nuisances_length_and_coding_are_independent_of_the_class(family: FamilyName) -> None:
    made, label_N = pose_plans(family)
    quantities = {
        "codec": [p.coding.codec for p in made],
        "quality": [p.coding.quality // 8 for p in made],
        "gop": [p.coding.gop for p in made],
        "fps": [p.coding.fps for p in made],
        "frames": [p.frames // 9 for p in made],
        "cut": [p.cut is None for p in made],
        "noise": [p.sigma == 0 for p in made],
        "shake": [p.shake == 0 for p in made],
        "pan": [p.pan_2 == (0, 0) for p in made],
        "pan direction": [(p.pan_2[0] > 0, p.pan_2[1] > 0) for p in made],
    }
    for name, values in quantities.items():
        _, value_N = np.unique([str(v) for v in values], return_inverse=True)
        table = np.zeros((20, value_N.max() + 1))
        np.add.at(table, (label_N, value_N), 1)
        assert table.shape[1] > 1, name
        expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
        freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
        chi2 = ((table - expected) ** 2 / expected).sum() / freedom
        # Wilson and Hilferty 1931: the cube root of chi2 / freedom is nearly normal.
        z = (chi2 ** (1 / 3) - (1 - 2 / (9 * freedom))) / np.sqrt(2 / (9 * freedom))
        assert z < Z_999, (name, z)


@lru_cache
def drawn(config: MotionSuite, count: int) -> np.ndarray:
    """[3, N, H, W, 3]: first, middle and last frames."""
    scenes = [Scene(p) for p in plans(config, count)[0]]
    return np.array([[s.frame(rows(s.plan)[k]) for s in scenes] for k in range(3)])


def one_frame_accuracies(config: MotionSuite, count: int, train: int) -> dict[tuple[str, str, str], float]:
    _, label_N = plans(config, count)
    out = {}
    for where, pictures in zip(("first", "middle", "last"), drawn(config, count), strict=True):
        out |= {(where, *key): value for key, value in accuracies(pictures, label_N, train).items()}
    return out


def test_one_frame_classifiers_are_at_chance() -> None:
    low, high = chance_interval(150, 20)
    for key, accuracy in one_frame_accuracies(suite("development"), 320, 170).items():
        assert low <= accuracy <= high, (key, accuracy, low, high)


def test_the_classifiers_learn_what_a_frame_does_show() -> None:
    """The same features and probes tell where the large object is: chance above is no weakness of theirs."""
    made, _ = plans(suite("development"), 320)
    quarter_N = np.array([int(2 * poses(p).at_TO2[0, 0, 0]) * 2 + int(2 * poses(p).at_TO2[0, 0, 1]) for p in made])
    found = accuracies(drawn(suite("development"), 320)[0], quarter_N, 220)
    assert max(found.values()) > 0.5
    assert found["hog", "ridge"] > chance_interval(100, 4)[1]


@pytest.mark.slow
@pytest.mark.parametrize("family", BOTH)
def test_one_frame_classifiers_are_at_chance_on_thousands(family: FamilyName) -> None:
    low, high = chance_interval(1200, 20)
    found = one_frame_accuracies(suite(family), 2400, 1200)
    for key, accuracy in found.items():
        assert low <= accuracy <= high, (key, accuracy, low, high)
