"""A picture of a page that `ove view` wrote, as a browser shows it.

    python examples/picture_of_page.py page.html picture.png [--frame 28] [--width 1360] [--height 690] [--dark]

Needs Chromium with its driver, and `pip install selenium`.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    for name, usual in (("frame", 28), ("width", 1360), ("height", 690)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--dark", action="store_true")
    told = parser.parse_args()
    options = Options()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in ("--headless=new", "--no-sandbox", "--hide-scrollbars", "--disable-background-networking"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    size = {"width": told.width, "height": told.height, "deviceScaleFactor": 1, "mobile": told.width < 600}
    scheme = {"name": "prefers-color-scheme", "value": "dark" if told.dark else "light"}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.get(told.page.resolve().as_uri())
    driver.execute_async_script("window.ove.ready.then(arguments[0])")
    seek = "const s = document.getElementById('scrub'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))"
    driver.execute_script(seek, told.frame)
    driver.save_screenshot(str(told.picture))
    driver.quit()


if __name__ == "__main__":
    main()
