"""From settings to the page on this machine."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..configs.errors import ConfigError, as_config_error
from ..configs.schema import DataConfig, DemoConfig, ReportDataConfig
from ..data.base import SceneDataset
from ..models.code_model import CodeModel
from ..models.svq_model import SVQ
from ..reporting.checkpoints import data_of
from ..training.build import make_split
from ..utils.checkpoint_io import safe_load
from ..utils.precision import autocast, resolve_device, resolve_precision
from ..utils.workers import processors
from .reference import SCENES as REFERENCE
from .studio import MOST_UPLOAD, Studio, open_studio

if TYPE_CHECKING:
    import gradio as gr

SCENES = 1000  # of the test split, to choose from
MOST_BODY = 2 * MOST_UPLOAD  # bytes of any request
WAITING = 256  # events in the queue, beyond which visitors are told to come back

# Gradio and its hub client ask others for nothing, and tell them nothing.
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}


def run_demo(config: DemoConfig) -> None:
    """Opens the checkpoint and serves its page until interrupted.

    Raises:
        ConfigError: a setting or a checkpoint that cannot be used, or Gradio is missing.
    """
    with tempfile.TemporaryDirectory(prefix="svq_demo_") as uploads:
        os.environ.update(QUIET, GRADIO_TEMP_DIR=uploads)
        _require_gradio()
        studio = open_checkpoint(config)
        launched = launch(studio, config)
        print(f"the page is at {launched.local_url} (Ctrl+C ends it)", flush=True)
        try:
            launched.block_thread()
        finally:
            launched.close()


def launch(studio: Studio, config: DemoConfig) -> gr.Blocks:
    """Starts the server in threads of its own and returns the running page.

    Raises:
        ConfigError: the port is not free, or the host is no IPv4 address of this machine.
    """
    from .page import HERE, THEME, make_page

    page = make_page(studio, config.language)
    page.queue(max_size=WAITING, default_concurrency_limit=processors(), api_open=False)
    settings: dict[str, Any] = {
        "server_name": config.host,
        "server_port": config.port,
        "inbrowser": config.open,
        "share": False,
        "quiet": True,
        "show_error": False,
        "allowed_paths": [],
        "max_file_size": MOST_UPLOAD,
        "enable_monitoring": False,
        "run_history": False,
        "footer_links": [],
        "ssr_mode": False,
        "mcp_server": False,
        "pwa": False,
        "state_session_capacity": 1000,
        "theme": THEME,
        "css_paths": HERE / "page.css",
        "prevent_thread_lock": True,
        "app_kwargs": {"docs_url": None, "redoc_url": None, "openapi_url": None, "middleware": [_limit()]},
    }
    _require_free(config.host, config.port)
    try:
        page.launch(**settings)
    except OSError as error:  # somebody was faster
        raise ConfigError(_not_served(config.host, config.port, "the port is taken", "port=7861")) from error
    return page


def _require_free(host: str, port: int) -> None:
    """Raises ConfigError unless this machine can listen there: Gradio takes every reason for a port that is taken."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            line = _not_served(host, port, "the port is taken", "port=7861")
        else:
            line = _not_served(host, port, str(error.strerror or error), "host=127.0.0.1")
        raise ConfigError(line) from error


def _not_served(host: str, port: int, reason: str, instead: str) -> str:
    return f"host={host} port={port} cannot be served ({reason}); give another, such as {instead}"


def open_checkpoint(config: DemoConfig) -> Studio:
    """The model that `config` names, with what is known of its codes.

    Raises:
        ConfigError: a setting or a checkpoint that cannot be used.
    """
    with as_config_error():
        device = resolve_device(config.device)
        precision = resolve_precision(config.precision, device)
        model = CodeModel.from_checkpoint(config.checkpoint, device)
    if not isinstance(model, SVQ) or not model.has_codes:
        raise ConfigError(
            f"checkpoint {config.checkpoint} holds a model without codes of objects, which the page edits: give one of "
            "model.kind=svq with model.bottleneck=codes"
        )
    train_ds, test_ds = _data(config, model)
    if train_ds is None and model.prior is None:
        raise ConfigError(
            f"checkpoint {config.checkpoint} has neither its data on this machine nor a prior, so there are no scenes "
            "to show; give data_path=<folder of its pictures>"
        )
    return open_studio(model, train_ds, test_ds, autocast(precision, device), config.cache_dir)


def _data(config: DemoConfig, model: SVQ) -> tuple[SceneDataset | None, SceneDataset | None]:
    """Some train scenes and some test scenes of what the model was trained on; None where they are not here."""
    trained = safe_load(config.checkpoint).get("config") or {}
    other: dict[str, Any] = dict.fromkeys(ReportDataConfig.__dataclass_fields__)
    try:
        data = data_of(Path(config.checkpoint), trained, model, ReportDataConfig(**{**other, "path": config.data_path}))
        with as_config_error():
            return make_split(_few(data), "train"), make_split(_few(data), "test").prepare()
    except ConfigError as error:
        if config.data_path is not None or model.prior is None:
            raise
        print(f"note: no pictures of its data ({error}); scenes come from the prior", flush=True)
        return None, None


def _few(data: DataConfig) -> DataConfig:
    """The same data, as many scenes as the page needs."""

    def least(count: int | None, most: int) -> int | None:
        return count if count is None else min(count, most)

    return replace(data, num_train=least(data.num_train, REFERENCE), num_test=least(data.num_test, SCENES))


def _require_gradio() -> None:
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"the page needs Gradio ({error}); install it with: pip install -e '.[demo]'") from error


def _limit() -> Any:
    from starlette.middleware import Middleware

    return Middleware(LimitBody, most=MOST_BODY)


class LimitBody:
    """ASGI middleware: no request has a body of more than `most` bytes, and none without end."""

    def __init__(self, app: Any, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self.most:
            return await _too_large(send)
        taken = 0

        async def counted() -> Any:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.most:  # it said less, or nothing, of its length
                return {"type": "http.disconnect"}
            return message

        await self.app(scope, counted, send)


async def _too_large(send: Any) -> None:
    await send({"type": "http.response.start", "status": 413, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"the request is too large"})
