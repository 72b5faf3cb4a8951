"""Reports as HTML pages: well-formed, whole in one file, and any text in them is only text."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaksafe import leaks

pytestmark = pytest.mark.thread_unsafe(reason="looks at every object of the process")

KEPT: list[object] = []

texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "' onload='x",
            "</style>",
            "</svg><a href=https://example.org>",
            "]]>",
            "&lt;",
            "\x00\ud800\u202e",
        ]
    ),
)
groups = st.builds(
    leaks.Group,
    path=st.lists(texts, min_size=1, max_size=5).map(" ← ".join),
    example=texts,
    count=st.integers(0, 10**9),
    bytes=st.integers(0, 10**12),
    types=st.dictionaries(texts, st.integers(1, 9), max_size=3),
    line=st.none() | texts,
    advice=texts,
    growth=st.none() | st.floats(0, 1e9),
)
lates = st.builds(leaks.Late, type=texts, count=st.integers(0, 99), attribute=texts, advice=texts)
reports = st.builds(
    leaks.Report,
    st.lists(groups, max_size=6),
    st.lists(lates, max_size=2),
    st.lists(texts, max_size=2),
)


class Seen(HTMLParser):
    """Notes each element with its attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(text: str) -> str:
    """What a reader sees of a text: signs that can't be printed are written out."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def assert_only_text(page: str) -> Seen:
    """Check that a page loads and runs nothing, and has no element of anyone else's."""
    page.encode()
    ET.fromstring(page)
    seen = Seen(page)
    assert seen.elements <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "div", "code"),
        *("svg", "g", "rect", "path", "text", "polyline", "ul", "li"),
    }
    assert not seen.attributes & {"src", "href", "xlink:href", "style", "onload", "onerror"}
    style = page[page.index("<style>") : page.index("</style>")]
    assert not re.search(r"url\(|@import|https?:", style)
    return seen


@settings(max_examples=40)
@given(reports, texts)
def test_any_text_in_a_report_is_only_text(report: leaks.Report, title: str) -> None:
    seen = assert_only_text(report.html(title))
    for text in (
        title,
        *report.imported,
        *(one.path for one in report.groups),
        *(one.advice for one in report.groups),
        *(one.advice for one in report.late),
    ):
        assert shown(text) in seen.text


@settings(max_examples=40)
@given(reports)
def test_a_report_as_json_has_all_its_fields(report: leaks.Report) -> None:
    fields = json.loads(report.to_json())
    again = leaks.Report(
        [leaks.Group(**one) for one in fields["groups"]],
        [leaks.Late(**one) for one in fields["late"]],
        fields["imported"],
    )
    assert (again.groups, again.late) == (report.groups, report.late)
    assert again == report


sizes = st.integers(0, 10**9)
growing = st.builds(
    leaks.GrowthReport,
    st.dictionaries(texts, st.integers(1, 10**9), max_size=3),
    st.lists(st.builds(leaks.GrowingContainer, texts, texts, sizes, sizes, texts), max_size=3).map(
        tuple
    ),
)


@settings(max_examples=40)
@given(growing, texts)
def test_what_a_watch_saw_is_only_text_and_comes_back_from_json(
    report: leaks.GrowthReport, title: str
) -> None:
    seen = assert_only_text(report.html(title))
    for text in (
        title,
        *report.types,
        *(one.path for one in report.containers),
        *(one.advice for one in report.containers),
    ):
        assert shown(text) in seen.text
    fields = json.loads(report.to_json())
    containers = tuple(leaks.GrowingContainer(**one) for one in fields["containers"])
    assert leaks.GrowthReport(fields["types"], containers) == report


def group(path: str) -> leaks.Group:
    return leaks.Group(path, path, 1, 16, {"object": 1}, None, "drop it")


def boxes(report: leaks.Report) -> list[str]:
    return [
        "".join(one.itertext())
        for one in ET.fromstring(report.html()).iter("g")
        if one.get("class") != "kept"
    ]


def test_holders_that_paths_share_are_drawn_once_from_the_root_down() -> None:
    report = leaks.Report(
        [group("A.b ← global X"), group("A.c ← global X"), group("A.b ← global Y")], [], []
    )
    assert boxes(report) == ["global X", "A.b", "A.c", "global Y", "A.b"]


def test_a_chain_of_any_length_is_drawn() -> None:
    names = [f"link{number}" for number in range(5_000)]
    assert boxes(leaks.Report([group(" ← ".join(names))], [], [])) == names[::-1]


def test_a_class_with_the_name_of_a_script_is_found_and_does_nothing() -> None:
    kind = type("<script>alert(1)</script>", (), {})
    with leaks.check() as found:
        KEPT.append(kind())
    KEPT.clear()
    assert "<script>alert(1)</script>" in assert_only_text(found.report().html()).text


def test_a_verdict_as_a_page_shows_what_each_round_left() -> None:
    try:
        verdict = leaks.repeat(lambda: KEPT.append([]))
    finally:
        KEPT.clear()
    growth = verdict.growth[0]
    assert growth.what == "list"
    assert len(growth.rounds) > 3
    assert list(growth.rounds) == sorted(set(growth.rounds))
    page = verdict.html()
    seen = assert_only_text(page)
    assert "KEPT" in seen.text
    assert f"{growth.rounds[-1]:,}" in seen.text
    (line,) = list(ET.fromstring(page).iter("polyline"))[:1]
    heights = [-float(point.split(",")[1]) for point in line.attrib["points"].split()]
    assert len(heights) == len(growth.rounds)
    assert heights == sorted(heights)

    fields = json.loads(verdict.to_json())
    assert fields["leaks"] is True
    assert fields["growth"][0]["rounds"] == list(growth.rounds)
    assert fields["report"]["groups"][0]["count"] == verdict.report.groups[0].count


def test_a_page_of_nothing_says_so() -> None:
    with leaks.check() as found:
        pass
    assert "Nothing outlives the block" in assert_only_text(found.report().html()).text
    verdict = leaks.repeat(lambda: None)
    assert "no growth in" in assert_only_text(verdict.html()).text
