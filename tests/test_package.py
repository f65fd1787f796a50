"""The package as a whole: what it exports, how light it is to import, which files make it up."""

from __future__ import annotations

import subprocess
import sys

import pytest

import onevision_encoder

PUBLIC = [
    "Embeddings",
    "OneVisionEncoderConfig",
    "OneVisionEncoderImageProcessor",
    "OneVisionEncoderModel",
    "OneVisionEncoderProcessor",
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
