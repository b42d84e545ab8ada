"""A backend by its name: shared where there is somebody to share it with, an environment's own where not."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from agentenv.errors import ConfigError, RegistryError
from agentenv.resources import Resources
from agentenv.sandbox import Limits, SandboxFailed
from agentenv.sandbox.sharing import BorrowedBackend
from agentenv_local import LocalSandboxes


async def test_environments_that_are_played_together_share_a_backend() -> None:
    async with Resources() as resources:
        with resources.active():
            one, other, different = BorrowedBackend("local"), BorrowedBackend("local"), BorrowedBackend("local", warm=1)
            backend = await one.backend()
            assert await other.backend() is backend
            assert await different.backend() is not backend
            sandbox = await one.create()
            await one.close()
            with pytest.raises(SandboxFailed):
                await sandbox.exec("true")
            async with await other.create() as still:
                assert (await still.exec("true")).ok
    with pytest.raises(SandboxFailed):
        await backend.create()


@pytest.mark.parametrize("together", [True, False])
async def test_a_backend_that_died_is_replaced_for_whoever_comes_next(together: bool) -> None:
    async with Resources() as resources:
        with resources.active() if together else contextlib.nullcontext():
            one, other = BorrowedBackend("local", warm=0), BorrowedBackend("local", warm=0)
            backend = await one.backend()
            assert isinstance(backend, LocalSandboxes)
            os.kill(backend.pid, signal.SIGKILL)
            with pytest.raises(SandboxFailed):
                await backend.create()
            async with await one.create() as sandbox:
                assert (await sandbox.exec("true")).ok
            assert (await other.backend() is await one.backend()) is together
            await one.close()
            await other.close()


async def test_an_environment_by_itself_has_its_own_and_may_begin_again_after_closing() -> None:
    one, other = BorrowedBackend("local"), BorrowedBackend("local")
    backend = await one.backend()
    assert await one.backend() is backend
    assert await other.backend() is not backend
    sandbox = await one.create(Limits(wall_seconds=3.0))
    assert sandbox.limits.wall_seconds == 3.0
    await one.close()
    await one.close()
    with pytest.raises(SandboxFailed):
        await backend.create()
    async with await one.create() as again:
        assert (await again.exec("true")).ok
    await one.close()
    await other.close()


async def test_nothing_is_opened_before_it_is_needed_and_a_wrong_name_is_told_then() -> None:
    nowhere = BorrowedBackend("locl")
    with pytest.raises(RegistryError, match="Did you mean 'local'"):
        await nowhere.backend()
    with pytest.raises(ConfigError, match="has no option 'wram'"):
        await BorrowedBackend("local", wram=1).backend()
    await nowhere.close()
