"""How long a new user waits for the first edited picture, beyond the downloads: results/first_edit.json.

    python -m benchmarks.first_edit

The two commands of the README in a clone of depth 1 and an empty environment, with nothing cached: what pip fetches is
downloaded before and timed apart, then installed from there; `python -m src.demo` starts, its page is opened in
Chromium (needs `playwright`), and one code of the scene is changed. Takes minutes and some gigabytes of the disk
for a while.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from src.configs.arguments import Parser
from src.training.results import commit, hardware, write_json

from .browser import browser, chromium
from .drill.processes import free_port

PROJECT = Path(__file__).resolve().parents[1]
OUTPUT = PROJECT / "results" / "first_edit.json"
LINE = re.compile(r"^pip install (-r requirements\.txt .*?) && python -m src\.demo$", re.MULTILINE)
WAIT = 300_000  # milliseconds

# Another code of the block that is chosen when the page opens: the first of its palette that is not the scene's.
OTHER = "#board .symbols button[aria-pressed=false]"


def wanted(readme: str) -> list[str]:
    """What the README's command for the demo page tells pip to install.

    Raises:
        ValueError: the README has no such line.
    """
    found = LINE.search(readme)
    if found is None:
        raise ValueError("README.md has no line `pip install -r requirements.txt … && python -m src.demo`")
    return found[1].replace('"', "").split()


def timed(command: Sequence[str | Path], folder: Path) -> float:
    """Seconds that a command took.

    Raises:
        SystemExit: it failed.
    """
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(map(str, command))}\n{done.stderr.strip()[-2000:]}")
    return time.perf_counter() - start


def first_edit(python: Path, clone: Path, tab: Any) -> dict[str, float]:
    """Seconds from the second command to the page with a scene, and from there to the first edited picture."""
    port = free_port()
    start = time.perf_counter()
    command = [python, "-m", "src.demo", f"port={port}"]
    server = subprocess.Popen(command, cwd=clone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert server.stdout is not None
        said = []
        for line in server.stdout:
            said.append(line)
            if line.startswith("the page is at"):
                break
        else:
            raise SystemExit(f"error: the page did not start\n{''.join(said)}")
        tab.goto(f"http://127.0.0.1:{port}/", timeout=WAIT)
        tab.wait_for_selector("#board table")
        opened = time.perf_counter()
        before = tab.get_attribute("#board figure.now img", "src")
        tab.locator(OTHER).first.click()
        tab.wait_for_function("old => document.querySelector('#board figure.now img').src !== old", arg=before)
        return {"open_seconds": opened - start, "edit_seconds": time.perf_counter() - opened}
    finally:
        server.terminate()
        server.wait()


def main(words: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    given = parser.parse_args(words)
    if chromium() is None:
        parser.error("no Chromium is found; install one, or name it in the environment variable CHROMIUM")
    with tempfile.TemporaryDirectory() as place, browser() as chrome:
        folder = Path(place)
        clone, wheels = folder / "clone", folder / "wheels"
        timed(["git", "clone", "--quiet", "--depth", "1", PROJECT.as_uri(), clone], folder)
        packages = wanted((clone / "README.md").read_text(encoding="utf-8"))
        venv = timed([sys.executable, "-m", "venv", "environment"], folder)
        binaries = folder / "environment" / ("Scripts" if sys.platform == "win32" else "bin")
        python = next(path for path in (binaries / "python", binaries / "python.exe") if path.exists())
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
        # setuptools builds the packages that come as source
        print(f"downloading {' '.join(packages)}", flush=True)
        download = timed([*pip, "download", "--dest", wheels, *packages, "setuptools", "wheel"], clone)
        print("installing", flush=True)
        install = timed([*pip, "install", "--no-index", "--find-links", wheels, *packages], clone)
        print("opening the page", flush=True)
        tab = chrome.new_page(locale="en-GB")
        tab.set_default_timeout(WAIT)
        page = first_edit(python, clone, tab)
    seconds = {"venv_seconds": venv, "install_seconds": install, **page}
    result = {
        "command": "python -m benchmarks.first_edit",
        "date": datetime.now(timezone.utc).date().isoformat(),
        "commit": commit(),
        "hardware": hardware(torch.device("cpu")),
        "download_seconds": round(download, 1),
        **{name: round(value, 1) for name, value in seconds.items()},
        "beyond_downloads_seconds": round(sum(seconds.values()), 1),
    }
    write_json(given.output, result)
    print(f"wrote {given.output}")


if __name__ == "__main__":
    main()
