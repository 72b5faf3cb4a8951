"""The crates: licences are among those that `deny.toml` allows; what is shipped is there once."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def metadata() -> dict[str, Any]:
    command = ["cargo", "metadata", "--format-version", "1", "--all-features", "--locked"]
    # Everything was fetched to build it, but for what other systems need.
    ran = subprocess.run([*command, "--offline"], cwd=ROOT, capture_output=True, check=False)
    if ran.returncode:
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def shipped(found: dict[str, Any]) -> set[str]:
    """The packages that the extension is built from; not what only tests and benches use."""
    nodes = {node["id"]: node["deps"] for node in found["resolve"]["nodes"]}
    reached: set[str] = set()
    waiting = [found["resolve"]["root"]]
    while waiting:
        at = waiting.pop()
        if at not in reached:
            reached.add(at)
            waiting += [
                dependency["pkg"]
                for dependency in nodes[at]
                if any(one["kind"] != "dev" for one in dependency["dep_kinds"])
            ]
    return reached


def allowed(expression: str, licences: set[str]) -> bool:
    """Whether an SPDX expression of one level of parentheses can be met."""
    expression = expression.replace("/", " OR ")
    while inner := re.search(r"\(([^()]*)\)", expression):
        met = "met" if allowed(inner[1], licences) else "not met"
        expression = expression.replace(inner[0], met)
    known = licences | {"met"}
    return any(
        all(one.strip() in known for one in choice.split(" AND "))
        for choice in expression.split(" OR ")
    )


def test_licences_sources_and_duplicates() -> None:
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    licences = set(rules["licenses"]["allow"])
    everything = metadata()
    found = everything["packages"]
    others = [one for one in found if one["source"] is not None]
    assert len(others) > 10
    assert [one["name"] for one in found if not allowed(one["license"], licences)] == []
    (source,) = {one["source"] for one in others}
    assert source.startswith("registry+")
    names = [one["name"] for one in found if one["id"] in shipped(everything)]
    assert len(names) > 10
    assert sorted(names) == sorted(set(names))
