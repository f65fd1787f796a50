"""The one thing pyproject.toml cannot say: an optional C extension with the limited API."""

import sys
from pathlib import Path

from setuptools import Extension, setup

FOLDER = Path("src/onevision_encoder/codec/csrc")
BLOCKCODER = Extension(
    "onevision_encoder.codec._blockcoder",
    sources=sorted(path.as_posix() for path in FOLDER.glob("*.c")),
    depends=sorted(path.as_posix() for path in FOLDER.glob("*.h")),
    define_macros=[("Py_LIMITED_API", "0x030B0000")],
    extra_compile_args=["/O2", "/std:c11"] if sys.platform == "win32" else ["-O3", "-std=c11"],
    py_limited_api=True,
    optional=True,  # without a C compiler the package still installs; the provider then says what to do
)

setup(ext_modules=[BLOCKCODER], options={"bdist_wheel": {"py_limited_api": "cp311"}})
