"""A headless Chromium that opens pages from disk, for tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
)
NEEDS = "apt-get install chromium chromium-driver; pip install selenium"


@contextmanager
def chromium(*, width: int = 1280, height: int = 900) -> Iterator[Any]:
    """A selenium driver; skips loudly where there is no browser."""
    webdriver = pytest.importorskip("selenium.webdriver", reason=f"no selenium: {NEEDS}")
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip(f"no Chromium on this machine: {NEEDS}")
    options = Options()
    options.binary_location = browser
    for flag in (*FLAGS.split(), f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield running
    finally:
        running.quit()


def open_page(driver: Any, path: Path) -> None:
    """Open a page and wait until its first clip is drawn."""
    driver.get(path.as_uri())
    driver.execute_async_script("window.ove.ready.then(arguments[0])")


def wait_until(driver: Any, condition: str) -> None:
    """Wait until an expression of JavaScript is true, 20 seconds at most."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 20).until(lambda d: d.execute_script(f"return {condition}"), message=condition)


def set_control(driver: Any, name: str, value: Any) -> None:
    """Give a control a value as a user does, events included."""
    script = """
        const [name, value] = arguments, control = document.getElementById(name);
        if (control.type === "checkbox") control.checked = value; else control.value = value;
        for (const kind of ["input", "change"]) control.dispatchEvent(new Event(kind, { bubbles: true }));
    """
    driver.execute_script(script, name, value)


def kinds(driver: Any, which: str = "chosenUnits") -> NDArray[np.uint8]:
    """Kind of every unit of the clip as the page has chosen, uint8 [T * U], 255 = not chosen."""
    return np.array(driver.execute_script(f"return Array.from(window.ove.{which}())"), np.uint8)


def drawn_units(driver: Any, canvas: str) -> NDArray[np.bool_]:
    """Which units of the frame shown are in full colour on a canvas: their middle equals the original's, bool [U]."""
    script = """
        const [name] = arguments, { clip } = window.ove.state;
        const read = (id) => {
          const canvas = document.getElementById(id);
          return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        };
        const shown = read(name), original = read("original"), side = shown.width / clip.cols, same = [];
        for (let y = 0; y < clip.rows; y++) {
          for (let x = 0; x < clip.cols; x++) {
            let apart = 0;
            for (let dy = -3; dy <= 3; dy++) {
              for (let dx = -3; dx <= 3; dx++) {
                const at = 4 * (Math.floor((y + 0.5) * side + dy) * shown.width + Math.floor((x + 0.5) * side + dx));
                for (let c = 0; c < 3; c++) apart += Math.abs(shown.data[at + c] - original.data[at + c]);
              }
            }
            same.push(apart === 0);
          }
        }
        return same;
    """
    return np.array(driver.execute_script(script, canvas), np.bool_)


def complaints(driver: Any) -> list[Any]:
    """What the browser's console holds: errors, warnings, refused loads."""
    own_reading = "getImageData"  # a hint about speed that reading the canvases in a test draws
    return [entry for entry in driver.get_log("browser") if own_reading not in entry["message"]]
