"""What every way of showing the demo can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from leaksafe.demo.act import Run


class Show(ABC):
    """Told what happens, act by act; draws it."""

    @abstractmethod
    def preparing(self, done: int, total: int) -> None:
        """Show how much of the input is ready."""

    @abstractmethod
    def start(self, run: Run) -> None:
        """Show an act whose sides begin now."""

    @abstractmethod
    def update(self, run: Run, side: int) -> None:
        """Show that a side has reported."""

    @abstractmethod
    def finish(self, run: Run) -> None:
        """Show the result of an act."""

    @abstractmethod
    def say(self, text: str) -> None:
        """Show one line."""

    def __enter__(self) -> Self:
        """Nothing to open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was found."""
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Stop drawing."""
