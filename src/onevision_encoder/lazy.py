"""Public names of a package that load their module when first used (PEP 562), so that importing a package is light.

A package's ``__init__`` ends in ``__getattr__, __dir__, __all__ = lazy_names(__name__, {"name": "module", ...})`` and
imports the same names under ``TYPE_CHECKING``, which is all that a type checker sees.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(
    package: str,
    home: Mapping[str, str],
    *,
    eager: tuple[str, ...] = (),
    first: Callable[[], None] | None = None,
    guesses: Mapping[str, str] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``(__getattr__, __dir__, __all__)`` of a package.

    Args:
        package: its ``__name__``. home: public name -> the submodule that defines it.
        eager: public names that the package defines itself.
        first: called before a name is taken.
        guesses: name that a reader may try -> what to write instead; for the message of the AttributeError.
    """
    public = sorted([*eager, *home])

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}{_meant(name, public, guesses or {})}")
        if first is not None:
            first()
        return getattr(importlib.import_module(f"{package}.{home[name]}"), name)

    return get, lambda: list(public), public


def _meant(name: str, public: list[str], guesses: Mapping[str, str]) -> str:
    if name.startswith("_"):  # asked for by tools (``__wrapped__``), not by a reader
        return ""
    import difflib

    near = [guesses[name]] if name in guesses else difflib.get_close_matches(name, public, n=2)
    return f"; did you mean {' or '.join(near)}?" if near else ""
