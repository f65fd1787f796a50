"""Checks with known answers, from the installed libraries to a written preview. Each can fail and says what to do then.

Axes: T frames, K patches, H W pixels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "failed", "missing"]


class MissingPartError(Exception):
    """An optional part is not installed here: nothing is broken."""


class WrongAnswerError(Exception):
    """A check ran to its end and what came out is not what must come out."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check.

    Attributes:
        run: returns what was found, in words; raises MissingPartError, or anything else if it failed.
        needed: the default path (video in, tokens, embeddings and a preview out) does not work without it.
        remedy: what to do where it is not ok.
    """

    name: str
    run: Callable[[], str]
    needed: bool
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a check; ``remedy`` is None where it is ok."""

    name: str
    status: Status
    needed: bool
    detail: str
    remedy: str | None
    seconds: float


def run_checks(checks: list[Check]) -> Iterator[Outcome]:
    """One after the other, whatever fails."""
    for check in checks:
        start = time.perf_counter()
        status: Status = "ok"
        try:
            detail = check.run()
        except MissingPartError as error:
            status, detail = "missing", str(error)
        except Exception as error:  # whatever is broken here must not hide the checks that follow
            status, detail = "failed", f"{type(error).__name__}: {' '.join(str(error).split())}"
        yield Outcome(
            name=check.name,
            status=status,
            needed=check.needed,
            detail=detail,
            remedy=None if status == "ok" else check.remedy,
            seconds=round(time.perf_counter() - start, 3),
        )


def expect(found: object, wanted: object, what: str) -> None:
    """Raise WrongAnswerError unless the two are equal."""
    if found != wanted:
        raise WrongAnswerError(f"{what} is {found}, not {wanted}")
