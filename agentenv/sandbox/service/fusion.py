"""`/run_code` as SandboxFusion has it, so that recipes made for it can point here."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from agentenv.errors import ConfigError
from agentenv.sandbox.contract import OnOutput, Sandbox, SandboxBackend
from agentenv.sandbox.errors import SandboxFailed, SandboxFileError
from agentenv.sandbox.limits import MIB, Limits
from agentenv.sandbox.result import Cause, ExecResult
from agentenv.sandbox.service.executions import Executions
from agentenv.sandbox.service.fusion_wire import CommandResult, CommandStatus, RunCode, RunCodeReply, RunStatus
from agentenv.sandbox.service.leases import Leases

_NO_TIME_LEFT = frozenset({Cause.WALL, Cause.CPU})
_KILLED = -9


@dataclass(frozen=True, slots=True)
class Language:
    """How code in a language is run: the file it goes into, the command that compiles it, and the one that runs it."""

    file: str
    run: tuple[str, ...]
    compile: tuple[str, ...] = ()

    @property
    def tool(self) -> str:
        """The program without which there is no such language."""
        return (self.compile or self.run)[0]


LANGUAGES: Mapping[str, Language] = {
    "python": Language("main.py", ("python3", "main.py")),
    "bash": Language("main.sh", ("bash", "main.sh")),
    "cpp": Language("main.cpp", ("./main",), compile=("g++", "-std=c++17", "main.cpp", "-o", "main")),
    "nodejs": Language("main.js", ("node", "main.js")),
    "perl": Language("main.pl", ("perl", "main.pl")),
}


class Fusion:
    """Runs the code of each request in a fresh sandbox, which is gone when it is answered.

    Args:
        limits: of the service's sandboxes; a request's own timeouts hold within one that has at least these.
    """

    def __init__(self, backend: SandboxBackend, leases: Leases, executions: Executions, limits: Limits) -> None:
        self._backend, self._leases, self._executions, self._limits = backend, leases, executions, limits

    async def run(self, request: RunCode) -> RunCodeReply:
        """The answer to a request. What goes wrong with the sandbox is part of it.

        Raises:
            AtCapacity: there is no room for it now.
        """
        language = LANGUAGES.get(request.language)
        if language is None:
            known = ", ".join(LANGUAGES)
            return _sandbox_error(f"the language {request.language[:40]!r} is not served; those served are: {known}")
        try:
            async with self._executions.turn():
                with self._leases.room():
                    limits = self._limits_of(request)
                    async with await self._leases.make(lambda: self._backend.create(limits)) as sandbox:
                        return await self._run(language, request, sandbox)
        except (SandboxFailed, SandboxFileError, ConfigError) as error:
            return _sandbox_error(str(error))

    async def _run(self, language: Language, request: RunCode, sandbox: Sandbox) -> RunCodeReply:
        for path, data in request.files.items():
            await sandbox.write(path, data or b"")
        plain_python = language is LANGUAGES["python"] and not request.files  # what is imported beforehand is there
        if not plain_python:
            await sandbox.write(language.file, request.code.encode())
            if not (await sandbox.exec(f"command -v {language.tool}")).ok:
                return _sandbox_error(f"{language.tool} is not in these sandboxes, so {request.language} cannot be run")
        compiled = None
        if language.compile:
            compiled = await sandbox.exec(language.compile, wall_seconds=request.compile_timeout)
            if not compiled.ok:
                return RunCodeReply(status=RunStatus.FAILED, compile_result=_told(compiled))

        async def execute(hear: OnOutput | None) -> ExecResult:
            stdin, wall = (request.stdin or "").encode(), request.run_timeout
            if plain_python:
                return await sandbox.run_python(request.code, stdin=stdin, wall_seconds=wall, on_output=hear)
            return await sandbox.exec(language.run, stdin=stdin, wall_seconds=wall, on_output=hear)

        result = await self._executions.counted(execute)
        return RunCodeReply(
            status=RunStatus.SUCCESS if result.ok else RunStatus.FAILED,
            compile_result=None if compiled is None else _told(compiled),
            run_result=_told(result),
            files=await _fetched(sandbox, request.fetch_files),
        )

    def _limits_of(self, request: RunCode) -> Limits:
        """Those of the service, which has such sandboxes ready; others where the request needs more time or memory."""
        longest = max(request.compile_timeout, request.run_timeout)
        limits, memory = self._limits, request.memory_limit_MB * MIB
        return dataclasses.replace(
            limits,
            wall_seconds=max(limits.wall_seconds, longest),
            cpu_seconds=max(limits.cpu_seconds, longest),
            memory_bytes=memory if memory > 0 else limits.memory_bytes,
        )


async def _fetched(sandbox: Sandbox, paths: list[str]) -> dict[str, str]:
    """Those of the files that there are."""
    files = {}
    for path in paths:
        try:
            files[path] = base64.b64encode(await sandbox.read(path)).decode()
        except SandboxFileError:
            continue
    return files


def _told(result: ExecResult) -> CommandResult:
    """A result in SandboxFusion's words, which know no limit but time: any other has killed the program."""
    timed_out = result.cause in _NO_TIME_LEFT
    code = _KILLED if result.exit_code is None else result.exit_code
    stderr = result.stderr.text
    if result.message and not timed_out:
        stderr = f"{stderr.rstrip()}\nended by the sandbox: {result.message}\n".lstrip()
    return CommandResult(
        status=CommandStatus.TIME_LIMIT_EXCEEDED if timed_out else CommandStatus.FINISHED,
        execution_time=result.usage.wall_seconds,
        return_code=None if timed_out else code,
        stdout=result.stdout.text,
        stderr=stderr,
    )


def _sandbox_error(message: str) -> RunCodeReply:
    return RunCodeReply(status=RunStatus.SANDBOX_ERROR, message=message)
