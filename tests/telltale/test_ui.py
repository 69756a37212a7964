"""The pages: what they say, for whom they are readable, and that hostile text stays text."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from importlib.resources import files
from urllib.parse import quote, urlencode

import pytest
from starlette.testclient import TestClient

from contracts.errors import StoreUnavailable
from contracts.trajectory import Subject
from contracts.verdict import Alert, Evidence
from telltale.api.application import create_app
from telltale.api.testing import Fleet, sample_fleet
from telltale.ui import words
from telltale.ui.charts import MOST_POINTS, evidence_curve, rate_interval
from telltale.ui.fleet import MOST_ROWS, matrix
from telltale.ui.timeline import MOST_CALLS, steps

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></textarea></style></pre><svg onload=alert(1)>",
    "javascript:alert(1)",
    "--><b>",
    "]]><b>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;&#60;",
    "\u202e\u2066\u2028\x00\x1b[31m",
    "<" * 1_500,
)


def pages(fleet: Fleet) -> dict[str, str]:
    """Every page of a fleet by its address."""
    subject = fleet.explanations[0].alert.subject
    drift, ceiling = (item.alert.alert_id for item in fleet.explanations)
    trajectory_id = fleet.details[0].trajectory.trajectory_id
    addresses = [
        "/",
        "/subject?" + urlencode(subject._asdict()),
        "/alerts",
        "/alerts/" + quote(drift, safe=""),
        "/alerts/" + quote(ceiling, safe=""),
        "/trajectories",
        "/trajectory?" + urlencode({"id": trajectory_id}),
        "/doctor",
    ]
    client = TestClient(create_app(fleet), base_url="http://localhost")
    found: dict[str, str] = {}
    for number, address in enumerate(addresses):
        response = client.get(address)
        assert response.status_code == 200, address[:100]
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        found[f"{number} {address[:20]}"] = response.text
    return found


@cache
def sample_pages(text: str = "") -> dict[str, str]:
    """Every page of the sample fleet with `text` in every field."""
    return pages(sample_fleet(text))


class Outline(HTMLParser):
    """Elements with the names of their attributes, in order, and what accessibility needs."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.headings: list[int] = []
        self.text: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.attributes.append({"": tag, **dict(attrs)})
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for attributes in self.attributes if attributes[""] == tag]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_changes_no_element_of_any_page(text: str) -> None:
    plain = [Outline(page).elements for page in sample_pages().values()]
    hostile = sample_pages(text)
    for before, (address, page) in zip(plain, hostile.items(), strict=True):
        assert Outline(page).elements == before, address
        assert not re.search(r"[\u202a-\u202e\u2066-\u2069\u2028\x00\x1b]", page), address


@pytest.mark.parametrize("text", HOSTILE)
def test_links_of_hostile_text_stay_on_this_site(text: str) -> None:
    for address, page in sample_pages(text).items():
        for element in Outline(page).attributes:
            for name in ("href", "action", "src"):
                link = element.get(name)
                assert link is None or re.match(r"/(?!/)|#", link), (address, link)


def test_links_lead_where_they_say() -> None:
    text = " /?#&+'\"ü\u202e"
    fleet = sample_fleet(text)
    client = TestClient(create_app(fleet), base_url="http://localhost")
    seen = set[str]()
    for page in pages(fleet).values():
        for link in Outline(page).of("a"):
            href = link["href"] or ""
            if href.startswith("/") and href not in seen:
                seen.add(href)
                assert client.get(href.partition("#")[0]).status_code == 200, href
    assert len(seen) > 10


def test_pages_have_no_script_and_no_inline_style() -> None:
    for address, page in sample_pages().items():
        for tag, names in Outline(page).elements:
            assert tag not in ("script", "style", "iframe", "object", "embed", "base"), address
            assert not [name for name in names if name == "style" or name.startswith("on")]


def test_pages_can_be_read_without_seeing_them() -> None:
    for address, page in sample_pages().items():
        outline = Outline(page)
        assert outline.of("html")[0]["lang"] == "en"
        assert outline.headings[0] == 1
        assert outline.headings.count(1) == 1, address
        for before, after in zip(outline.headings, outline.headings[1:], strict=False):
            assert after - before <= 1, address
        for cell in outline.of("th"):
            assert cell.get("scope") in ("col", "row"), address
        for drawing in outline.of("svg"):
            assert drawing["role"] == "img"
            assert drawing["aria-labelledby"]
        ids = [a["id"] for a in outline.attributes if "id" in a]
        assert len(ids) == len(set(ids)), address
        for region in outline.attributes:
            if region.get("aria-labelledby"):
                assert region["aria-labelledby"] in ids
        labelled = len(outline.of("label"))
        assert labelled == len(outline.of("input")), address


def _colours(css: str) -> list[dict[str, str]]:
    """The variables of the dark and the light theme."""
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in blocks]


def _luminance(colour: str) -> float:
    def part(at: int) -> float:
        value = int(colour[at : at + 2], 16) / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    return 0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)


def test_contrast_by_day_and_by_night() -> None:
    """WCAG 2.2, 1.4.3: at least 4.5 for text."""
    dark, light = _colours(files("telltale.ui").joinpath("style.css").read_text())
    for theme in (dark, light):
        pairs = [("text", "ground"), ("text", "raised"), ("quiet", "ground"), ("link", "ground")]
        pairs += [(name, f"{name}-ground") for name in ("alarm", "blind", "few", "clear", "medium")]
        pairs += [("medium", "ground"), ("quiet", "raised"), ("link", "raised")]
        for front, back in pairs:
            high, low = sorted((_luminance(theme[front]), _luminance(theme[back])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (front, back)


def test_the_fleet_says_what_is_wrong_first() -> None:
    text = "".join(Outline(sample_pages()["0 /"]).text)
    assert "1 in alarm" in text
    assert "9 blind" in text
    assert text.index("production/billing-agent") < text.index("staging/release-agent")
    for word in ("ALARM", "blind", "few", "clear", "destructive data action"):
        assert word in text


def test_the_fleet_says_what_stands_out_among_all() -> None:
    text = " ".join("".join(Outline(sample_pages()["0 /"]).text).split())
    assert "Stands out" in text
    assert "verdicts with opportunities" in text
    assert "6.42" in text


def test_a_subject_shows_first_actions_thresholds_attribution_and_drift() -> None:
    pages = sample_pages()
    page = next(p for p in pages.values() if "Its trajectories" in p and "billing-agent" in p)
    text = " ".join("".join(Outline(page).text).split())
    for part in (
        "15 of 40",
        "past the calibrated threshold since trajectory 52",
        "emergent",
        "Shape of behaviour",
        "since trajectory 44",
        "452",
    ):
        assert part in text, part


def test_the_alert_explains_itself() -> None:
    (page,) = (p for address, p in sample_pages().items() if address.startswith("3"))
    text = " ".join("".join(Outline(page).text).split())
    for part in (
        "61 of 118 opportunities",
        "between 36 % and 74 %",
        "trajectory 41, 2026-01-01 12:00:00 UTC",
        "alarm at 57",
        "15 of 40, between",
        "past since trajectory 52",
        "calibrated 3.4",
        "since trajectory 44",
        "rm -rf /srv/invoices/2019",
        "new target path /srv/invoices/2019",
        "contributing calls act on targets that the reference never had in that role",
        "What changed before the onset",
        "teacher-70b",
        "emergent",
        "telltale explain a1b2c3d4e5f60718",
    ):
        assert part in text, part


def test_the_timeline_shows_calls_with_their_labels() -> None:
    (page,) = (p for address, p in sample_pages().items() if "trajectory?" in address)
    text = " ".join("".join(Outline(page).text).split())
    assert "recursive_delete, succeeded, on /srv/invoices" in text
    assert "permission denied" in text
    assert "Opportunity not taken: UA01" in text
    assert "for planner" in text


def test_an_empty_daemon_has_pages_too() -> None:
    client = TestClient(create_app(Fleet()), base_url="http://localhost")
    for address in ("/", "/alerts", "/trajectories", "/doctor"):
        assert client.get(address).status_code == 200
    assert "No subject has been seen yet" in client.get("/").text


def test_what_is_missing_or_broken_has_a_page() -> None:
    class Broken(Fleet):
        def alerts(self, limit: int, offset: int) -> Sequence[Alert]:
            raise StoreUnavailable("the store is being reopened <now>")

    client = TestClient(create_app(Broken()), base_url="http://localhost")
    for address in ("/alerts/x", "/trajectory?id=x", "/trajectory", "/subject?agent=x"):
        response = client.get(address)
        assert response.status_code == 404
        assert "There is no such" in response.text
    broken = client.get("/alerts")
    assert broken.status_code == 503
    assert "reopened &lt;now&gt;" in broken.text
    assert client.get("/alerts?offset=-1").status_code == 400


def test_lists_are_paged() -> None:
    fleet = sample_fleet()
    fleet.explanations = fleet.explanations * 40
    client = TestClient(create_app(fleet), base_url="http://localhost")
    first, second = client.get("/alerts").text, client.get("/alerts?offset=50").text
    assert "/alerts?offset=50" in first
    assert "Newer" in second
    assert "Older" not in second


def test_large_fleets_and_trajectories_are_bounded() -> None:
    fleet = sample_fleet()
    subjects = [Subject("p", f"agent{n}", "1", "m") for n in range(MOST_ROWS + 50)]
    made = matrix([replace(fleet.now[0], subject=s, state="clear") for s in subjects], fleet.seen)
    assert len(made.rows) == MOST_ROWS
    assert made.hidden == 53
    detail = fleet.details[0]
    calls = tuple(replace(detail.trajectory.calls[0], step=n) for n in range(MOST_CALLS + 10))
    long = replace(detail, trajectory=replace(detail.trajectory, calls=calls))
    assert len(steps(long)) == MOST_CALLS
    assert [step.call.step for step in steps(long, MOST_CALLS + 8)] == [508, 509]
    fleet.details = [long]
    client = TestClient(create_app(fleet), base_url="http://localhost")
    assert f"From step {MOST_CALLS} on" in client.get("/trajectory?id=t57").text


def test_the_curve_holds_for_any_evidence() -> None:
    fleet = sample_fleet()
    told = fleet.explanations[0]
    one = told.curve[0]
    assert evidence_curve([], None, None) is None
    assert evidence_curve([one], None, None) is None
    assert evidence_curve([one, one], None, None) is None
    odd = [replace(one, n=n, evidence_log10=v) for n, v in ((1, float("nan")), (2, 1.0))]
    assert evidence_curve(odd, None, None) is None
    flat = evidence_curve([replace(one, n=n, evidence_log10=0.0) for n in (1, 2)], None, None)
    assert flat is not None
    many = [Evidence(one.subject, "UA01", "r", "t", n, 1, 0, 0.1, n / 1e4) for n in range(1, 9_999)]
    curve = evidence_curve(many, told.verdict, float("inf"))
    assert curve is not None
    assert len(curve.line.split()) <= MOST_POINTS
    assert curve.threshold is None
    wild = [replace(one, n=n, evidence_log10=10.0**n) for n in range(1, 6)]
    assert evidence_curve(wild, told.verdict, 3.0) is not None


@pytest.mark.parametrize(
    ("taken", "opportunities", "lower", "upper", "expected"),
    [(0, 0, 0, 1, 0), (0, 9, 0.0, 0.3, 0.0), (9, 9, 0.7, 1.0, 9.0), (1, 10_000, 1e-6, 4e-4, 1.0)],
)
def test_the_interval_stays_in_its_drawing(
    taken: int, opportunities: int, lower: float, upper: float, expected: float
) -> None:
    verdict = replace(
        sample_fleet().now[0],
        taken=taken,
        opportunities=opportunities,
        rate_lower=lower,
        rate_upper=upper,
        expected=expected,
    )
    drawn = rate_interval(verdict)
    if opportunities == 0:
        assert drawn is None
        return
    assert drawn is not None
    for place in (drawn.lower, drawn.upper, drawn.rate, drawn.expected):
        assert 0 <= place <= 720
    assert rate_interval(replace(verdict, rate_upper=float("nan"))) is None


def test_words() -> None:
    assert words.visible("a\u202eb\n\x00") == "a[U+202E]b\n[U+0000]"
    assert words.visible("x" * 5_000, 10) == "x" * 10 + " … and 4,990 more characters"
    assert words.document({"a": float("nan"), "b": "ü"}) == '{\n  "a": null,\n  "b": "ü"\n}'
    assert words.moment(0) == words.moment(None) == "unknown"
    assert words.moment(1_767_225_600_000_000_000) == "2026-01-01 00:00:00 UTC"
    assert [words.duration(n) for n in (0, 10**9, 120 * 10**9, 7200 * 10**9, 2 * 864 * 10**11)] == [
        "0 ms",
        "1.0 s",
        "2 min",
        "2 h",
        "2 d",
    ]
    assert words.duration(-1) == words.duration(-(10**12)) == "clocks disagree"
    assert [words.factor(n) for n in (0.0, 1.1, 434.3, None)] == [
        "1",
        "12.6",
        "over 10^6",
        "unknown",
    ]
    assert words.number(1234.5) == "1,234.5"
    assert words.number(1000.0, 0) == "1,000"
    assert words.number(None) == words.percent(float("nan")) == "unknown"
    assert (words.percent(0), words.percent(0.31), words.percent(0.004)) == ("0 %", "31 %", "0.4 %")
    assert words.address("/x", {"a": "", "b": 0, "c": "ü &"}) == "/x?c=%C3%BC+%26"
