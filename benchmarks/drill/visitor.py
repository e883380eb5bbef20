"""A visitor of the demo page: what the page's own script sends, over HTTP, and the odd requests that no page sends."""

from __future__ import annotations

import html
import http.client
import json
import random
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

WAIT = 120.0  # seconds for an answer
BOUNDARY = "boundary"


@dataclass(frozen=True)
class Answer:
    """What a request came to; status 0: the connection was closed without an answer."""

    status: int
    body: bytes


def ask(address: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    """One request; `path` goes out as it is, dots and all."""
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=WAIT)
    try:
        connection.putrequest("GET" if body is None else "POST", path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        if body is not None and "Transfer_Encoding" not in headers:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        if body is not None:
            connection.send(body)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read())
    except (ConnectionError, http.client.HTTPException):
        return Answer(0, b"")
    finally:
        connection.close()


def form(name: str, content: bytes) -> bytes:
    """An upload of one file of that name."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    return head.encode("utf-8", "surrogatepass") + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def upload(address: str, name: str, content: bytes) -> Answer:
    """Sends a file; the body of the answer is a list with the path that the server gave it."""
    return ask(
        address, "/gradio_api/upload", form(name, content), Content_Type=f"multipart/form-data; boundary={BOUNDARY}"
    )


@dataclass
class Page:
    """The functions behind the elements of the page at /: the id of an element → its number and that of the element."""

    address: str
    targets: Mapping[str, tuple[int, int]]
    loading: int  # the function that runs when the page opens

    @classmethod
    def read(cls, address: str) -> Page:
        config = json.loads(ask(address, "/config").body)
        shown = set(config["page"][""]["components"])
        names = {each["id"]: each["props"].get("elem_id") for each in config["components"] if each["id"] in shown}
        targets, loading = {}, None
        for function in config["dependencies"]:
            for component, event in function["targets"]:
                if names.get(component):
                    targets[names[component]] = function["id"], component
                if event == "load" and loading is None:
                    loading = function["id"]
        assert loading is not None
        return cls(address, targets, loading)


@dataclass
class Visitor:
    """One visitor, whose page is the HTML that the server sent last."""

    page: Page
    name: str
    board: str = ""
    taken: dict[str, list[float]] = field(default_factory=dict)  # seconds of each kind of action

    def open(self) -> str:
        return self._run("open", self.page.loading, None, [None])

    def press(self, element: str, *values: Any, event: Any = None, kind: str | None = None) -> str:
        """Uses an element of the page; returns what the page then shows."""
        function, component = self.page.targets[element]
        return self._run(kind or element, function, component, [None, *values], event)

    def do(self, action: list[Any]) -> str:
        """An action of the board, such as ["code", 1, 0, 34]."""
        return self.press("board", event={"do": action}, kind=str(action[0]))

    def offered(self, kind: str) -> list[list[Any]]:
        """The actions of a kind that the board has buttons for."""
        found = [json.loads(html.unescape(each)) for each in re.findall(r'data-do="([^"]*)"', self.board)]
        return [action for action in found if action[0] == kind]

    def send(self, element: str, name: str, content: bytes) -> str:
        """Uploads a file to a button of the page; what the server says instead of taking it, where it does not."""
        started = time.perf_counter()
        answer = upload(self.page.address, name, content)
        if answer.status != 200:
            return f"status {answer.status}"
        (path,) = json.loads(answer.body)
        said = self.press(element, file_data(path, name), kind=f"{element} sent")
        self.taken.setdefault(element, []).append(time.perf_counter() - started)
        return said

    def _run(self, kind: str, function: int, component: int | None, data: list[Any], event: Any = None) -> str:
        started = time.perf_counter()
        body = {"data": data, "event_data": event, "fn_index": function, "session_hash": self.name}
        request = json.dumps({**body, "trigger_id": component}).encode()
        joined = ask(self.page.address, "/gradio_api/queue/join", request, Content_Type="application/json")
        if joined.status != 200:
            return f"status {joined.status}"
        number = json.loads(joined.body)["event_id"]
        shown = self._listen(number)
        self.taken.setdefault(kind, []).append(time.perf_counter() - started)
        if "<table" in shown:
            self.board = shown
        return shown

    def _listen(self, number: str) -> str:
        """The HTML that the function with this event returns."""
        where = urlsplit(self.page.address)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=WAIT)
        try:
            connection.request("GET", f"/gradio_api/queue/data?session_hash={self.name}")
            answer = connection.getresponse()
            for line in answer:
                message = json.loads(line[6:]) if line.startswith(b"data: ") else {}
                if message.get("msg") == "process_completed" and message.get("event_id") == number:
                    return _text(message["output"])
        finally:
            connection.close()
        return "the queue ended without an answer"


def file_data(path: str, name: str, url: str | None = None) -> dict[str, Any]:
    """A file as the page names it to the server."""
    return {"path": path, "url": url, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def said(shown: str) -> str:
    """The line to the visitor in what the page shows."""
    found = re.search(r'<p class="said ([a-z]+)"[^>]*>(.*?)</p>', shown, re.DOTALL)
    return f"{found[1]}: {html.unescape(found[2])}" if found else shown[:200]


def _text(output: Mapping[str, Any]) -> str:
    """The texts among what a function returned."""
    data = output.get("data")
    texts = [value for value in data if isinstance(value, str)] if isinstance(data, list) else []
    return "\n".join(texts) if texts else json.dumps(output)


def an_action(visitor: Visitor, rng: random.Random, files: Mapping[str, bytes]) -> None:
    """What somebody at the page might do next."""
    kinds = {
        "code": 30, "select": 25, "random": 12, "undo": 6, "swap": 5, "keep": 4, "add": 4, "remove": 4, "upload": 4,
        "load": 3, "sample": 2, "complete": 1,
    }  # fmt: skip
    (kind,) = rng.choices(list(kinds), list(kinds.values()))
    if kind in ("code", "select", "swap", "keep", "remove"):
        actions = visitor.offered(kind)
        if actions:
            visitor.do(rng.choice(actions))
    elif kind == "upload":
        visitor.send("upload", "picture.png", files["picture"])
    elif kind == "load":
        visitor.send("load", "codes.json", files["codes"])
    elif kind in ("sample", "complete"):
        visitor.press(kind, 1.0, 0)
    else:
        visitor.press(kind)


def raw(address: str, data: bytes, wait: float = WAIT) -> bytes:
    """What comes back for bytes that may be no HTTP, until the server closes or says nothing for `wait` seconds."""
    where = urlsplit(address)
    found = b""
    with socket.create_connection((where.hostname or "", where.port), timeout=wait) as connection:
        try:
            connection.sendall(data)
            while block := connection.recv(65536):
                found += block
        except OSError:
            pass
    return found
