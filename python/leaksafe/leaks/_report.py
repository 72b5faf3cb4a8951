"""What was found, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from leaksafe.leaks import _page
from leaksafe.leaks._sizes import show_bytes, show_count


@dataclass(frozen=True)
class Group:
    """Survivors that are held by the same path.

    >>> from leaksafe import leaks
    >>> print(leaks.Group("global kept", "global kept[0]", 3, 72, {"object": 3}, None, "drop them"))
    global kept
        3 object: 3 objects, 72 bytes
        → drop them
    """

    path: str
    """Who holds them, the nearest holder first, up to a root."""
    example: str
    """The path of one of them, with its place in each container."""
    count: int
    """How many there are, with those that they hold in turn."""
    bytes: int
    """What all these weigh, with the plain objects in them such as numbers and strings."""
    types: dict[str, int]
    """The classes of those that are held directly, the most frequent first."""
    line: str | None
    """Where one was made, if tracemalloc runs."""
    advice: str
    """What to do about it."""
    growth: float | None = None
    """How many more there are at each call, where calls were repeated."""
    holder: str | None = None
    """The class, with its module, of the nearest holder that is no builtin container."""

    def __str__(self) -> str:
        kinds = ", ".join(f"{count:,} {name}" for name, count in list(self.types.items())[:3])
        rate = "" if self.growth is None else f", {self.growth:g} a call"
        lines = [
            f"{self.path}",
            f"    {kinds}: {show_count(self.count)}, {show_bytes(self.bytes)}{rate}",
        ]
        if self.line:
            lines.append(f"    made at {self.line}")
        lines.append(f"    → {self.advice}")
        return "\n".join(lines)


def joined(one: Group, other: Group) -> Group:
    """Return two groups as one."""
    types = Counter(one.types)
    types.update(other.types)
    return replace(
        one,
        count=one.count + other.count,
        bytes=one.bytes + other.bytes,
        types=dict(types.most_common()),
        line=one.line or other.line,
    )


@dataclass(frozen=True)
class Late:
    """Objects that nothing holds any more, and that wait for the collector.

    >>> from leaksafe import leaks
    >>> print(leaks.Late("Car", 2, "Car.owner", "in cycles through Car.owner"))
    late: 2 Car in cycles through Car.owner
    """

    type: str
    count: int
    attribute: str | None
    """The attribute that closes their cycle, as `Class.attribute`."""
    advice: str

    def __str__(self) -> str:
        return f"late: {self.count:,} {self.type} {self.advice}"


class Report(str):
    """What outlives a block, as text; and as fields, for programs.

    Attributes:
        groups: survivors by path, the shortest path first.
        late: what was freed by the collector only, which is no leak.
        imported: modules that were imported, which count as no leak.

    >>> from leaksafe import leaks
    >>> group = leaks.Group("global kept", "kept[0]", 3, 72, {"object": 3}, None, "drop them")
    >>> report = leaks.Report([group], [], [])
    >>> report.groups[0].count, "global kept" in report
    (3, True)
    """

    __slots__ = ("groups", "imported", "late")

    groups: list[Group]
    late: list[Late]
    imported: list[str]

    def __new__(cls, groups: list[Group], late: list[Late], imported: list[str]) -> Self:
        lines = [str(group) for group in groups] or ["nothing outlives the block"]
        lines += [str(one) for one in late]
        if imported:
            lines.append(f"imported: {', '.join(imported)}")
        self = super().__new__(cls, "\n".join(lines))
        self.groups = groups
        self.late = late
        self.imported = imported
        return self

    def to_json(self) -> str:
        """Return the fields as JSON.

        >>> from leaksafe import leaks
        >>> with leaks.check() as found:
        ...     pass
        >>> found.report().to_json()
        '{"groups": [], "late": [], "imported": []}'

        """
        fields: dict[str, Any] = {
            "groups": [asdict(group) for group in self.groups],
            "late": [asdict(one) for one in self.late],
            "imported": self.imported,
        }
        return json.dumps(fields, ensure_ascii=False)

    def html(self, title: str = "What outlives its time") -> str:
        """Return a page for a browser: the graph of holders, and each finding with its cure.

        The page is one file without scripts, fonts or anything from elsewhere, on light and on
        dark, for wide and narrow windows. All text in it is escaped. What paths share from their
        root on is drawn once.

        Args:
            title: its heading.

        Returns:
            The page, to be written as UTF-8: O(n) in the groups, about 1 KiB each.

        >>> from leaksafe import leaks
        >>> group = leaks.Group("global <kept>", "kept[0]", 3, 72, {"object": 3}, None, "drop it")
        >>> page = leaks.Report([group], [], []).html()
        >>> page.startswith("<!DOCTYPE html>"), "global &lt;kept&gt;" in page
        (True, True)

        """
        return _page.document(title, list(_page.report(self)))

    def __rich__(self) -> Any:
        """A table, where rich prints the report."""
        from rich.table import Table  # noqa: PLC0415  # only rich itself calls this

        table = Table("held by", "objects", "bytes", "what to do", show_lines=True)
        for group in self.groups:
            made = f"\nmade at {group.line}" if group.line else ""
            table.add_row(
                group.path + made, f"{group.count:,}", show_bytes(group.bytes), group.advice
            )
        for one in self.late:
            table.add_row(f"late: {one.type}", f"{one.count:,}", "", one.advice)
        return table
