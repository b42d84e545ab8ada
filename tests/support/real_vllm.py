"""One real vLLM server for the whole test run: the fixture `real_vllm`.

    async def test_something(real_vllm: RealVLLM) -> None:
        async with real_vllm.api() as api:
            ...

The server starts with the first test that asks for it (half a minute) and serves all others; tests that use it are put
into the xdist group "vllm", so that one worker has them all, and are marked slow. A test finds it not paused, with its
first weights, without adapters, and may leave it as it likes: it is put in order after each. A server that died is
started again for the next test; a test that ends it on purpose asks for `doomed_vllm` and runs after all others.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agentenv_vllm.api import VLLMApi
from agentenv_vllm.errors import ServerError, VLLMNotInstalledError
from agentenv_vllm.interpreter import find_interpreter
from agentenv_vllm.options import ServerOptions
from agentenv_vllm.process import ManagedServer
from agentenv_vllm.worker import TransferBackend
from tests.conftest import require

Result = TypeVar("Result")

OPTIONS = ServerOptions(
    model_name="tiny",
    max_model_len=512,
    max_num_seqs=32,
    kv_cache_memory_bytes=64 * 2**20,
    enable_lora=True,
    weight_transfer=TransferBackend.FILE,
    threads=1,
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _uses(item, "real_vllm"):
            item.add_marker(pytest.mark.xdist_group("vllm"))
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: _uses(item, "doomed_vllm"))  # stable: all others keep their order


def _uses(item: pytest.Item, fixture: str) -> bool:
    return fixture in getattr(item, "fixturenames", ())


@dataclass(frozen=True, slots=True)
class RealVLLM:
    """The running server.

    Attributes:
        base_url: ending in /v1.
        model_name: what to ask for.
        folder: the model it was started with, as `agentenv_tiny.create_policy` makes it; never changed.
        log: of the server.
        server: it, for its process ids; only tests that end it themselves need that.
        stop: ends it and waits until it is gone; only for tests that use `doomed_vllm`.
    """

    base_url: str
    model_name: str
    folder: Path
    log: Path
    server: ManagedServer
    stop: Callable[[], None]

    @property
    def root_url(self) -> str:
        """The base URL without the /v1."""
        return self.base_url.removesuffix("/v1")

    def api(self) -> VLLMApi:
        """A client for the test's own event loop: `async with real_vllm.api() as api`."""
        return VLLMApi(self.base_url)


@pytest.fixture
def real_vllm(_shared_vllm: _Shared) -> Iterator[RealVLLM]:
    running = _shared_vllm.running()
    yield running
    _shared_vllm.put_in_order()


@pytest.fixture
def doomed_vllm(real_vllm: RealVLLM) -> RealVLLM:
    """The same server, for a test that ends it."""
    return real_vllm


@pytest.fixture(scope="session")
def _shared_vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Shared]:
    shared = _Shared(tmp_path_factory.mktemp("vllm"))
    try:
        yield shared
    finally:
        shared.close()


def require_vllm() -> None:
    """Skips the test where no Python has vllm, or fails it in CI."""
    found = None
    with contextlib.suppress(VLLMNotInstalledError):
        found = asyncio.run(find_interpreter())
    require(found is not None, "a vLLM for CPUs: scripts/make-vllm .vllm (x86-64 Linux, Python 3.11)")


class _Shared:
    """The server and the event loop its process is watched from, in a thread of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="real-vllm", daemon=True)
        self._thread.start()
        self._server: ManagedServer | None = None
        self._checksums: Any = None

    def running(self) -> RealVLLM:
        if self._server is None or not self._server.running:
            require_vllm()
            start = self._folder / "start"
            if not start.exists():
                from agentenv_tiny import create_policy

                create_policy(start)
            self._server = ManagedServer(start, OPTIONS, log=self._folder / "server.log", start_timeout=280.0)
            self._run(self._server.start())
            self._checksums = self._run(self._read_checksums())
        server = self._server
        return RealVLLM(server.base_url, server.model_name, server.folder, server.log, server, self._stop)

    def put_in_order(self) -> None:
        """Not paused, the first weights, no adapters. A server that cannot be put in order is ended, with a warning."""
        if self._server is None or not self._server.running:
            return
        try:
            self._run(self._tidy())
        except ServerError as error:
            warnings.warn(f"the real vLLM is started again for the next test: {error}", stacklevel=1)
            self._run(self._server.stop())

    async def _tidy(self) -> None:
        assert self._server is not None
        async with VLLMApi(self._server.base_url) as api:
            if await api.is_paused():
                await api.resume()
            for model in await api.models():
                if model.parent is not None:
                    await api.unload_lora_adapter(model.id)
            if await self._read_checksums() != self._checksums:
                await api.collective_rpc("reload_weights", kwargs={"weights_path": str(self._server.folder)})
                await api.reset_prefix_cache(reset_running_requests=True)
            if await api.weight_version() != "default":
                await api.update_weight_version("default")

    async def _read_checksums(self) -> Any:
        assert self._server is not None
        async with VLLMApi(self._server.base_url) as api:
            return await api.post("/weight_checker", {"action": "checksum"}, timeout=60.0)

    def _stop(self) -> None:
        if self._server is not None:
            self._run(self._server.stop())

    def close(self) -> None:
        self._stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
