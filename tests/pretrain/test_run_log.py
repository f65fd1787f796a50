"""Metrics on disk, and the picture that is drawn of them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from onevision_encoder.pretrain.config import LogConfig
from onevision_encoder.pretrain.failures import ResumeError
from onevision_encoder.pretrain.run_log import RunLog, read_metrics
from onevision_encoder.pretrain.run_plot import curves_of, draw_run, log_ticks, thinned, ticks

SVG = "{http://www.w3.org/2000/svg}"


def rows(count: int) -> list[dict[str, float | int | None]]:
    return [
        {
            "step": i,
            "loss": 9.0 - i / 10,
            "loss/object": 8.0 - i / 10,
            "loss/motion": 7.0 - i / 20,
            "loss/motion/codec": 6.0,
            "accuracy/object": i / count,
            "grad_norm": 10.0 ** (i % 4),
            "lr": 1e-3 * (count - i),
            "mfu": None,
        }
        for i in range(count)
    ]


def write(folder: Path, count: int, step: int = 0) -> None:
    log = RunLog(folder, "test", LogConfig(), step=step, steps=100, quiet=True)
    for row in rows(count)[step:]:
        log.write(row)
    log.close()


def test_a_run_that_goes_on_drops_the_rows_it_will_do_again(tmp_path: Path) -> None:
    write(tmp_path, 9)
    assert read_metrics(tmp_path) == rows(9)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')  # killed in the middle of a line
    assert read_metrics(tmp_path) == rows(9)
    write(tmp_path, 12, step=6)
    assert [row["step"] for row in read_metrics(tmp_path)] == list(range(12))
    broken = (tmp_path / "metrics.jsonl").read_text().replace('{"step": 3', "{step: 3")
    (tmp_path / "metrics.jsonl").write_text(broken)
    with pytest.raises(ResumeError, match="line 4"):
        read_metrics(tmp_path)


def test_the_picture_has_a_curve_for_each_metric(tmp_path: Path) -> None:
    write(tmp_path, 40)
    tree = ElementTree.fromstring((tmp_path / "plot.svg").read_text())
    lines = [line.attrib["points"] for line in tree.iter(f"{SVG}polyline")]
    assert len(lines) == 6, "two banks, one mode, one accuracy, the norm, the rate"
    words = " ".join(text.text or "" for text in tree.iter(f"{SVG}text"))
    assert "loss by bank and mode" in words
    assert "motion/codec 6" in words
    assert "MFU" not in words, "what was never known is not drawn"
    for line in lines:
        points = [tuple(map(float, point.split(","))) for point in line.split()]
        assert len(points) == 40
        assert [x for x, _ in points] == sorted(x for x, _ in points)
    falling = [float(point.split(",")[1]) for point in lines[1].split()]
    assert falling == sorted(falling), "a loss that falls goes down the picture"


def test_what_has_no_numbers_is_still_a_picture() -> None:
    assert "no step is done yet" in draw_run([], "nothing")
    ElementTree.fromstring(draw_run([{"step": 0, "loss/a": 1.0}], "one <point> & more"))
    assert curves_of([{"step": 0, "loss/a": float("nan"), "loss/b": None}], ["loss/{}"]) == {}


def test_long_curves_are_means_of_neighbours() -> None:
    curve = [(float(i), float(i % 2)) for i in range(1000)]
    short = thinned(curve, 100)
    assert len(short) == 100
    assert {y for _, y in short} == {0.5}
    assert thinned(curve[:50], 100) == curve[:50]


def test_ticks_are_round() -> None:
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(0.13, 0.62) == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6])
    assert ticks(3, 3) == [3]
    assert [round(10**x, 9) for x in log_ticks(-1.2, 2.1)] == [0.1, 1, 10, 100]
    assert [round(10**x, 9) for x in log_ticks(0, 1)] == [1, 2, 5, 10]
    assert [round(10**x) for x in log_ticks(2.15, 2.7)] == [150, 200, 300, 400, 500]
