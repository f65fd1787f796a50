"""How large pages are, how fast a headless browser opens them, and how fast they scrub.

    python benchmarks/bench_page.py --clips FILE ... --out benchmarks/results

Open: from navigation to the first clip drawn. Scrub: seconds a frame while the slider moves from end to end, all four
pictures drawn and read back. Re-select: one step of the budget slider, chart and pictures drawn anew.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import report

from onevision_encoder.view import make_page

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "view"))
from browser import chromium, open_page

_MOVE = """
    const [name, values] = arguments, control = document.getElementById(name), began = performance.now();
    for (const value of values) {
      control.value = value;
      control.dispatchEvent(new Event("input"));
      for (const id of ["original", "uniform", "heat", "chosen"])
        document.getElementById(id).getContext("2d").getImageData(0, 0, 1, 1);
    }
    return (performance.now() - began) / values.length;
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", nargs="+", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    rows: list[report.Row] = []
    with tempfile.TemporaryDirectory() as folder, chromium() as driver:
        for clip in arguments.clips:
            began = time.perf_counter()
            page = make_page(clip).save(Path(folder) / "page.html")
            made = time.perf_counter() - began
            began = time.perf_counter()
            open_page(driver, page)
            opened = time.perf_counter() - began
            frames, rate = driver.execute_script(
                "const c = window.ove.state.clip; return [c.frames, (c.frames - 1) / (c.pts.at(-1) - c.pts[0])]"
            )
            scrub = [driver.execute_script(_MOVE, "scrub", list(range(frames))) for _ in range(3)]
            select = driver.execute_script(_MOVE, "budget", list(range(0, 1001, 40)))
            rows.append(
                {
                    "clip": clip.name,
                    "frames": frames,
                    "page, MB": page.stat().st_size / 1e6,
                    "made in, s": made,
                    "opened in, s": opened,
                    "scrub, ms a frame": sorted(scrub)[1],
                    "frames a second": 1000 / sorted(scrub)[1],
                    "sampled frames of the clip a second": rate,
                    "re-select, ms": select,
                }
            )
    report.write(arguments.out, "page", "Pages of `ove view` in headless Chromium", {"Pages": rows})


if __name__ == "__main__":
    main()
