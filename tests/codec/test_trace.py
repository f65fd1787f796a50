"""Single steps and their composition. Axes: y x cells of 8 pixels, 2 = (dx, dy)."""

from __future__ import annotations

import numpy as np

from onevision_encoder.codec.trace import Step, compose, one_step
from onevision_encoder.codec.vectors import VectorField, vector_field


def field(past: float | None, future: float | None) -> VectorField:
    def plane(value: float | None) -> tuple[np.ndarray, np.ndarray]:
        vectors = np.zeros((1, 2, 2), np.float32)
        vectors[..., 0] = value or 0
        return vectors, np.full((1, 2), value is not None)

    (past_yx2, from_past), (future_yx2, from_future) = plane(past), plane(future)
    return VectorField(past_yx2=past_yx2, future_yx2=future_yx2, from_past_yx=from_past, from_future_yx=from_future)


def test_vectors_are_divided_by_their_distance_and_the_shorter_one_counts() -> None:
    cases = [
        (field(6, None), 3, None, 2.0),  # P after two B
        (field(None, 8), 1, 2, 4.0),  # B with a later reference only
        (field(2, 99), 1, 3, 2.0),
        (field(99, 2), 3, 1, 2.0),
        (field(4, 8), 2, 2, 3.0),  # equally far: the mean
        (field(7, 3), None, 1, 3.0),  # the earlier reference was not read
    ]
    for given, since_past, until_future, dx in cases:
        step = one_step(given, since_past, until_future)
        np.testing.assert_allclose(step.moved_yx2[..., 0], dx)
        assert step.known_yx.all()
    assert not one_step(field(None, 8), 1, None).known_yx.any()
    assert not one_step(field(8, None), None, None).known_yx.any()


def test_content_is_followed_across_cells() -> None:
    """A block enters from the left at 5 pixels a frame over a still ground: where it ends, it has moved 8 x 5."""
    steps = []
    for t in range(1, 9):
        moved = np.zeros((1, 16, 2), np.float32)
        centre = np.arange(16) * 8 + 4
        inside = (centre >= t * 5) & (centre < t * 5 + 32)
        moved[0, inside, 0] = 5
        steps.append(Step(moved_yx2=moved, known_yx=np.ones((1, 16), np.int32), frames=1))
    motion, known = compose(steps).motion()
    assert known.all()
    # Pixels 40 to 72 hold the block at the end; its front cell falls off the block where cells are too coarse for it.
    np.testing.assert_allclose(motion[0, 5:8, 0], 40)
    assert 0 < motion[0, 8, 0] <= 40
    np.testing.assert_allclose(motion[0, 9:, 0], 0)


def test_composition_does_not_depend_on_how_steps_are_grouped() -> None:
    rng = np.random.default_rng(0)
    steps = [
        Step(
            moved_yx2=np.full((6, 6, 2), rng.integers(-2, 3, 2), np.float32),
            known_yx=np.ones((6, 6), np.int32),
            frames=1,
        )
        for _ in range(9)
    ]
    whole, grouped = compose(steps), compose([compose(steps[:4]), compose(steps[4:])])
    assert whole.frames == grouped.frames == 9
    np.testing.assert_allclose(whole.moved_yx2, grouped.moved_yx2)


def test_unknown_steps_go_on_like_the_known_ones() -> None:
    known = Step(moved_yx2=np.full((2, 2, 2), 3.0, np.float32), known_yx=np.ones((2, 2), np.int32), frames=1)
    unknown = Step(moved_yx2=np.zeros((2, 2, 2), np.float32), known_yx=np.zeros((2, 2), np.int32), frames=1)
    motion, is_known = compose([known, unknown, known]).motion()
    np.testing.assert_allclose(motion, 9.0)
    assert is_known.all()
    assert not compose([unknown, unknown]).motion()[1].any()


def test_a_frame_without_vectors_is_a_field_without_any() -> None:
    empty = vector_field(None, 20, 30)
    assert empty.past_yx2.shape == (3, 4, 2)
    assert not empty.from_past_yx.any()
    assert not empty.from_future_yx.any()
