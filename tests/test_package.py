"""The package as a whole: what it exports, how light it is to import, which files make it up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import onevision_encoder

PUBLIC = [
    "Embeddings",
    "OneVisionEncoderConfig",
    "OneVisionEncoderImageProcessor",
    "OneVisionEncoderModel",
    "OneVisionEncoderProcessor",
    "OneVisionForConditionalGeneration",
    "OneVisionVLProcessor",
    "Sampling",
    "SelectionConfig",
    "Sizing",
    "TokenizeConfig",
    "__version__",
    "embed_tokens",
    "load_encoder",
    "load_tokens",
    "make_page",
    "pack",
    "patch_scores",
    "read_clip",
    "read_media",
    "save_tokens",
    "select",
    "tokenize",
    "write_preview",
]


def test_public_names_are_these_and_all_resolve() -> None:
    assert sorted(onevision_encoder.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(onevision_encoder))
    for name in PUBLIC:
        assert getattr(onevision_encoder, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        onevision_encoder.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import onevision_encoder", ("torch", "transformers", "av", "numpy", "PIL")),
        ("import onevision_encoder.cli", ("torch", "transformers", "av")),
        ("from onevision_encoder import tokenize", ("torch", "transformers")),
    ],
)
def test_imports_load_no_more_than_they_need(statement: str, absent: tuple[str, ...]) -> None:
    code = f"{statement}\nimport sys\nprint([m for m in {absent} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_both_sets_of_constraints_differ_only_where_transformers_makes_them() -> None:
    root = Path(__file__).resolve().parents[1]

    def pins(name: str) -> dict[str, str]:
        lines = (root / name).read_text(encoding="utf-8").splitlines()
        return dict(line.split("==") for line in lines if "==" in line)

    new, old = pins("constraints.txt"), pins("constraints-transformers4.txt")
    assert set(new) == set(old)
    assert {name for name in new if new[name] != old[name]} == {"transformers", "huggingface_hub"}
    assert old["transformers"].startswith("4.57.")
    assert new["transformers"].startswith("5.")
    for file in (".ci/run", ".github/workflows/ci.yml"):
        assert "make test-transformers4" in (root / file).read_text(encoding="utf-8"), file
