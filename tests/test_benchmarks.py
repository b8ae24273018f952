"""What the benchmarks are built of: figures that can miss, pages, and requests that count."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from benchmarks.load import SECRET, forged, new, write_requests
from benchmarks.page import plotted, write_page
from benchmarks.table import Listing, Report, as_markdown, as_text, figure, listing_of
from perfsee_webhooks.models import Delivery


def test_figure__is_the_median_of_the_ratios_of_each_round():
    found = figure("a ÷ b", [10, 30, 80], [10, 10, 20], at_least=2)
    assert (found.ratio, found.low, found.high) == (3, 1, 4)


@pytest.mark.parametrize(
    ("limit", "holds"),
    [({"at_least": 2}, True), ({"at_least": 3}, False), ({"at_most": 2}, True), ({}, True)]
    + [({"at_most": 1.9}, False)],
)
def test_figure__holds_its_limit_or_not(limit, holds):
    assert figure("a ÷ b", [2], [1], **limit).holds is holds


def test_figure__is_none_of_no_round_or_of_one_that_lacks_its_peer():
    none: list[float] = []
    for a, b in ((none, none), ([1.0], none)):
        with pytest.raises(ValueError, match=r"round|zip"):
            figure("a ÷ b", a, b)


def test_table__has_numbers_to_the_right():
    listing = Listing(title="", headings=("what", "size"), rows=[("a", "1.0"), ("bc", "10 ms")])
    assert as_text(listing) == "what   size\na       1.0\nbc    10 ms\n"
    assert as_markdown(listing).splitlines()[1] == "|---|--:|"


def test_write_page__replaces_what_stands_between_its_marks(tmp_path):
    (tmp_path / "images").mkdir()
    page = tmp_path / "speed.md"
    page.write_text("before\n<!-- one -->\nof another run\n<!-- /one -->\nafter\n")
    report = Report(figures=[figure("a | b", [2], [1], at_most=3)], texts={"A plan": "Seq Scan"})
    for _time in range(2):
        write_page(page, "one", "Part one", report, "--full")
    text = page.read_text()
    assert text.startswith("before\n<!-- one -->\n| what |")
    assert text.endswith("<!-- /one -->\nafter\n")
    assert "another run" not in text
    assert text.count(r"a \| b") == text.count("Seq Scan") == 1
    assert 'make bench ARGS="--full"' in text
    with pytest.raises(ValueError, match="no marks"):
        write_page(page, "two", "Part two", report, "")


def test_plotted__is_well_formed_and_has_each_figure():
    figures = [figure("a < b", [2, 3], [1, 1], at_most=3), figure("c", [0.5], [1])]
    drawn = ET.fromstring(plotted("Part one", figures))  # noqa: S314  # our own
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a < b", "c"} < set(texts)
    assert len(listing_of(figures).rows) == 2


@pytest.mark.django_db
def test_requests__are_taken_as_perfsee_s_own(client, webhook_setting):
    webhook_setting(SECRETS=[SECRET])
    made = list(new(3))
    for body, headers in made:
        assert 1_000 <= len(body) <= 3_000
        answer = client.post("/perfsee/webhook/", body, "application/json", headers=headers)
        assert answer.status_code == 204
    assert Delivery.objects.count() == len(made)
    ((body, headers),) = forged(1)
    answer = client.post("/perfsee/webhook/", body, "application/json", headers=headers)
    assert answer.status_code == 400


def test_write_requests__says_how_long_each_is(tmp_path):
    path = tmp_path / "requests"
    write_requests(path, "/perfsee/webhook/", new(2))
    written, lengths = path.read_bytes(), []
    while written:
        lengths.append(int(written[:10]))
        request, written = written[10 : 10 + lengths[-1]], written[10 + lengths[-1] :]
        head, _, body = request.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /perfsee/webhook/ HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
    assert len(lengths) == 2
