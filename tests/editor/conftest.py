"""The page, served once for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from src.editor import serve

from .studios import demo_config, free_port, tiny_studio


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in serve.QUIET.items():
            patched.setenv(name, value)
        patched.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        page = serve.launch(tiny_studio(), demo_config(f"port={free_port()}"))
        assert page.local_url is not None
        yield page.local_url
        page.close()
