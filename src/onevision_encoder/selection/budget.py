"""A budget in words becomes an exact number of patches, or an error that says what would have been accepted."""

from __future__ import annotations

import re
from fractions import Fraction
from numbers import Integral
from typing import Literal

from onevision_encoder.errors import BudgetError

_PERCENT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*%")
_ACCEPTED = "a positive whole number of patches, or a percentage above 0% and up to 100% such as '12.5%'"


def parse_budget(budget: object) -> int | Fraction:
    """An integer count, or the exact share 0 < f <= 1 that a percentage names.

    Raises:
        BudgetError: neither, or out of the range that any clip could satisfy.
    """
    if isinstance(budget, str):
        text = budget.strip()
        if match := _PERCENT.fullmatch(text):
            share = Fraction(match[1]) / 100
            if not 0 < share <= 1:
                raise BudgetError("budget", budget, _ACCEPTED)
            return share
        if not (text.isdecimal() and int(text) > 0):
            raise BudgetError("budget", budget, _ACCEPTED)
        return int(text)
    if isinstance(budget, bool) or not isinstance(budget, Integral) or budget < 1:
        raise BudgetError("budget", budget, _ACCEPTED)
    return int(budget)


def resolve_budget(
    budget: int | str, *, available: int, unit: int = 1, short: Literal["error", "cap"] = "error"
) -> int:
    """The exact number K of patches that ``budget`` asks of a clip.

    Args:
        available: content patches of the clip (letterbox does not count), a multiple of ``unit``.
        unit: patches of a selection unit: 1, or 4 where a 2x2 merge follows.
        short: what to do about an integer above ``available``: refuse, or take what there is.
    Returns:
        A multiple of ``unit`` from ``unit`` to ``available``. A percentage is rounded down to it, and up to one unit.
    Raises:
        BudgetError: names the value and the allowed range; an integer between two multiples of ``unit`` names both.
    """
    if available < unit:
        raise BudgetError("budget", budget, f"the frames hold {available} content patches, a unit is {unit}")
    parsed = parse_budget(budget)
    if isinstance(parsed, Fraction):
        return max(unit, int(parsed * available) // unit * unit)
    if parsed > available:
        if short == "cap":
            return available
        steps = f" in steps of {unit}" if unit > 1 else ""
        allowed = f"{unit} to {available}{steps}: all there are; short 'cap' takes those"
        raise BudgetError("budget", budget, allowed, available=available)
    if parsed % unit:
        low, high = parsed // unit * unit, -(-parsed // unit) * unit
        near = f"{low} or {high}" if low else f"{high}"
        raise BudgetError("budget", budget, f"a multiple of {unit}, because patches are taken as 2x2 blocks: {near}")
    return parsed
