# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What type checkers make of singleton. Not run: mypy and pyright read it.

Every `type: ignore` here is an error that both have to report.
"""

from __future__ import annotations

from typing import assert_type

from leaksafe import singleton


@singleton
class Settings:
    def __init__(self, path: str = "app.toml") -> None:
        self.path = path


@singleton(weak=True, scope="thread", extra_args="ignore")
class Passing:
    name = "x"


class Below(Settings):
    pass


def takes_class(cls: type[Settings]) -> Settings:
    return cls()


assert_type(Settings(), Settings)
assert_type(Settings("a").path, str)
assert_type(Below(), Below)
assert_type(Passing().name, str)
takes_class(Settings)
takes_class(Below)
Settings(1)  # type: ignore[arg-type]
Settings().nothing  # type: ignore[attr-defined]
singleton(weak=1)  # type: ignore[call-overload]
singleton(scope="module")  # type: ignore[call-overload]
singleton.reset(Settings)
singleton.reset(Settings())  # type: ignore[arg-type]
with singleton.override(Settings, object()):
    pass
