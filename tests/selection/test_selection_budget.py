"""An exact K, or an error that names the value and what would have been accepted."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selection_clips import fixed

from onevision_encoder.errors import BudgetError
from onevision_encoder.selection import SelectionConfig, resolve_budget


@fixed
@given(tenths=st.integers(1, 1000), units=st.integers(1, 20000), unit=st.sampled_from((1, 4)))
def test_percentage_is_exact_rounded_down_to_units_and_never_nothing(tenths: int, units: int, unit: int) -> None:
    wanted = tenths * units * unit // 1000 // unit * unit  # integers only: no rounding of a float
    text = f"{Decimal(tenths) / 10}%"
    assert resolve_budget(text, available=units * unit, unit=unit, short="error") == max(unit, wanted)


@fixed
@given(units=st.integers(1, 500), unit=st.sampled_from((1, 4)), data=st.data())
def test_integers_are_kept_or_refused(units: int, unit: int, data: st.DataObject) -> None:
    budget = data.draw(st.integers(1, 2 * units * unit))
    if budget <= units * unit and budget % unit == 0:
        assert resolve_budget(budget, available=units * unit, unit=unit, short="error") == budget
    else:
        with pytest.raises(BudgetError, match=f"budget={budget} "):
            resolve_budget(budget, available=units * unit, unit=unit, short="error")


def test_twelve_and_a_half_percent_of_the_usual_clip() -> None:
    assert resolve_budget("12.5%", available=64 * 256, unit=1, short="error") == 2048
    assert resolve_budget(" 2048 ", available=64 * 256, unit=4, short="error") == 2048


@pytest.mark.parametrize(
    "bad", [0, -3, True, 2.5, "0%", "100.1%", "-5%", "abc%", "abc", "", "%", "1e2%", "nan%", "0", "-4"]
)
def test_what_no_clip_could_satisfy_is_refused_when_written(bad: object) -> None:
    with pytest.raises(BudgetError, match=re.escape(f"budget={bad!r}")):
        SelectionConfig(budget=bad)  # type: ignore[arg-type]
    with pytest.raises(BudgetError, match="percentage above 0% and up to 100%"):
        resolve_budget(bad, available=100, unit=1, short="error")  # type: ignore[arg-type]


def test_the_allowed_range_is_named() -> None:
    with pytest.raises(BudgetError, match=r"budget=101 .* 1 to 100"):
        resolve_budget(101, available=100, unit=1, short="error")
    with pytest.raises(BudgetError, match=r"budget=104 .* 4 to 100 in steps of 4"):
        resolve_budget(104, available=100, unit=4, short="error")
    with pytest.raises(BudgetError, match="44 or 48"):
        resolve_budget(46, available=100, unit=4, short="error")
    with pytest.raises(BudgetError, match="2x2 blocks: 4"):
        resolve_budget(3, available=100, unit=4, short="error")


def test_cap_takes_what_a_short_clip_holds() -> None:
    assert resolve_budget(101, available=100, unit=4, short="cap") == 100
    assert resolve_budget(96, available=100, unit=4, short="cap") == 96


def test_a_frame_without_picture_has_no_budget() -> None:
    with pytest.raises(BudgetError, match="0 content patches"):
        resolve_budget("50%", available=0, unit=1, short="error")
