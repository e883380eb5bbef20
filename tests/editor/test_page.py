"""The running page: it serves nothing but itself, and odd requests get an answer, not a traceback."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from src.configs import launch as commands
from src.configs.errors import ConfigError
from src.editor import serve

from .studios import demo_config, tiny_model, tiny_studio

gradio = pytest.importorskip("gradio")


def ask(url: str, data: bytes | None = None, kind: str = "application/json", **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, data, {"Content-Type": kind, **headers})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def act(address: str, target: str, data: list, event: object = None) -> str:
    """What the page's queue answers to the function of an event, found by the id of the element it belongs to."""
    config = json.loads(ask(f"{address}config")[1])
    (component,) = (c["id"] for c in config["components"] if c["props"].get("elem_id") == target and _first(config, c))
    (number,) = (d["id"] for d in config["dependencies"] if any(t[0] == component for t in d["targets"]))
    body = {"data": data, "event_data": event, "fn_index": number, "session_hash": "test", "trigger_id": component}
    status, answer = ask(f"{address}gradio_api/queue/join", json.dumps(body).encode())
    assert status == 200, answer
    with urllib.request.urlopen(f"{address}gradio_api/queue/data?session_hash=test", timeout=60) as stream:
        for line in stream:
            message = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data: ") else {}
            if message.get("msg") == "process_completed":
                return json.dumps(message["output"])
    raise AssertionError("the queue ended without an answer")


def _first(config: dict, component: dict) -> bool:
    """Whether it is on the page at /."""
    return component["id"] in config["page"][""]["components"]


def test_both_languages_have_their_page_without_addresses_elsewhere(address):
    for path, words in (("", "Edit a scene by its codes"), ("ko", "코드로 장면 고치기")):
        status, page = ask(address + path)
        assert status == 200
        config = page.decode().split("window.gradio_config = ")[1].split("</script>")[0]
        assert words in json.loads(json.dumps(config)).encode().decode("unicode_escape", "ignore") or words in config
        assert "fonts.googleapis" not in page.decode() and "fonts.gstatic" not in page.decode()


@pytest.mark.parametrize(
    "path",
    [
        *("gradio_api/file=/etc/passwd", "gradio_api/file=../../etc/passwd", "file=/etc/passwd", "file/etc/passwd"),
        *(
            "gradio_api/file=pyproject.toml",
            "gradio_api/file=" + str(Path(__file__).resolve()),
            "static/../../routes.py",
        ),
        *("gradio_api/file=%2fetc%2fpasswd", "assets/..%2f..%2f..%2froutes.py", "gradio_api/file=//etc/passwd"),
        *("gradio_api/file=http://127.0.0.1/", "gradio_api/proxy=http://127.0.0.1:1/", "..%2f..%2fetc/passwd"),
    ],
)
def test_no_file_of_this_machine_is_served(address, path):
    status, answer = ask(address + path)
    assert status >= 400 or b"window.gradio_config" in answer
    assert b"root:" not in answer and b"importorskip" not in answer and b"[build-system]" not in answer


@pytest.mark.parametrize("path", ["docs", "redoc", "openapi.json", "monitoring", "gradio_api/monitoring/summary"])
def test_what_is_not_needed_is_off(address, path):
    status, answer = ask(address + path)
    assert status >= 400 or b"window.gradio_config" in answer


def test_a_request_that_is_too_large_is_not_read(address):
    host, port = address.removeprefix("http://").rstrip("/").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    connection.putrequest("POST", "/gradio_api/queue/join")
    connection.putheader("Content-Length", str(serve.MOST_BODY + 1))
    connection.endheaders(b"{")  # the rest never comes, and is not waited for
    answer = connection.getresponse()
    assert answer.status == 413 and answer.read() == b"the request is too large"
    connection.close()


def test_an_upload_that_is_too_large_is_refused(address):
    from src.editor.studio import MOST_UPLOAD

    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="../../evil.png"\r\n\r\n'
    body += b"\0" * (MOST_UPLOAD + 1024) + b"\r\n--x--\r\n"
    status, answer = ask(f"{address}gradio_api/upload", body, "multipart/form-data; boundary=x")
    assert status == 413, answer


def test_the_name_of_an_upload_leads_nowhere(address):
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="../../../tmp/svq_evil.png"\r\n\r\n'
    body = head + b"x\r\n--x--\r\n"
    status, answer = ask(f"{address}gradio_api/upload", body, "multipart/form-data; boundary=x")
    assert status == 200 and not Path("/tmp/svq_evil.png").exists()
    (path,) = json.loads(answer)
    assert ".." not in path


def test_a_file_that_was_not_uploaded_is_not_read(address):
    for path in ("/etc/passwd", str(Path(__file__).resolve()), "http://127.0.0.1:1/x.png"):
        file = {"path": path, "url": None, "orig_name": "x.json", "meta": {"_type": "gradio.FileData"}}
        answer = act(address, "load", [None, file])
        assert "root:" not in answer and "importorskip" not in answer


def test_what_the_page_never_sends_gets_one_line(address):
    for event in (None, 3, {"do": None}, {"do": ["code", 0, 0, 10**9]}, {"do": ["__init__"]}, {"do": "x" * 10_000}):
        answer = act(address, "board", [None], event)
        assert "said error" in answer and "Traceback" not in answer


def test_another_site_may_not_use_it(address):
    status, answer = ask(f"{address}config", Origin="http://evil.example", Host=address.split("/")[2])
    assert status >= 400 or b"components" in answer
    request = urllib.request.Request(f"{address}config", headers={"Origin": "http://evil.example"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.headers.get("Access-Control-Allow-Origin") in (None, "")


def test_a_port_that_is_taken_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError) as error:
            serve.launch(tiny_studio(), demo_config(f"port={taken.getsockname()[1]}"))
        assert "(the port is taken); give another" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid", "'::1'"])
def test_a_host_that_is_not_this_machine_is_one_line(host):
    with pytest.raises(ConfigError) as error:
        serve.launch(tiny_studio(), demo_config(f"host={host}"))
    assert str(error.value).endswith("; give another, such as host=127.0.0.1") and "\n" not in str(error.value)


def test_by_default_only_this_machine_reaches_it():
    assert demo_config().host == "127.0.0.1"


# ------------------------------------------------------------------ from a checkpoint


def checkpoint(path: Path, model, **content) -> str:
    from src.utils.checkpoint_io import FORMAT, VERSION, atomic_save

    whole = {"format": FORMAT, "version": VERSION, "model_config": model.config, "step": 0, "metrics": {}}
    atomic_save({**whole, "model_state_dict": model.state_dict(), **content}, path)
    return f"checkpoint={path}"


def trained_on(**data) -> dict:
    from ..training.tiny import tiny_config

    return {"config": {**commands.plain(tiny_config()), "data": {**commands.plain(tiny_config().data), **data}}}


def test_a_checkpoint_brings_scenes_of_its_data(tmp_path):
    word = checkpoint(tmp_path / "model.pth", tiny_model(), **trained_on())
    studio = serve.open_checkpoint(demo_config(word, f"cache_dir={tmp_path}", "device=cpu"))
    assert studio.data is not None and studio.data.image_size == 16 and studio.data.split == "test"


def test_without_its_data_the_prior_writes_scenes(tmp_path, capsys):
    gone = trained_on(name="folder", path=str(tmp_path / "gone"))
    word = checkpoint(tmp_path / "model.pth", tiny_model(), **gone)
    studio = serve.open_checkpoint(demo_config(word, f"cache_dir={tmp_path}"))
    assert studio.data is None
    said = capsys.readouterr().out
    assert said.startswith("note: no pictures of its data") and said.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["checkpoint=nowhere.pth"], "nowhere.pth does not exist"),
        (["device=cuda"], "device=cuda is not available here"),
        (["data_path=/nowhere"], "data.path=/nowhere does not go with shapes"),
    ],
)
def test_what_cannot_be_opened_is_one_line(tmp_path, words, said, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    word = checkpoint(tmp_path / "model.pth", tiny_model(), **trained_on())
    with pytest.raises(ConfigError) as error:
        serve.open_checkpoint(demo_config(word, f"cache_dir={tmp_path}", *words))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_model_without_codes_or_scenes_is_refused(tmp_path):
    gone = trained_on(name="folder", path=str(tmp_path / "gone"))
    word = checkpoint(tmp_path / "model.pth", tiny_model(prior=False), **gone)
    with pytest.raises(ConfigError, match="gone"):
        serve.open_checkpoint(demo_config(word, f"cache_dir={tmp_path}"))
