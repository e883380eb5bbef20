"""The drill of the demo page, on the page of a tiny model in this process."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("gradio")

from benchmarks.drill import demo_load
from benchmarks.drill.demo_load import SECRET, Site
from benchmarks.drill.things import png
from benchmarks.drill.visitor import Page, Visitor, an_action, ask, said
from src.editor import serve

from ..editor.studios import demo_config, free_port, tiny_studio


class Here(Site):
    """Served by threads of this process."""

    @property
    def alive(self) -> bool:
        return True

    def serve(self) -> str:
        self.launched = serve.launch(tiny_studio(), demo_config(f"port={free_port()}"))
        return str(self.launched.local_url).rstrip("/")

    def end(self) -> None:
        self.launched.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    work = tmp_path_factory.mktemp("demo_load")
    with pytest.MonkeyPatch.context() as patched:
        for name, value in serve.QUIET.items():
            patched.setenv(name, value)
        patched.setenv("GRADIO_TEMP_DIR", str(work / "temporary" / "svq_demo_test"))
        model = tiny_studio().model
        with Here(work, (model.num_slots, model.num_codebooks, model.codebook_size)) as opened:
            yield opened


def test_a_visitor_does_what_the_page_offers(site):
    visitor = Visitor(site.page, "one")
    assert "<table" in visitor.open()
    visitor.do(visitor.offered("select")[0])
    action = visitor.offered("code")[-1]
    assert said(visitor.do(action)).startswith("note: ")
    assert visitor.do(["code", 0, 0, 10**6]).count("said error") == 1
    assert "<table" in visitor.send("upload", "picture.png", png(64, 64))
    assert "loaded" in said(visitor.send("load", "codes.json", site.codes)).lower()
    assert "said note" in visitor.press("sample", 1.0, 0)
    assert visitor.taken.keys() >= {"open", "select", "code", "upload", "load", "sample"}
    assert all(seconds > 0 for times in visitor.taken.values() for seconds in times)


def test_every_action_of_the_crowd_is_answered(site):
    visitor, rng = Visitor(site.page, "two"), random.Random(0)
    visitor.open()
    for _ in range(25):
        an_action(visitor, rng, {"picture": png(64, 64), "codes": site.codes})
    case = demo_load._of_load([visitor], seconds=1.0)
    assert case.passed and case.numbers["failed"] == 0 and case.numbers["edit_p95_ms"] > 0


@pytest.mark.parametrize("part", ["GET", "codes", "event", "not uploaded", "name"])
def test_what_no_page_sends_is_refused(site, part):
    tried = [attempt for attempt in demo_load.attempts(site) if attempt[0].startswith(part)]
    cases = [demo_load._attempted(site, *attempt) for attempt in tried]
    assert len(cases) > 5 and [f"{case.name}: {case.happened}" for case in cases if not case.passed] == []
    assert demo_load._nothing_elsewhere(site).passed
    assert not any("no scene yet" in case.happened for case in cases)  # that is no answer to what was sent


@pytest.mark.slow
@pytest.mark.parametrize("part", ["picture", "request", "bytes"])
def test_what_is_large_or_no_request_is_refused(site, part):
    test_what_no_page_sends_is_refused(site, part)


def test_what_is_served_or_asked_for_is_seen(site):
    leak = ("", "", "", lambda: (True, "status 200", SECRET.encode()))
    assert not demo_load._attempted(site, *leak).passed
    ask(f"http://127.0.0.1:{site.other.server_port}", "/x")
    assert not demo_load._nothing_elsewhere(site).passed
    site.asked.clear()
    (site.work / "escaped").touch()
    assert "made escaped" in demo_load._nothing_elsewhere(site).happened
    (site.work / "escaped").unlink()


def test_idle_connections_hold_nobody_up(site):
    with site.idle_connections():
        assert "<table" in Visitor(Page.read(site.address), "three").open()


def test_a_visitor_stops_when_told(site):
    stop, visitor = threading.Event(), Visitor(site.page, "four")
    stop.set()
    demo_load._visit(visitor, {}, stop, 0)
    assert visitor.taken["failed"] == [] and len(visitor.taken["open"]) == 1


def test_the_drill_leaves_the_clone_alone():
    assert not list(Path(demo_load.ROOT).glob("*escaped*"))
