"""What is shipped: the source distribution builds, the wheel holds the package alone, no compiler is no obstacle."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "onevision_encoder"
SOURCES = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.[ch]")}
MODULES = {
    path.relative_to(ROOT / "src").as_posix()
    for path in PACKAGE.rglob("*")
    if path.suffix == ".py" or (path.parent.name == "web" and path.is_file())
}
NOT_SHIPPED = shutil.ignore_patterns(
    ".git", ".venv*", "*.egg-info", "build", "dist", "demo", "__pycache__", ".*_cache", "*.so"
)

pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@dataclass(frozen=True, kw_only=True)
class Builder:
    """A clean environment that holds setuptools and nothing else."""

    python: Path
    folder: Path

    def sdist(self, source: Path) -> Path:
        code = "import sys, setuptools.build_meta as b; print('made', b.build_sdist(sys.argv[1]))"
        made = run(self.python, "-c", code, self.folder, cwd=source).stdout.split()[-1]
        return self.folder / made

    def wheel(self, source: Path, to: str, **environment: str) -> Path:
        """Built from a copy of the sources: setuptools would take what an earlier build left in them."""
        copy, pip = self.folder / f"{to}_sources", (self.python, "-m", "pip", "--disable-pip-version-check")
        shutil.copytree(source, copy)
        words = ("wheel", "--no-deps", "--no-build-isolation", "-w", self.folder / to, copy)
        run(*pip, *words, cwd=copy, **environment)
        [wheel] = (self.folder / to).glob("*.whl")
        return wheel

    def install(self, wheel: Path) -> Path:
        """A folder of packages with nothing but the wheel's."""
        place = wheel.parent / "installed"
        pip = (self.python, "-m", "pip", "--disable-pip-version-check")
        run(*pip, "install", "--no-deps", "--target", place, wheel, cwd=self.folder)
        return place


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    folder = tmp_path_factory.mktemp("builder")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    run(python, "-m", "pip", "--disable-pip-version-check", "install", "setuptools>=77", cwd=folder)
    return Builder(python=python, folder=folder)


@pytest.fixture(scope="module")
def sdist(builder: Builder) -> Path:
    """Made from a copy of the checkout without what it has built."""
    copy = builder.folder / "checkout"
    shutil.copytree(ROOT, copy, ignore=NOT_SHIPPED)
    return builder.sdist(copy)


@pytest.fixture(scope="module")
def unpacked(sdist: Path, builder: Builder) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(builder.folder / "unpacked", filter="data")
    [place] = (builder.folder / "unpacked").iterdir()
    return place


def test_source_distribution_holds_what_builds_and_tests_it(unpacked: Path) -> None:
    held = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert SOURCES | {f"src/{name}" for name in MODULES} <= held
    for folder in ("tests", "docs", "benchmarks"):
        files = {
            path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md")
        }
        assert files <= held, files - held
    assert {"README.md", "LICENSE", "Makefile", "constraints.txt", ".ci/run"} <= held
    assert not [name for name in held if name.endswith((".so", ".pyd", ".pyc", ".o"))]


def test_wheel_of_the_source_distribution_holds_the_package_alone(unpacked: Path, builder: Builder) -> None:
    wheel = builder.wheel(unpacked, "wheel")
    assert "-cp311-abi3-" in wheel.name, "one wheel for all versions of Python from 3.11 on"
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    extension = {name for name in held if name.endswith((".so", ".pyd"))}
    assert len(extension) == 1
    assert next(iter(extension)).startswith("onevision_encoder/codec/_blockcoder")
    weights = {f"onevision_encoder/weights/{name}" for name in ("config.json", "model.safetensors", "README.md")}
    assert held - extension == MODULES | weights | {"onevision_encoder/py.typed"}
    code = """if True:
        import numpy as np, onevision_encoder
        from onevision_encoder.codec import compute_signals
        signals = compute_signals(np.zeros((2, 16, 16), np.uint8))
        assert "chooseUnits" in onevision_encoder.make_page(np.zeros((2, 28, 28, 3), np.uint8)).html
        print(onevision_encoder.__file__, signals.provenance["provider"])
    """
    place = builder.install(wheel)
    file, provider = run(sys.executable, "-c", code, cwd=builder.folder, PYTHONPATH=str(place)).stdout.split()
    assert Path(file).is_relative_to(place)
    assert provider == "blockcoder"


@pytest.mark.skipif(sys.platform == "win32", reason="CC does not choose the compiler on Windows")
def test_without_a_compiler_it_installs_and_says_what_to_do(unpacked: Path, builder: Builder) -> None:
    wheel = builder.wheel(unpacked, "no_compiler", CC=shutil.which("false") or "false")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]
    code = """if True:
        import numpy as np, onevision_encoder
        from onevision_encoder.codec import compute_signals
        from onevision_encoder.errors import SignalUnavailableError
        print(onevision_encoder.__file__)
        luma = np.zeros((2, 16, 16), np.uint8)
        try:
            compute_signals(luma)
        except SignalUnavailableError as error:
            print(error)
        print(compute_signals(luma, provider="x264proxy").provenance["provider"])
    """
    place = builder.install(wheel)
    file, message, provider = run(
        sys.executable, "-c", code, cwd=builder.folder, PYTHONPATH=str(place)
    ).stdout.splitlines()
    assert Path(file).is_relative_to(place)
    for part in ("install a C compiler", "--force-reinstall", "--no-cache-dir", "provider='x264proxy'"):
        assert part in message
    assert provider == "x264proxy"
