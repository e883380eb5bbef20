"""Section `demo_load`: the demo page with 32 visitors for a minute, while others send what no page sends.

The page is that of the shipped weights, served by `python -m src.demo` in a process of its own. Each visitor does what
the page offers, one action after the other, half a second to one and a half apart; measured is the time from an action
to the new page. Meanwhile one client after the other asks for files of this machine, uploads what is no picture and no
codes, too much of it, or under a name that leads elsewhere, and sends requests that are none. Of all of them nothing
may be served that is not the page's, nothing written outside its folder, nothing run; and the page goes on.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import socket
import statistics
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from src.editor.serve import MOST_BODY
from src.editor.studio import MOST_UPLOAD
from src.models.code_model import CodeModel

from .case import Case, Settings
from .processes import ROOT, Running, free_port
from .things import SENTINEL, Hostile, bomb, png
from .visitor import Answer, Page, Visitor, an_action, ask, file_data, form, raw, said, upload

CHECKPOINT = "shapes"
VISITORS, SECONDS, PAUSE = 32, 60.0, (0.5, 1.5)
IDLE = 32  # connections that begin a request and never end it
OPENS = 1200.0  # seconds, at most, until the page is there
SECRET = "c0de-of-nobody-else"  # in a file beside the page's, which must not be served

# What files of this machine hold (ours, /etc/passwd, the environment, the clone's), and errors of the server.
FOREIGN = (SECRET.encode(), b"root:", b"PATH=", b"[build-system]", b"run_demo(", b"Traceback")
OWN = ("/theme.css", "/gradio_api/deep_link")  # the page has these, whatever else is asked for

# a scene of the prior takes as long as the prior does
EDITS = ("code", "select", "swap", "undo", "keep", "add", "remove")


def demo_load(work: Path, settings: Settings) -> Iterator[Case]:
    """The cases of the section."""
    model = CodeModel.from_checkpoint(CHECKPOINT)
    with Site(work, (model.num_slots, model.num_codebooks, model.codebook_size)) as site:
        visitors = [Visitor(site.page, f"visitor{number}") for number in range(VISITORS)]
        stop = threading.Event()
        files = {"picture": png(64, 64), "codes": site.codes}
        crowd = [
            threading.Thread(target=_visit, args=(visitor, files, stop, settings.seed + number))
            for number, visitor in enumerate(visitors)
        ]
        before = site.memory()
        started = time.perf_counter()
        with site.idle_connections():
            for thread in crowd:
                thread.start()
            for name, done, expected, attempt in attempts(site):
                yield _attempted(site, name, done, expected, attempt)
            stop.wait(max(0.0, SECONDS - (time.perf_counter() - started)))
            stop.set()
            for thread in crowd:
                thread.join()
        seconds = time.perf_counter() - started
        yield _of_load(visitors, seconds)
        yield _still_there(site, before)
        yield _nothing_elsewhere(site)


# ------------------------------------------------------------------ the page, and what lies beside it


class Site:
    """The running page in a folder of its own, a file that it must not serve, and a server that it must not ask.

    Args:
        work: the folder.
        sizes: slots, blocks and codes a block of its model.
    """

    def __init__(self, work: Path, sizes: tuple[int, int, int]) -> None:
        self.work, self.sizes, self.uploads = work, sizes, work / "temporary"
        self.uploads.mkdir(parents=True)
        self.secret = work / "secret.txt"
        self.secret.write_text(SECRET)
        self.sentinel = work / SENTINEL
        self.asked: list[str] = []  # by the page, of the other server
        self.codes = self.codes_of(0)

    def codes_of(self, code: Any) -> bytes:
        """A file of a scene all of whose codes are `code`."""
        slots, blocks, _ = self.sizes
        return json.dumps({"codes": [[[code] * blocks for _ in range(slots)]]}).encode()

    def __enter__(self) -> Site:
        self.other = ThreadingHTTPServer(("127.0.0.1", 0), _noting(self.asked))
        threading.Thread(target=self.other.serve_forever, daemon=True).start()
        self.address = self.serve()
        self.page = Page.read(self.address)
        return self

    def serve(self) -> str:
        """Starts the page; its address."""
        port = free_port()
        words = [f"checkpoint={CHECKPOINT}", f"port={port}", "device=cpu"]
        self.server = Running(
            "src.demo", words, self.work / "said", first=_keep_files_in, arguments=(str(self.uploads),)
        )
        address = f"http://127.0.0.1:{port}"
        until = time.monotonic() + OPENS
        while not _answers(address):
            if not self.server.alive or time.monotonic() > until:
                raise RuntimeError(f"the page did not open: {self.server.wait(1)}")
            time.sleep(0.2)
        return address

    def __exit__(self, *_: Any) -> None:
        self.other.shutdown()
        self.other.server_close()
        self.end()

    def end(self) -> None:
        self.server.wait(0)

    @property
    def alive(self) -> bool:
        """Whether it is still the process that was started."""
        return self.server.alive

    def memory(self) -> float:
        """Of the server's process, in MB."""
        pages = int(Path(f"/proc/{self.server.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 1e6

    def idle_connections(self) -> _Idle:
        return _Idle(self.address, IDLE)


def _answers(address: str) -> bool:
    try:
        return ask(address, "/config").status == 200
    except OSError:
        return False


class _Idle:
    """Connections with half a request, held open."""

    def __init__(self, address: str, count: int) -> None:
        where = urllib.parse.urlsplit(address)
        self.where, self.count = (where.hostname or "", where.port or 0), count
        self.connections: list[socket.socket] = []

    def __enter__(self) -> None:
        for _ in range(self.count):
            connection = socket.create_connection(self.where)
            connection.sendall(b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n")
            self.connections.append(connection)

    def __exit__(self, *_: Any) -> None:
        for connection in self.connections:
            connection.close()


def _keep_files_in(folder: str) -> None:
    """In the server's process: temporary files, the uploads among them, lie there."""
    os.environ["TMPDIR"] = tempfile.tempdir = folder


def _noting(asked: list[str]) -> type[BaseHTTPRequestHandler]:
    class Noting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(SECRET.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Noting


# ------------------------------------------------------------------ ordinary visitors


def _visit(visitor: Visitor, files: dict[str, bytes], stop: threading.Event, seed: int) -> None:
    rng = random.Random(seed)
    failed = visitor.taken.setdefault("failed", [])
    try:
        visitor.open()
    except OSError:
        failed.append(0.0)
    while not stop.wait(rng.uniform(*PAUSE)):
        try:
            an_action(visitor, rng, files)
        except (OSError, ValueError):  # no answer in time, or one that is none
            failed.append(0.0)


def _of_load(visitors: list[Visitor], seconds: float) -> Case:
    taken: dict[str, list[float]] = {}
    for visitor in visitors:
        for kind, times in visitor.taken.items():
            taken.setdefault(kind, []).extend(times)
    failed = len(taken.pop("failed", []))
    edits = sorted(time for kind in EDITS for time in taken.get(kind, []))
    everything = sorted(time for kind, times in taken.items() for time in times if not kind.endswith(" sent"))
    numbers: dict[str, int | float | None] = {
        "visitors": len(visitors), "seconds": round(seconds, 1), "actions": len(everything), "failed": failed,
        "actions_a_second": round(len(everything) / seconds, 2), "edits": len(edits),
        "edit_median_ms": _ms(edits, 50), "edit_p95_ms": _ms(edits, 95),
        "median_ms": _ms(everything, 50), "p95_ms": _ms(everything, 95), "worst_ms": _ms(everything, 100),
        "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip
    numbers |= {f"{kind}_p95_ms": _ms(sorted(times), 95) for kind, times in taken.items() if " " not in kind}
    happened = (
        f"{numbers['actions']} actions, {failed} without an answer; edits median {numbers['edit_median_ms']} ms, p95 "
        f"{numbers['edit_p95_ms']} ms; all actions p95 {numbers['p95_ms']} ms; load of the machine {numbers['load']}"
    )
    done = f"{len(visitors)} visitors for {seconds:.0f} s, and all of the above meanwhile"
    passed = failed == 0 and len(edits) > 0
    return Case("ordinary visitors", done, "every action is answered; p95 reported", happened, passed, numbers)


def _ms(times: list[float], percent: int) -> float | None:
    if len(times) < 2:
        return round(1000 * times[0], 1) if times else None
    value = times[-1] if percent == 100 else statistics.quantiles(times, n=100, method="inclusive")[percent - 1]
    return round(1000 * value, 1)


# ------------------------------------------------------------------ what no page sends


Attempt = Callable[[], tuple[bool, str, bytes]]  # whether it came out as it should, in words, and what was served


def _attempted(site: Site, name: str, done: str, expected: str, attempt: Attempt) -> Case:
    try:
        passed, happened, served = attempt()
    except OSError as error:
        return Case(name, done, expected, f"{type(error).__name__}: {error}", passed=False)
    leaked = any(mark in served for mark in FOREIGN)
    if leaked:
        happened += "; something of this machine was served"
    if not site.alive:
        happened += "; the server has ended"
    return Case(name, done, expected, happened, passed and not leaked and site.alive)


def attempts(site: Site) -> Iterator[tuple[str, str, str, Attempt]]:
    """Name, what is done, what is expected, and how it is done."""
    for path in paths(site):
        shown = path.replace(str(site.work), "<folder>").replace(str(ROOT), "<clone>")
        shown = shown.replace(urllib.parse.quote(str(site.work), safe=""), "<folder>")
        shown = shown.replace(f":{site.other.server_port}", ":<port>")
        yield f"GET {shown}", "asked for it", "refused, or the page itself", lambda path=path: _get(site, path)
    for name, content in bad_pictures(site).items():
        yield (
            f"picture: {name}", f"uploaded as a picture ({len(content):,} bytes)", "refused in one line",
            lambda content=content: _send(site, "upload", "picture.png", content),
        )  # fmt: skip
    for name, content in bad_codes(site).items():
        yield (
            f"codes: {name}", f"uploaded as codes ({len(content):,} bytes)", "refused in one line",
            lambda content=content: _send(site, "load", "codes.json", content),
        )  # fmt: skip
    for name in file_names(site):
        shown = name.replace(str(site.work), "<folder>")
        yield (
            f"name: {shown[:40]}", "uploaded a picture of that name", "refused, or kept in the page's own folder",
            lambda name=name: _named(site, name),
        )  # fmt: skip
    for name, path, url in foreign_files(site):
        yield (
            f"not uploaded: {name}",
            "named as an uploaded file",
            "refused",
            lambda p=path, u=url: _foreign(site, p, u),
        )
    for name, (body, headers) in bad_requests(site).items():
        yield (
            f"request: {name}", "posted to the queue or the upload", "refused",
            lambda body=body, headers=headers: _post(site, body, headers),
        )  # fmt: skip
    for name, event in bad_events().items():
        yield f"event: {name}", "sent as an action of the board", "refused in one line", lambda e=event: _event(site, e)
    for name, data in no_http().items():
        yield f"bytes: {name}", "written to the port", "refused, or the connection closed", lambda d=data: _raw(site, d)


def paths(site: Site) -> list[str]:
    """Of files that are not the page's."""
    secret = str(site.secret)
    up = "../" * 12
    quoted, twice = (
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote(urllib.parse.quote(secret, safe=""), safe=""),
    )
    dots = "%2e%2e%2f" * 12
    other = f"http://127.0.0.1:{site.other.server_port}/x"
    return [
        *(f"{start}{secret}" for start in ("/gradio_api/file=", "/file=", "/file/", "/gradio_api/file=/", "/static/")),
        *(f"{start}{up}{secret[1:]}" for start in ("/gradio_api/file=", "/file=", "/static/", "/assets/", "/", "/ko/")),
        *(f"{start}{quoted}" for start in ("/gradio_api/file=", "/static/", "/assets/", "/svelte/")),
        *(f"/gradio_api/file={each}" for each in (twice, f"file://{secret}", f"{secret}%00.png", f"{secret}?x=.png")),
        *(f"{start}{dots}{quoted[3:]}" for start in ("/gradio_api/file=", "/static/", "/assets/")),
        *(
            f"/gradio_api/file={each}"
            for each in ("/etc/passwd", "//etc/passwd", "/proc/self/environ", "pyproject.toml")
        ),
        f"/gradio_api/file={ROOT / 'src' / 'demo.py'}",
        "/gradio_api/file=..\\..\\..\\etc\\passwd",
        f"/gradio_api/file={'..%c0%af' * 8}etc/passwd",
        f"/gradio_api/file={other}",
        f"/gradio_api/proxy={other}",
        f"/gradio_api/deep_link?session_hash=x&deep_link={up}{secret[1:]}",
        f"/?deep_link={up}{secret[1:]}",
        f"/gradio_api/custom_component/{up}{secret[1:]}",
        f"/custom_component/x/client/component/{up}{secret[1:]}",
        f"/gradio_api/stream/{up}{secret[1:]}/1/playlist.m3u8",
        f"/theme.css?v={up}{secret[1:]}",
        *("/docs", "/redoc", "/openapi.json", "/monitoring", "/gradio_api/heartbeat/../../secret.txt"),
    ]


def bad_pictures(site: Site) -> dict[str, bytes]:
    pixel = png(64, 64)
    return {
        "text": b"no picture",
        "empty": b"",
        "cut": pixel[: len(pixel) // 2],
        "a head only": pixel[:33],
        "4 × 4 pixels": png(4, 4),
        "2.5 gigapixels declared": bomb(),
        "SVG with a script": f'<svg xmlns="http://www.w3.org/2000/svg"><script>open("{SENTINEL}")</script></svg>'.encode(),
        "SVG with an entity": f'<!DOCTYPE x [<!ENTITY y SYSTEM "file://{site.secret}">]><svg>&y;</svg>'.encode(),
        "PostScript": f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({site.sentinel}) (w) file\n".encode(),
        "HTML": b"<html><script>alert(1)</script></html>",
        "a pickle": pickle.dumps(Hostile(site.sentinel)),
        "more than the page takes": pixel + b"\0" * MOST_UPLOAD,
        "100 MB": pixel + b"\0" * 100_000_000,
    }


def bad_codes(site: Site) -> dict[str, bytes]:
    slots, blocks, size = site.sizes
    return {
        "text": b"no codes",
        "empty": b"",
        "a pickle": pickle.dumps(Hostile(site.sentinel)),
        "not UTF-8": b"\xff\xfe\x00\x01",
        "another JSON": b"[1, 2, 3]",
        "another shape": json.dumps({"codes": [[[0] * (blocks + 1)] * slots]}).encode(),
        "one beyond the codebook": site.codes_of(size),
        "a negative code": site.codes_of(-1),
        "NaN": site.codes_of(float("nan")),
        "text for codes": site.codes_of("0"),
        "true for codes": site.codes_of(True),
        "a number of 4,000 digits": site.codes_of(0).replace(b"0", b"9" * 4000, 1),
        "nested 100,000 deep": b'{"codes": ' + b"[" * 100_000,
        "an HTML tag for a code": site.codes_of("<script>alert(1)</script>"),
        "2 MB": b" " * 2**21,
    }


def file_names(site: Site) -> list[str]:
    place = site.work / "escaped.png"
    return [
        *("../../escaped.png", "../" * 12 + str(place)[1:], str(place), "..\\..\\escaped.png", "escaped.png\0.txt"),
        *(".." , ".", "", "escaped" * 200 + ".png", "%2e%2e%2fescaped.png", "~/escaped.png", "$(touch escaped).png"),
    ]  # fmt: skip


def foreign_files(site: Site) -> list[tuple[str, str, str | None]]:
    """Name, path and address."""
    address = f"http://127.0.0.1:{site.other.server_port}/file.json"
    return [
        ("a file beside", str(site.secret), None),
        ("the same, from the uploads", f"{site.uploads}/../secret.txt", None),
        ("/etc/passwd", "/etc/passwd", None),
        ("a file of the code", str(ROOT / "pyproject.toml"), None),
        ("an address as a path", address, None),
        ("an address beside a path", str(site.secret), address),
        ("a folder", str(site.uploads), None),
    ]


def bad_requests(site: Site) -> dict[str, tuple[bytes, dict[str, str]]]:
    function, component = site.page.targets["board"]
    whole = {"data": [None], "fn_index": function, "session_hash": "odd", "trigger_id": component}

    def with_(**others: Any) -> tuple[bytes, dict[str, str]]:
        return json.dumps({**whole, **others}).encode(), {}

    as_form = {"path": "/gradio_api/upload", "Content_Type": "multipart/form-data; boundary=boundary"}
    return {
        "no JSON": (b"{", {}),
        "nothing": (b"", {}),
        "a list": (b"[]", {}),
        "nested 100,000 deep": (b"[" * 100_000, {}),
        "no such function": with_(fn_index=10**6),
        "a negative function": with_(fn_index=-1),
        "text for a function": with_(fn_index="board"),
        "no data": with_(data=None),
        "text for data": with_(data="x"),
        "a name of 100,000 letters": with_(session_hash="x" * 100_000, fn_index=-5),
        "no such element": with_(trigger_id=10**9, fn_index=10**6),
        "more than a body may have": (b" " * (MOST_BODY + 1), {}),
        "more, in pieces without a length": (
            b"fffffff\r\n" + b" " * (MOST_BODY + 2**20), {"Transfer_Encoding": "chunked"}
        ),
        "100 MB to the upload": (form("picture.png", b"\0" * 100_000_000), as_form),
        "a form without an end": (form("picture.png", b"x")[:-20], as_form),
        "a form without its boundary": (b"x", {**as_form, "Content_Type": "multipart/form-data"}),
        "a form that is none": (b"\0" * 1000, as_form),
        "a form of 5,000 parts": (b"".join(form(f"{n}.png", b"")[:-14] for n in range(5000)), as_form),
        "a function of Python": (b'{"data": ["1"]}', {"path": "/gradio_api/call/eval"}),
        "a component's method": (
            json.dumps({"session_hash": "odd", "component_id": component, "fn_name": "__init__", "data": []}).encode(),
            {"path": "/gradio_api/component_server"},
        ),
    }  # fmt: skip


def bad_events() -> dict[str, Any]:
    return {
        "none": None,
        "a number": 3,
        "a private name": {"do": ["__init__"]},
        "a slot that is none": {"do": ["code", 10**9, 0, 0]},
        "a code that is none": {"do": ["code", 0, 0, 10**9]},
        "too few numbers": {"do": ["code", 0]},
        "floats": {"do": ["code", 0.5, 0.5, 0.5]},
        "10,000 letters": {"do": "x" * 10_000},
        "a tag": {"do": ["<script>alert(1)</script>"]},
    }


def no_http() -> dict[str, bytes]:
    return {
        "noise": random.Random(0).randbytes(4096),
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "a head of 1 MB": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 2**20 + b"\r\n\r\n",
        "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "a negative length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "a method that is none": b"STEAL / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    }


def _get(site: Site, path: str) -> tuple[bool, str, bytes]:
    answer = ask(site.address, path.replace(" ", "%20"))
    is_page = b"window.gradio_config" in answer.body or path.startswith(OWN)
    return answer.status >= 400 or is_page or answer.status == 0, _status(answer, is_page), answer.body


def _send(site: Site, element: str, name: str, content: bytes) -> tuple[bool, str, bytes]:
    shown = Visitor(site.page, "odd").send(element, name, content)
    line = said(shown)
    refused = line.startswith("error: ") or shown in ("status 413", "status 400", "status 422")
    return refused and "<script>" not in shown, line, shown.encode()


def _named(site: Site, name: str) -> tuple[bool, str, bytes]:
    answer = upload(site.address, name, png(64, 64))
    if answer.status != 200:
        return answer.status >= 400, _status(answer), answer.body
    (path,) = json.loads(answer.body)
    inside = Path(path).resolve().is_relative_to(site.uploads.resolve())
    return inside, "kept in the page's own folder" if inside else "kept elsewhere", answer.body


def _foreign(site: Site, path: str, url: str | None) -> tuple[bool, str, bytes]:
    shown = Visitor(site.page, "odd").press("load", file_data(path, "codes.json", url))
    refused = "<table" not in shown
    return refused, said(shown).replace(str(site.work), "<folder>").replace(str(ROOT), "<clone>"), shown.encode()


def _post(site: Site, body: bytes, headers: dict[str, str]) -> tuple[bool, str, bytes]:
    headers = {"path": "/gradio_api/queue/join", "Content_Type": "application/json", **headers}
    answer = ask(site.address, headers.pop("path"), body, **headers)
    kept = answer.status == 200 and _only_uploads(site, answer)
    return answer.status >= 400 or answer.status == 0 or kept, _status(answer), answer.body


def _only_uploads(site: Site, answer: Answer) -> bool:
    """Whether the answer is a list of files that were uploaded to where they belong."""
    found = json.loads(answer.body)
    return isinstance(found, list) and all(Path(path).is_relative_to(site.uploads) for path in found)


def _event(site: Site, event: Any) -> tuple[bool, str, bytes]:
    visitor = Visitor(site.page, "odd")
    visitor.open()  # without a scene no slot and no code would be looked at
    shown = visitor.press("board", event=event)
    line = said(shown)
    return line.startswith("error: ") and "<script>" not in shown, line, shown.encode()


def _raw(site: Site, data: bytes) -> tuple[bool, str, bytes]:
    found = raw(site.address, data, wait=10)
    first = found.split(b"\r\n")[0].decode(errors="replace")
    return b" 200 " not in found[:20], first or "no answer", found


def _status(answer: Answer, is_page: bool = False) -> str:
    if is_page:
        return f"status {answer.status}, the page itself"
    return f"status {answer.status}" if answer.status else "the connection was closed"


# ------------------------------------------------------------------ afterwards


def _still_there(site: Site, before: float) -> Case:
    visitor = Visitor(site.page, "afterwards")
    visitor.open()
    shown = visitor.do(visitor.offered("select")[0])
    codes = visitor.offered("code")
    shown = visitor.do(codes[-1])
    answered = "<table" in shown and said(shown).startswith("note: ")
    growth = site.memory() - before
    tracebacks = site.server.stderr().count("Traceback (most recent call last)")
    numbers: dict[str, int | float | None] = {"memory_growth_mb": round(growth, 1), "tracebacks_in_log": tracebacks}
    happened = f"{said(shown)}; its memory grew by {growth:.0f} MB; {tracebacks} tracebacks in its log"
    expected = "the same process answers"
    return Case("afterwards", "edited a code", expected, happened, answered and site.alive, numbers)


def _nothing_elsewhere(site: Site) -> Case:
    wrong = [f"asked another server for {path}" for path in site.asked]
    if site.sentinel.exists():
        wrong.append("code of a file was run")
    mine = {site.secret, site.work / "said", site.uploads}
    wrong += [f"made {path.name}" for path in site.work.iterdir() if path not in mine]
    wrong += [f"made {path.name}" for path in site.uploads.iterdir() if not path.name.startswith("svq_demo_")]
    places = (ROOT, Path.cwd(), Path("/tmp"), Path.home())
    wrong += [f"made {path}" for place in places for path in place.glob("*escaped*")]
    done = "looked for what all this left"
    return Case("nothing elsewhere", done, "nothing", "; ".join(wrong) or "nothing", passed=not wrong)
