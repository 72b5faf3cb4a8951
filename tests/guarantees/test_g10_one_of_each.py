"""G10 of singletons and registries: one of each, from sixteen threads and in a forked child."""

from __future__ import annotations

import os
import random
import threading

from test_g10_parallel import THREADS, Key, together

from isolated import isolated
from leaksafe import Registry, singleton


@isolated()
def test_a_fork_while_another_thread_builds() -> None:
    began, go_on = threading.Event(), threading.Event()

    @singleton
    class Slow:
        def __init__(self) -> None:
            if not go_on.is_set():
                began.set()
                go_on.wait()

    thread = threading.Thread(target=Slow)
    thread.start()
    began.wait()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    go_on.set()
    if child == 0:
        os._exit(0 if Slow() is Slow() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join()


@isolated(limit=60)
def test_sixteen_threads_on_a_cold_key_a_thousand_times() -> None:
    registry = Registry[int, object](4)
    built: list[int] = []
    start, end = threading.Barrier(16), threading.Barrier(16)
    wrong: list[object] = []
    seen: list[object] = [None] * 16

    def make() -> object:
        built.append(1)
        return object()

    def ask(number: int) -> None:
        for turn in range(1_000):
            start.wait()
            seen[number] = registry.get_or_create(turn, make)
            end.wait()
            if number == 0 and (len(built) != turn + 1 or any(one is not seen[0] for one in seen)):
                wrong.append(turn)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@isolated()
def test_a_fork_while_another_thread_makes_and_uses_an_instance() -> None:
    registry = Registry[str, object](4)
    began, go_on = threading.Event(), threading.Event()

    def slow() -> object:
        if not go_on.is_set():
            began.set()
            go_on.wait()
        return object()

    def use() -> None:
        with registry.use("used", object):
            registry.get_or_create("a", slow)

    thread = threading.Thread(target=use)
    thread.start()
    began.wait()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    go_on.set()
    if child == 0:
        code = 1
        try:
            assert registry.get_or_create("a", slow) is registry["a"]
            assert list(registry) == ["used", "a"]
            registry.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join()
    assert list(registry) == ["used", "a"]


@isolated(limit=60)
def test_every_operation_of_a_registry_from_many_threads() -> None:
    closed: list[object] = []

    class Closable:
        def close(self) -> None:
            closed.append(self)

    registry = Registry[object, Closable](6)
    popped: list[Closable] = []
    made: list[Closable] = []

    def make() -> Closable:
        one = Closable()
        made.append(one)
        return one

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for turn in range(400):
            key = Key(chance.randrange(10))
            registry.get_or_create(key, make)
            with registry.use(key, make) as instance:
                assert instance not in closed
            if turn % 7 == 0 and (taken := registry.pop(key, None)) is not None:
                popped.append(taken)
            if turn % 50 == 0:
                registry.clear()
            len(registry), list(registry), key in registry

    together(*(lambda seed=seed: work(seed) for seed in range(THREADS)))
    registry.close()
    assert len(closed) + len(popped) == len(made) == len({*closed, *popped})
