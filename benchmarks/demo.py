"""How long an edit in the demo page takes, and the page's picture for its documentation.

    python -m benchmarks.demo                                     # of the shipped weights of Shapes: results/demo.json
    python -m benchmarks.demo --picture docs/images/demo.png

Two times of each edit, a code of an object changed for another of its palette:

    server    from the action to the HTML of the new scene, without Gradio
    browser   from the click to the new picture on the screen, in Chromium (needs `playwright` and a Chromium)

The first edits, which paint palettes for the first time, are reported apart. With --picture nothing is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from src.configs.arguments import Parser
from src.configs.errors import CommandError
from src.configs.launch import as_command_error
from src.configs.schema import DemoConfig
from src.editor.fragments import board
from src.editor.scene import codes_to_json
from src.editor.serve import QUIET, launch, open_checkpoint
from src.editor.session import Session
from src.editor.studio import OBJECT, Studio
from src.training.results import commit, hardware, write_json

from .browser import browser, chromium
from .drill.processes import free_port
from .pictures import shrink

OUTPUT = Path(__file__).resolve().parents[1] / "results" / "demo.json"
EDITS, FIRST = 100, 10
SEED = 7  # of the edits, and of the scene in the picture
WAIT = 300_000  # milliseconds

CLICK = """async ([choose, change]) => {
    const find = (action) => document.querySelector(`#board [data-do='${action}']`);
    const done = (action) => new Promise((resolve) => {
        const look = () => {
            const button = find(action), now = document.querySelector("#board figure.now img");
            const there = button && button.getAttribute("aria-pressed") === "true" && now.complete;
            there ? resolve() : requestAnimationFrame(look);
        };
        look();
    });
    find(choose).click();
    await done(choose);
    const start = performance.now();
    find(change).click();
    await done(change);
    await new Promise(requestAnimationFrame);
    return performance.now() - start;
}"""


def edits(studio: Studio, session: Session, count: int) -> list[tuple[Session, list[Any], list[Any]]]:
    """Random edits one after another: the page before it, the action that chooses a cell, and the edit."""
    rng, found = random.Random(SEED), []
    for _ in range(count):
        assert session.scene is not None
        (view,) = studio.look([session.scene.codes])
        slots = [n for n, role in enumerate(view.roles) if role == OBJECT] or list(range(len(view.roles)))
        slot, block = rng.choice(slots), rng.randrange(len(studio.meanings))
        codes = [code for code in studio.meanings[block].shown if code != session.scene.codes[slot][block]]
        change = ["code", slot, block, rng.choice(codes)]
        found.append((session, ["select", slot, block], change))
        session = session.act(studio, change)
    return found


def in_server(studio: Studio, planned: Sequence[tuple[Session, list[Any], list[Any]]]) -> list[float]:
    """Milliseconds of each edit."""
    taken = []
    for session, choose, change in planned:
        chosen = session.act(studio, choose)
        board(chosen, studio, "en")
        start = time.perf_counter()
        board(chosen.act(studio, change), studio, "en")
        taken.append(1000 * (time.perf_counter() - start))
    return taken


def in_browser(address: str, session: Session, planned: Sequence[tuple[Session, list[Any], list[Any]]]) -> list[float]:
    """Milliseconds of each edit, from the click to the picture."""
    assert session.scene is not None
    with browser() as chrome:
        page = chrome.new_page(locale="en-GB")
        page.set_default_timeout(WAIT)
        page.goto(address, timeout=WAIT)
        page.wait_for_selector("#board table")
        codes = codes_to_json(session.scene.codes).encode()
        start = {"name": "codes.json", "mimeType": "application/json", "buffer": codes}
        page.set_input_files("input[accept*='json']", start)
        page.wait_for_function("document.querySelector('#board .said').textContent.includes('loaded')")
        spelled = [[json.dumps(action, separators=(",", ":")) for action in actions] for _, *actions in planned]
        return [page.evaluate(CLICK, actions) for actions in spelled]


def summary(taken: Sequence[float]) -> dict[str, float]:
    """Milliseconds: median, 95th percentile and worst of the edits after the first ten; and of these, apart."""
    first, rest = taken[:FIRST], sorted(taken[FIRST:])
    return {
        "median_ms": round(statistics.median(rest), 1),
        "p95_ms": round(statistics.quantiles(rest, n=20)[-1], 1),
        "worst_ms": round(rest[-1], 1),
        "first_median_ms": round(statistics.median(first), 1),
        "first_worst_ms": round(max(first), 1),
        "edits": len(rest),
    }


def picture(address: str, path: Path) -> None:
    """The page with a scene in which one code was changed, as PNG."""
    with browser() as chrome:
        page = chrome.new_page(locale="en-GB", viewport={"width": 1180, "height": 1110})
        page.set_default_timeout(WAIT)
        page.goto(address, timeout=WAIT)
        page.wait_for_selector("#board table")
        while page.locator("#board tr.object").count() != 4:
            old = page.get_attribute("#board figure.input img", "src")
            page.click("#random")
            page.wait_for_function("old => document.querySelector('#board figure.input img').src !== old", arg=old)
        word = page.inner_text("#board .symbols button[aria-pressed=true] small")
        page.locator("#board .symbols button").filter(has_not_text=word).nth(9).click()  # a change to be seen
        page.wait_for_function("document.querySelector('#board .said').textContent.includes('is code')")
        page.mouse.move(0, 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=path)


def main(words: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="shapes", help="as of `src.demo`")
    parser.add_argument("--cache-dir", default="logs/cache")
    parser.add_argument("--edits", type=int, default=EDITS, help="after the first ten")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--picture", type=Path, help="write this PNG instead")
    given = parser.parse_args(words)
    if given.edits < 2:
        parser.error(f"argument --edits: must be at least 2, got {given.edits}")
    os.environ.update(QUIET)
    port = free_port()
    config = DemoConfig(
        checkpoint=given.checkpoint, data_path=None, language="auto", host="127.0.0.1", port=port, open=False,
        cache_dir=given.cache_dir, device="cpu", precision="auto",
    )  # fmt: skip
    try:
        opened = time.perf_counter()
        studio = open_checkpoint(config)
        page = launch(studio, config)
        opened = time.perf_counter() - opened
    except (CommandError, OSError) as error:
        sys.exit(f"error: {as_command_error(error)}")
    assert page.local_url is not None
    try:
        if given.picture is not None:
            picture(page.local_url, given.picture)
            shrink([given.picture])
            print(f"wrote {given.picture}")
            return
        session = Session().at_random(studio, SEED)
        planned = edits(studio, session, FIRST + given.edits)
        result = {
            "command": "python -m benchmarks.demo",
            "date": datetime.now(timezone.utc).date().isoformat(),
            "commit": commit(),
            "hardware": hardware(studio.model.device),
            "open_seconds": round(opened, 1),
            "server": summary(in_server(studio, planned)),
            "browser": None if chromium() is None else summary(in_browser(page.local_url, session, planned)),
        }
    finally:
        page.close()
    write_json(given.output, result)
    print(f"wrote {given.output}")


if __name__ == "__main__":
    main()
