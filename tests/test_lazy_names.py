"""The lazy packages: what type checkers are told is what is found at run time."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import onevision_encoder

SRC = Path(onevision_encoder.__file__).parent
LAZY = sorted(
    path for path in (SRC / "__init__.py", *SRC.glob("*/__init__.py")) if "lazy_names(" in path.read_text("utf-8")
)


def package_of(path: Path) -> str:
    return ".".join(("onevision_encoder", *path.parent.relative_to(SRC).parts))


def told_to_type_checkers(path: Path) -> dict[str, str]:
    """Public name -> the submodule below the package it is imported from."""
    (block,) = (node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.If))
    told = {}
    for statement in block.body:
        assert isinstance(statement, ast.ImportFrom)
        assert statement.module is not None
        for alias in statement.names:
            assert alias.asname == alias.name, "a type checker re-exports only what is imported as itself"
            told[alias.name] = statement.module.removeprefix(package_of(path) + ".")
    return told


def test_the_packages_are_these() -> None:
    assert {path.parent.name for path in LAZY} >= {"onevision_encoder", "video", "codec", "tokens", "model", "view"}


@pytest.mark.parametrize("path", LAZY, ids=package_of)
def test_names_are_the_same_for_type_checkers_and_at_run_time(path: Path) -> None:
    package = importlib.import_module(package_of(path))
    told = told_to_type_checkers(path)
    assert told == package._HOME
    public = set(told) | ({"__version__"} if package is onevision_encoder else set())
    assert set(package.__all__) == public
    assert dir(package) == sorted(public)
    for name, module in told.items():
        assert getattr(package, name) is getattr(importlib.import_module(f"{package.__name__}.{module}"), name)
    with pytest.raises(AttributeError, match=rf"^module '{package.__name__}' has no attribute 'no_such_name'$"):
        package.no_such_name  # noqa: B018


def test_nothing_is_loaded_before_it_is_used() -> None:
    code = (
        "import sys, onevision_encoder.video as v\n"
        "before = [m for m in sys.modules if m.startswith('onevision_encoder')]\n"
        "v.Sampling\n"
        "print(sorted(before), [f'onevision_encoder.video.{m}' in sys.modules for m in ('config', 'reader')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert out == "['onevision_encoder', 'onevision_encoder.lazy', 'onevision_encoder.video'] [True, False]"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("encode", r"model\.encode_video.*embed_tokens"),
        ("embed", r"model\.encode_video.*embed_tokens"),
        ("encode_video", r"model\.encode_video"),
        ("load_model", "did you mean load_encoder"),
        ("read_video", r"onevision_encoder\.video\.read_video"),
        ("preview", "write_preview"),
        ("convert", r"onevision_encoder\.model\.convert_checkpoint"),
        ("tokenise", "did you mean tokenize"),
        ("no_such_thing_at_all", "has no attribute 'no_such_thing_at_all'$"),
    ],
)
def test_a_name_that_does_not_exist_says_which_does(name: str, message: str) -> None:
    with pytest.raises(AttributeError, match=message):
        onevision_encoder.__getattr__(name)


def test_hints_name_what_exists() -> None:
    assert callable(importlib.import_module("onevision_encoder.model").convert_checkpoint)
    assert callable(importlib.import_module("onevision_encoder.video").read_video)
    for guess in onevision_encoder._GUESSES:
        assert guess not in onevision_encoder.__all__
