"""A million deliveries: pages beside those of ten thousand, receiving, and pruning."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any, Final

from .databases import created
from .measured import Index, Page
from .pruning import prune_while_receiving
from .rounds import bench, ours, per_second, rates
from .servers import durable_postgresql
from .site import answer_of
from .table import Figure, Listing, Report, figure

FEW: Final = 10_000
# To ask for each page without each index takes too long with more.
_OF_INDEXES: Final = 100_000
_PAGE_LIMIT: Final = 3.0
# A page that is as quick as this misses no limit: its ratio says more of the clock than of it.
_UNNOTICED_SECONDS: Final = 0.005
_SHOWN_SQL: Final = 400
_CONCURRENCY: Final = 8


def run(*, full: bool) -> Report:
    """Fill the tables, and measure all of it on one server."""
    number = 1_000_000 if full else 100_000
    with durable_postgresql() as server:
        few, many, indexed, empty = (
            created(server, name) for name in ("few", "many", "indexed", "none")
        )
        begin = time.monotonic()
        for url, rows in ((few, FEW), (many, number), (indexed, _OF_INDEXES)):
            answer_of(url, "benchmarks.filling:fill", number=rows)
        print(f"Filled in {time.monotonic() - begin:.0f} s.", flush=True)
        measured = answer_of(few, "benchmarks.pages:measure", few="few", many="many")
        indexes = answer_of(indexed, "benchmarks.indexes:measure")
        pages = [Page(**each) for each in measured]
        groups = _grouped(pages)
        figures = [
            *_slowest_of(groups),
            *_mistakes(pages),
            _receiving(empty, many, number),
            *prune_while_receiving(many, number),
        ]
    return Report(
        figures=figures,
        listings=[_listed(pages, number), _uses([Index(**each) for each in indexes])],
        texts=dict(_plans(groups)),
    )


def _grouped(pages: list[Page]) -> dict[str, list[Page]]:
    """Return the pages by their kind, in the order of the alphabet."""
    groups = defaultdict(list)
    for page in pages:
        groups[page.group].append(page)
    return dict(sorted(groups.items()))


def _slowest_of(groups: Mapping[str, list[Page]]) -> Iterator[Figure]:
    for name, pages in groups.items():
        slowest = _slowest(pages)
        yield figure(
            f"{name}, slowest of {len(pages)}",
            slowest.many,
            slowest.few,
            at_most=_PAGE_LIMIT if _is_noticed(slowest) else None,
            note=f"{slowest.name}: {_milliseconds(slowest.many)} and {_milliseconds(slowest.few)}",
        )


def _mistakes(pages: list[Page]) -> Iterator[Figure]:
    scanned = [page.name for page in pages if page.scanned]
    counted = [page.name for page in pages if page.counts_everything]
    failed = [f"{page.name} {page.failed}" for page in pages if page.failed]
    for what, found in (
        ("pages that read a large table from its first row to its last", scanned),
        ("pages that count a large table exactly", counted),
        ("pages that failed", failed),
    ):
        yield figure(what, [len(found)], [1], at_most=0, note=", ".join(found))


def _slowest(pages: list[Page]) -> Page:
    """Return the page whose ratio is the highest, of those that take long enough to tell."""
    noticed = [page for page in pages if _is_noticed(page)]
    return max(noticed or pages, key=lambda page: page.ratio)


def _is_noticed(page: Page) -> bool:
    return median(page.many) > _UNNOTICED_SECONDS


def _listed(pages: list[Page], number: int) -> Listing:
    return Listing(
        title=f"Each page: {number:,} deliveries beside {FEW:,}",
        headings=("what", f"{number:,}", f"{FEW:,}", "ratio", "statements"),
        rows=[
            (
                page.name,
                _milliseconds(page.many),
                _milliseconds(page.few),
                f"{page.ratio:.2f}",
                str(page.statements),
            )
            for page in pages
        ],
    )


def _uses(indexes: list[Index]) -> Listing:
    """Tell of each index the page that suffers most where it is hidden."""
    return Listing(
        title=f"Each index, with {_OF_INDEXES:,} deliveries: its size by delivery, and what is "
        "slower without it",
        headings=("index", "bytes", "pages slower", "the slowest", "with", "without"),
        rows=[_use(index) for index in indexes],
    )


def _use(index: Index) -> tuple[str, ...]:
    size = f"{index.size_bytes / _OF_INDEXES:.1f}"
    if index.is_unique:
        return index.name, size, "", "holds a rule", "", ""
    if not index.slower:
        return index.name, size, "0", "", "", ""
    name, (before, after) = max(index.slower.items(), key=lambda one: one[1][1] / one[1][0])
    slower = str(len(index.slower))
    return index.name, size, slower, name, _milliseconds([before]), _milliseconds([after])


def _plans(groups: Mapping[str, list[Page]]) -> Iterator[tuple[str, str]]:
    for name, pages in groups.items():
        slowest = _slowest(pages)
        if slowest.plan:
            title = f"{name}: the slowest statement of “{slowest.name}”"
            yield title, f"{slowest.slowest[:_SHOWN_SQL]} …\n\n{slowest.plan}"


def _receiving(empty: str, many: str, number: int) -> Figure:
    with bench(empty, many) as measured:
        into_many = ours(f"into {number:,}", database_url=many, kept=number)
        into_none = ours("into none", database_url=empty)
        loads: Any = measured.measure([into_many, into_none], concurrency=_CONCURRENCY)
    return figure(
        f"receive into a table of {number:,} ÷ into an empty one",
        rates(loads[into_many.name]),
        rates(loads[into_none.name]),
        at_least=0.95,
        note=f"{per_second(loads[into_many.name])} and {per_second(loads[into_none.name])}",
    )


def _milliseconds(seconds: list[float]) -> str:
    return f"{median(seconds) * 1e3:.1f} ms"
