"""The targets as data, and what the figures say about them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.figures import Spread, ratios, spread
from benchmarks.plan import MILLION
from benchmarks.results import Result, Series, of_case

MIB = 1 << 20
# On two cores, the function and the storage emulator take some of the server's time; more than this is others' doing.
_NOISY = 0.2
_SEVERAL = 3

# times as fast: their seconds over ours, at least; of the time: ours over theirs, at most; the others: at most.
# time growth and memory growth: seconds a row, and memory, at the largest size over those at the smallest.
Measure = Literal["times as fast", "of the time", "MiB", "temporary bytes", "time growth", "memory growth"]


@dataclass(frozen=True)
class Target:
    """One line of the targets.

    Attributes:
        title: for a person.
        case: name of the case.
        ours: names of ways; the first that was timed counts.
        measure: what is compared with the bound.
        bound: the least of `times as fast`, the most of everything else.
        theirs: the way that it is compared with.
        since: TimescaleDB's version from which it holds.
        before: version from which it no longer holds.
    """

    title: str
    case: str
    ours: tuple[str, ...]
    measure: Measure
    bound: float
    theirs: str = ""
    since: tuple[int, int] = (0, 0)
    before: tuple[int, int] = (99, 0)

    @property
    def bound_text(self) -> str:
        """The bound for a person."""
        return {
            "times as fast": f"at least {self.bound:g} times as fast",
            "of the time": f"at most {self.bound:g} of its time",
            "MiB": f"at most {self.bound:g} MiB",
            "temporary bytes": f"{self.bound:g} bytes",
            "time growth": f"linear: a row takes at most {self.bound:g} times as long",
            "memory growth": f"flat: at most {self.bound:g} times as much",
        }[self.measure]


# Not `default`, which may choose binary.
_TEXT = ("stream", "spool")
_ANY = ("default",)

TARGETS = (
    Target("fresh day, text, against psql", "key", _TEXT, "times as fast", 2.2, "psql", since=(2, 28)),
    Target("fresh day, text, against the floor", "key", _TEXT, "of the time", 1.15, "floor", since=(2, 28)),
    Target("fresh day, binary, against psql", "key", ("binary",), "times as fast", 3, "psql", since=(2, 28)),
    Target("fresh day, binary, against the floor", "key", ("binary",), "of the time", 0.8, "floor", since=(2, 28)),
    Target(
        *("fresh day, text, against parallel-copy with 2 workers", "key", _TEXT, "times as fast", 1.4, "parallel-2"),
        since=(2, 28),
    ),
    Target("fresh day, unique index without constraint", "unique", _ANY, "times as fast", 2, "psql", since=(2, 22)),
    Target("fresh day, five indexes", "five", _ANY, "times as fast", 3, "psql", since=(2, 28)),
    Target("chunk that already holds rows", "holds", _ANY, "times as fast", 1, "psql"),
    Target("primary key before 2.28, text", "key", _TEXT, "times as fast", 1, "psql", before=(2, 28)),
    Target("primary key before 2.28, as it comes", "key", _ANY, "times as fast", 1, "psql", before=(2, 28)),
    Target("staging", "key", ("staging",), "times as fast", 1.5, "psql-staging"),
    Target("day that ends compressed", "compressed", _ANY, "times as fast", 2, "psql"),
    Target("day beside compressed rows, ends compressed", "beside", ("auto", "default"), "times as fast", 2, "psql"),
    Target("compressed day replaced, ends compressed", "compressed-replace", _ANY, "times as fast", 2, "psql"),
    Target("memory, stream, text", "key", ("stream",), "MiB", 150),
    Target("memory, stream, binary", "key", ("binary",), "MiB", 250),
    Target("temporary disk, stream, text", "key", ("stream",), "temporary bytes", 0),
    Target("temporary disk, stream, binary", "key", ("binary",), "temporary bytes", 0),
    Target("growth of time, stream, text", "key", ("stream",), "time growth", 1.2),
    Target("growth of time, stream, binary", "key", ("binary",), "time growth", 1.2),
    Target("growth of memory, stream, text", "key", ("stream",), "memory growth", 1.1),
    Target("growth of memory, stream, binary", "key", ("binary",), "memory growth", 1.1),
)


@dataclass(frozen=True)
class Judgement:
    """What the figures say about a target on one server.

    Attributes:
        target: which one.
        server: title of the server.
        sizes: rows of the days that the figure comes from; empty where there is none.
        way: which of the target's ways was timed.
        figure: what was measured, in the measure's unit.
        missing: why there is no figure.
        by_cpu: the same ratio of the server's CPU seconds, medians, where two ways are compared.
        noise: share of the COPY in which a backend wanted a core that another program had; the worse of both ways.
    """

    target: Target
    server: str
    sizes: tuple[int, ...] = ()
    way: str = ""
    figure: Spread | None = None
    missing: str = ""
    by_cpu: float | None = None
    noise: float = 0.0

    @property
    def is_met(self) -> bool:
        """Whether the median is on the right side of the bound."""
        if self.figure is None:
            return False
        if self.target.measure == "times as fast":
            return self.figure.middle >= self.target.bound
        return self.figure.middle <= self.target.bound

    @property
    def figure_text(self) -> str:
        """The median, without its unit, as every page shows it; empty where there is none."""
        if self.figure is None:
            return ""
        is_whole = self.target.measure in ("MiB", "temporary bytes")
        return f"{self.figure.middle:.{0 if is_whole else 2}f}"

    @property
    def verdict(self) -> str:
        """The judgement for a person."""
        figure, bound = self.figure, self.target.bound
        if figure is None:
            return self.missing
        doubt = "; the runs lie on both sides" if figure.straddles(bound) else ""
        if self.noise > _NOISY:
            doubt += f"; a busy machine kept the backend from a core for {self.noise:.0%} of the COPY"
        if self.is_met:
            return f"met{doubt}"
        by = f"{abs(figure.middle - bound) / bound:.0%}" if bound else f"{figure.middle:.0f}"
        return f"missed by {by}{doubt}"


def judge(results: Sequence[Result]) -> list[Judgement]:
    """Judge every target on every server that it holds for and that was measured.

    Ways are compared at the largest size at which both were timed several times; where there is none, at the largest.
    """
    return [judgement for target in TARGETS for judgement in _judge(target, results)]


def _judge(target: Target, results: Sequence[Result]) -> Iterator[Judgement]:
    for found in of_case(results, target.case).values():
        if target.since <= found[0].version_numbers < target.before:
            yield _on_server(target, found)


def _on_server(target: Target, found: Sequence[Result]) -> Judgement:
    server = found[0].title
    way = next((name for name in target.ours if any(result.timed(name) for result in found)), None)
    if way is None:
        return Judgement(target, server, missing=_why(target, found))
    ours = [(result, series) for result in found if (series := result.timed(way)) is not None]
    if target.measure in ("times as fast", "of the time"):
        pairs = [
            (result, series, theirs) for result, series in ours if (theirs := result.timed(target.theirs)) is not None
        ]
        # A single run of a huge day says less than several of a large one.
        several = [pair for pair in pairs if min(len(pair[1].runs), len(pair[2].runs)) >= _SEVERAL]
        if pairs:
            result, series, theirs = (several or pairs)[-1]
            figure, by_cpu = _compare(target, series, theirs), _compare_cpu(target, series, theirs)
            noise = max(_noise(series), _noise(theirs))
            return Judgement(target, server, (result.rows,), way, figure, by_cpu=by_cpu, noise=noise)
        return Judgement(target, server, missing=f"{target.theirs} was not measured")
    sizes = tuple(result.rows for result, _ in ours)
    if target.measure == "MiB":
        return _absolute(target, server, sizes, way, [series.most("memory_bytes") for _, series in ours], MIB)
    if target.measure == "temporary bytes":
        return _absolute(target, server, sizes, way, [series.most("disk_bytes") for _, series in ours], 1)
    return _growth(target, server, way, ours)


def _why(target: Target, found: Sequence[Result]) -> str:
    for name in target.ours:
        for result in found:
            series = result.ways.get(name)
            if series is not None and series.missing:
                return series.missing
    return "not measured"


def _compare(target: Target, ours: Series, theirs: Series) -> Spread:
    if target.measure == "times as fast":
        return ratios(theirs.seconds, ours.seconds)
    return ratios(ours.seconds, theirs.seconds)


def _compare_cpu(target: Target, ours: Series, theirs: Series) -> float | None:
    one, other = ours.usual("server_seconds"), theirs.usual("server_seconds")
    if one is None or other is None or not one.middle or not other.middle:
        return None
    return other.middle / one.middle if target.measure == "times as fast" else one.middle / other.middle


def _noise(series: Series) -> float:
    seen = series.usual("backend_ready")
    return 0.0 if seen is None else seen.middle


def _absolute(
    target: Target, server: str, sizes: tuple[int, ...], way: str, values: Sequence[float | None], unit: int
) -> Judgement:
    seen = [value / unit for value in values if value is not None]
    if not seen:
        return Judgement(target, server, missing="could not be seen")
    # The largest of all sizes is what must fit.
    return Judgement(target, server, sizes, way, Spread(max(seen), min(seen), max(seen)))


def _growth(target: Target, server: str, way: str, ours: Sequence[tuple[Result, Series]]) -> Judgement:
    # Below a million rows, what is done once weighs too much. Where nothing else was measured, it has to do.
    large = [pair for pair in ours if pair[0].rows >= MILLION]
    chosen = large if len(large) > 1 else ours
    (small_result, small), (big_result, big) = chosen[0], chosen[-1]
    if small_result.rows == big_result.rows:
        return Judgement(target, server, missing="needs two sizes")
    sizes = (small_result.rows, big_result.rows)
    if target.measure == "memory growth":
        before, after = small.most("memory_bytes"), big.most("memory_bytes")
        if before is None or after is None:
            return Judgement(target, server, missing="could not be seen")
        figure = spread([after / before])
    else:
        usual = spread(small.seconds).middle / small_result.rows
        figure = spread([seconds / big_result.rows / usual for seconds in big.seconds])
    return Judgement(target, server, sizes, way, figure)
