"""How findings are printed."""

from __future__ import annotations

import json
from collections.abc import Sequence

from leaksafe._scan.finding import Finding


def text(findings: Sequence[Finding], files: int) -> str:
    """Return lines for a reader: where, what, why, cure, and a count at the end."""
    lines: list[str] = []
    for one in findings:
        lines.append(f"{one.path}:{one.line}:{one.column}: {one.rule.code} {one.what}")
        lines.append(f"    why:  {one.why}")
        if one.cure:
            lines.append(f"    cure: {one.cure}")
    count = "nothing found" if not findings else _count(len(findings), "finding")
    lines.append(f"{count} in {_count(files, 'file')}")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding], files: int) -> str:
    """Return a list of objects, for programs."""
    rows = [
        {
            "code": one.rule.code,
            "rule": one.rule.name,
            "path": one.path,
            "line": one.line,
            "column": one.column,
            "what": one.what,
            "why": one.why,
            "cure": one.cure,
        }
        for one in findings
    ]
    return json.dumps(rows, indent=2)


def github(findings: Sequence[Finding], files: int) -> str:
    """Return workflow commands, which GitHub shows beside the lines of a pull request."""
    return "\n".join(
        f"::error file={_property(one.path)},line={one.line},col={one.column},"
        f"title={_property(f'leaksafe {one.rule.code}')}::"
        + _data(f"{one.what}: {one.why}." + (f" Cure: {one.cure}" if one.cure else ""))
        for one in findings
    )


FORMATS = {"text": text, "json": as_json, "github": github}


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
