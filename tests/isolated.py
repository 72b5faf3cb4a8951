"""Runs code in a fresh interpreter under a time limit, and says how it ended.

A test marked ``@isolated()`` is run by a child process, so that a crash, a hang or a leak in one
case can't hide another. The child imports neither pytest nor its assertion rewriting: asserts that
need words carry them.

The cases of a module are forks of one interpreter that has imported it and run nothing: to start
one for each would be most of what the tests take.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any, ParamSpec, TypeVar

P = ParamSpec("P")
E = TypeVar("E", bound=BaseException)

LIMIT = 20
DONE = "isolated: the case came to its end"
FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()

_in_child = False


@dataclass(frozen=True)
class Result:
    code: int | None
    """Exit code, negative for a signal, None when the time limit was reached."""
    stdout: str
    stderr: str
    limit: float

    @property
    def ended(self) -> str:
        if self.code is None:
            return f"deadlock: no progress in {self.limit:g} s"
        if self.code < 0:
            return f"signal {signal.Signals(-self.code).name}"
        return f"exit {self.code}"

    def report(self, what: str) -> str:
        parts = [f"{what}: {self.ended}"]
        for name, text in (("stdout", self.stdout), ("stderr", self.stderr)):
            text = text.replace(DONE + "\n", "")
            if text:
                parts.append(f"--- {name}\n{text[-6000:].rstrip()}")
        return "\n".join(parts)


@functools.cache
def _compiled() -> str:
    """Where the children keep compiled modules: an interpreter without any takes half a second."""
    directory = tempfile.TemporaryDirectory(prefix="isolated-")
    atexit.register(directory.cleanup)
    return directory.name


def _command(flags: Sequence[str], arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-X", "faulthandler", "-W", "error", *flags, *arguments]


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    # PYTHONDONTWRITEBYTECODE: set and empty is off
    kept = {"PYTHONPYCACHEPREFIX": _compiled(), "PYTHONDONTWRITEBYTECODE": ""}
    return {**os.environ, **kept, **env}


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _result(code: int | None, out: IO[bytes], err: IO[bytes], limit: float) -> Result:
    out.seek(0)
    err.seek(0)
    return Result(
        code, out.read().decode(errors="replace"), err.read().decode(errors="replace"), limit
    )


def run(
    arguments: Sequence[str],
    *,
    limit: float = LIMIT,
    env: dict[str, str] | None = None,
    flags: Sequence[str] = (),
) -> Result:
    """Run ``python <arguments>`` and wait for at most ``limit`` seconds.

    Output goes to files: a forked grandchild that hangs would keep a pipe open for ever.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            _command(flags, arguments),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=_environment(env or {}),
            start_new_session=True,
        )
        code: int | None
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
            # faulthandler answers SIGABRT with the stack of every thread
            process.send_signal(signal.SIGABRT)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                pass
        finally:
            _kill_group(process.pid)
            process.wait()
        return _result(code, out, err, limit)


class Template:
    """An interpreter that has imported a module of tests, and forks for each case of it."""

    def __init__(self, path: str, env: Mapping[str, str], flags: Sequence[str]) -> None:
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._said = tempfile.TemporaryFile()
        with theirs:
            self._process = subprocess.Popen(
                _command(flags, [__file__, path, str(theirs.fileno())]),
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                env=_environment(env),
                pass_fds=[theirs.fileno()],
            )

    def run(self, name: str, kwargs: Mapping[str, object], limit: float) -> Result:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            case = json.dumps([name, kwargs]).encode()
            try:
                socket.send_fds(self._connection, [case], [out.fileno(), err.fileno()])
                pid = self._answer(60)
            except OSError:
                pid = None
            if pid is None:
                self._said.seek(0)
                said = self._said.read().decode(errors="replace")
                return Result(1, "", f"no case began: {said}", limit)
            try:
                code = self._answer(limit)
                if code is None:
                    # faulthandler answers SIGABRT with the stack of every thread
                    os.kill(pid, signal.SIGABRT)
                    if self._answer(5) is None:
                        os.kill(pid, signal.SIGKILL)
                        self._answer(60)
            finally:
                _kill_group(pid)
            return _result(code, out, err, limit)

    def _answer(self, limit: float) -> int | None:
        self._connection.settimeout(limit)
        try:
            answer = self._connection.recv(32)
        except TimeoutError:
            return None
        return int(answer) if answer else None

    def close(self) -> None:
        """End the interpreter, which sees that nobody asks it any more."""
        self._connection.close()
        self._process.kill()
        self._process.wait()
        self._said.close()


_templates: dict[tuple[object, ...], Template] = {}


def _template(path: str, malloc: str, flags: Sequence[str]) -> Template:
    """The interpreter for the cases of a module; those of other modules end."""
    key = (path, malloc, *flags)
    if key not in _templates:
        for other in [other for other in _templates if other[0] != path]:
            _templates.pop(other).close()
        _templates[key] = Template(path, {"PYTHONMALLOC": malloc}, flags)
    return _templates[key]


@atexit.register
def _end_of_templates() -> None:
    while _templates:
        _templates.popitem()[1].close()


def run_source(source: str, *, limit: float = LIMIT, flags: Sequence[str] = ()) -> Result:
    return run(["-c", source], limit=limit, flags=flags)


def isolated(
    *,
    limit: float = LIMIT,
    malloc: str = "debug",
    flags: Sequence[str] = (),
    code: int = 0,
    stdout: str = "",
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Run the decorated test in a process of its own.

    It passes when the case ran to its end, the process left with ``code``, printed ``stdout`` and
    wrote nothing to stderr (where whatever surfaces late, or is swallowed, would show up).
    ``malloc="debug"`` fills freed memory with a pattern, which turns a use after free into a crash.
    """

    def decorate(function: Callable[P, None]) -> Callable[P, None]:
        if _in_child:
            return function

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
            assert not args
            template = _template(function.__code__.co_filename, malloc, flags)
            result = template.run(function.__name__, kwargs, limit)
            printed = result.stdout.replace(DONE + "\n", "")
            if (
                result.code != code
                or DONE not in result.stdout
                or printed != stdout
                or result.stderr
            ):
                raise AssertionError(result.report(f"{function.__name__}{kwargs or ''}"))

        import pytest

        return pytest.mark.thread_unsafe(reason="runs in a process of its own")(wrapper)

    return decorate


def each(name: str, values: Iterable[Any]) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """``pytest.mark.parametrize`` for plain values, which are their own ids."""
    if _in_child:
        return lambda function: function
    import pytest

    return pytest.mark.parametrize(name, list(values), ids=str)


def skip_unless(there: object, why: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """``pytest.mark.skipif``, which the child doesn't need: it runs what isn't skipped."""
    if _in_child:
        return lambda function: function
    import pytest

    return pytest.mark.skipif(not there, reason=why)


class Caught:
    value: BaseException | None = None


@contextmanager
def raises(kind: type[BaseException], match: str = "") -> Iterator[Caught]:
    """``pytest.raises`` for the child: the exact type, and a part of the message."""
    caught = Caught()
    try:
        yield caught
    except kind as error:
        assert type(error) is kind, f"{kind.__name__} was wanted, not {error!r}"
        assert match in str(error), f"{match!r} is not in {error!r}"
        caught.value = error
    else:
        raise AssertionError(f"{kind.__name__} was not raised")


def outcome(function: Callable[..., object], *args: object) -> object:
    """The result, or the type of the error: what two implementations can be compared by."""
    try:
        return function(*args)
    except Exception as error:
        return type(error)


def full_collection() -> None:
    """What a first collection finalizes may only be freed by the next one."""
    for _ in range(3):
        gc.collect()


def resident() -> int:
    """Resident bytes of this process; 0 where the system doesn't say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _load(path: str) -> ModuleType:
    global _in_child
    _in_child = True
    # the test module imports this file by name: it must find this copy
    sys.modules["isolated"] = sys.modules[__name__]
    sys.path.insert(0, str(Path(path).parent))
    stem = Path(path).stem
    spec = importlib.util.spec_from_file_location(stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[stem] = module
    spec.loader.exec_module(module)
    return module


def _next_case(connection: socket.socket) -> tuple[str, dict[str, Any]]:
    """Fork for each case that is asked for, and tell how it ended; returns in the forks only."""
    while True:
        asked, fds, _, _ = socket.recv_fds(connection, 1 << 20, 2)
        if not asked:
            # nothing was run here, so nothing is to be ended
            os._exit(0)
        pid = os.fork()
        if not pid:
            os.setsid()
            for fd, standard in zip(fds, (1, 2), strict=True):
                os.dup2(fd, standard)
                os.close(fd)
            connection.close()
            name, kwargs = json.loads(asked)
            return name, kwargs
        for fd in fds:
            os.close(fd)
        connection.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _main(path: str, descriptor: str) -> None:
    module = _load(path)
    name, kwargs = _next_case(socket.socket(fileno=int(descriptor)))
    getattr(module, name)(**kwargs)
    print(DONE, flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
