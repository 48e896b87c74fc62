"""The targets as data, and what the figures say about them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from benchmarks.plan import MILLION
from benchmarks.results import Result, Series, Spread, of_case, ratios, spread

MIB = 1 << 20
# On two cores, the function and the storage emulator take some of the server's time; more is due to other programs.
_NOISY = 0.2
_SEVERAL = 3
_UNSEEN = "could not be seen"


@dataclass(frozen=True)
class Measure:
    """What is compared with a bound.

    Attributes:
        bound: the bound for a person, `{}` is the number.
        unit: of the figure.
        kind: `ratio`: of two ways' seconds, round by round; `most`: of all runs at all sizes; `last`: at the largest
            size; `growth`: the value at the largest size over that at the smallest.
        field: of `Observed`; empty for the seconds, in a growth the seconds a row.
        scale: one unit in the field's unit.
    """

    bound: str
    unit: str
    kind: Literal["ratio", "most", "last", "growth"]
    field: str = ""
    scale: int = 1


# Their seconds over ours; ours over theirs.
FASTER = Measure("at least {:g} times as fast", " times as fast", "ratio")
OF_TIME = Measure("at most {:g} of its time", " of its time", "ratio")
MEMORY = Measure("at most {:g} MiB", " MiB", "most", "memory_bytes", MIB)
DISK = Measure("{:g} bytes", " bytes", "most", "disk_bytes")
IDLE = Measure("at most {:g} of the COPY", " of the COPY", "last", "backend_idle")
CORES = Measure("at most {:g} cores", " cores", "last", "process_busy")
TIME_GROWTH = Measure("linear: a row takes at most {:g} times as long", " times as long", "growth")
MEMORY_GROWTH = Measure("flat: at most {:g} times as much", " times as much", "growth", "memory_bytes")


@dataclass(frozen=True)
class Target:
    """One line of the targets, for TimescaleDB's versions from `since` on and before `before`.

    Attributes:
        title: for a person.
        case: name of the case.
        ours: names of ways; the first that was timed counts.
        measure: what is compared with the bound.
        bound: the least of `FASTER`, the most of everything else.
        theirs: the way that it is compared with, in a ratio.
    """

    title: str
    case: str
    ours: tuple[str, ...]
    measure: Measure
    bound: float
    theirs: str = ""
    since: tuple[int, int] = (0, 0)
    before: tuple[int, int] = (99, 0)


# Not `default`, which may choose binary.
_TEXT = ("stream", "spool")
_ANY, _STREAM, _BINARY = ("default",), ("stream",), ("binary",)
# From here on a chunk's primary key can be dropped and rebuilt.
_NEW = (2, 28)

TARGETS = (
    Target("fresh day, text, against psql", "key", _TEXT, FASTER, 2.2, "psql", _NEW),
    Target("fresh day, text, against the floor", "key", _TEXT, OF_TIME, 1.15, "floor", _NEW),
    Target("fresh day, binary, against psql", "key", _BINARY, FASTER, 3, "psql", _NEW),
    Target("fresh day, binary, against the floor", "key", _BINARY, OF_TIME, 0.8, "floor", _NEW),
    Target("fresh day, text, against parallel-copy with 2 workers", "key", _TEXT, FASTER, 1.4, "parallel-2", _NEW),
    Target("fresh day, unique index without constraint", "unique", _ANY, FASTER, 2, "psql", (2, 22)),
    Target("fresh day, five indexes", "five", _ANY, FASTER, 3, "psql", _NEW),
    Target("chunk that already holds rows", "holds", _ANY, FASTER, 1, "psql"),
    Target("primary key before 2.28, text", "key", _TEXT, FASTER, 1, "psql", before=_NEW),
    Target("primary key before 2.28, as it comes", "key", _ANY, FASTER, 1, "psql", before=_NEW),
    Target("staging", "key", ("staging",), FASTER, 1.5, "psql-staging"),
    Target("day that ends compressed", "compressed", _ANY, FASTER, 2, "psql"),
    Target("day beside compressed rows, ends compressed", "beside", ("auto", "default"), FASTER, 2, "psql"),
    Target("compressed day replaced, ends compressed", "compressed-replace", _ANY, FASTER, 2, "psql"),
    Target("memory, stream, text", "key", _STREAM, MEMORY, 150),
    Target("memory, stream, binary", "key", _BINARY, MEMORY, 250),
    Target("temporary disk, stream, text", "key", _STREAM, DISK, 0),
    Target("temporary disk, stream, binary", "key", _BINARY, DISK, 0),
    # The server's backend is to be the only thing that is busy throughout the COPY: then only a faster server makes a
    # restore faster. The rest is its start, its end, and waits for the disk.
    Target("idle backend, stream, text", "key", _STREAM, IDLE, 0.05),
    Target("idle backend, stream, binary", "key", _BINARY, IDLE, 0.05),
    Target("function during the COPY, stream, text", "key", _STREAM, CORES, 0.95),
    Target("function during the COPY, stream, binary", "key", _BINARY, CORES, 0.95),
    Target("growth of time, stream, text", "key", _STREAM, TIME_GROWTH, 1.2),
    Target("growth of time, stream, binary", "key", _BINARY, TIME_GROWTH, 1.2),
    Target("growth of memory, stream, text", "key", _STREAM, MEMORY_GROWTH, 1.1),
    Target("growth of memory, stream, binary", "key", _BINARY, MEMORY_GROWTH, 1.1),
)


@dataclass(frozen=True)
class Judgement:
    """What the figures of a way at some sizes say about a target on one server; or why there are none.

    Attributes:
        by_cpu: in a ratio, the same ratio of the server's CPU seconds, medians.
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
        if self.target.measure is FASTER:
            return self.figure.middle >= self.target.bound
        return self.figure.middle <= self.target.bound

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

    Ways are compared at the largest size at which both were timed several times, or else at the largest.
    """
    return [judgement for target in TARGETS for judgement in _judge(target, results)]


def _judge(target: Target, results: Sequence[Result]) -> Iterator[Judgement]:
    for found in of_case(results, target.case):
        if target.since <= found[0].version_numbers < target.before:
            way = next((name for name in target.ours if any(result.timed(name) for result in found)), None)
            if way is None:
                yield Judgement(target, found[0].title, missing=_why(target, found))
            else:
                ours = [(result, series) for result in found if (series := result.timed(way)) is not None]
                yield _KINDS[target.measure.kind](target, way, ours)


def _why(target: Target, found: Sequence[Result]) -> str:
    series = (result.ways.get(name) for name in target.ours for result in found)
    return next((one.missing for one in series if one is not None and one.missing), "not measured")


_Ours = Sequence[tuple[Result, Series]]


def _ratio(target: Target, way: str, ours: _Ours) -> Judgement:
    said = partial(Judgement, target, ours[0][0].title)
    pairs = [(result, one, other) for result, one in ours if (other := result.timed(target.theirs)) is not None]
    if not pairs:
        return said(missing=f"{target.theirs} was not measured")
    # A single run of a huge day says less than several of a large one.
    several = [pair for pair in pairs if min(len(pair[1].runs), len(pair[2].runs)) >= _SEVERAL]
    result, one, other = (several or pairs)[-1]
    noise = max(series.usual("backend_ready") or 0.0 for series in (one, other))
    above, below = (other, one) if target.measure is FASTER else (one, other)
    cpu, cpu_below = above.usual("server_seconds"), below.usual("server_seconds")
    by_cpu = cpu / cpu_below if cpu and cpu_below else None
    return said((result.rows,), way, ratios(above.seconds, below.seconds), by_cpu=by_cpu, noise=noise)


def _most(target: Target, way: str, ours: _Ours) -> Judgement:
    values = (series.most(target.measure.field) for _, series in ours)
    seen = [value / target.measure.scale for value in values if value is not None]
    said = partial(Judgement, target, ours[0][0].title)
    if not seen:
        return said(missing=_UNSEEN)
    return said(tuple(result.rows for result, _ in ours), way, Spread(max(seen), min(seen), max(seen)))


def _last(target: Target, way: str, ours: _Ours) -> Judgement:
    result, series = ours[-1]
    seen = series.seen(target.measure.field)
    if not seen:
        return Judgement(target, result.title, missing=_UNSEEN)
    return Judgement(target, result.title, (result.rows,), way, spread(seen))


def _growth(target: Target, way: str, ours: _Ours) -> Judgement:
    said = partial(Judgement, target, ours[0][0].title)
    # Below a million rows, what is done once weighs too much. Where nothing else was measured, it has to do.
    large = [pair for pair in ours if pair[0].rows >= MILLION]
    small, big = (large if len(large) > 1 else ours)[0], ours[-1]
    if small[0].rows == big[0].rows:
        return said(missing="needs two sizes")
    before, after = (_values(target.measure, *pair) for pair in (small, big))
    if not before or not after:
        return said(missing=_UNSEEN)
    middle = spread(before).middle
    return said((small[0].rows, big[0].rows), way, spread([value / middle for value in after]))


def _values(measure: Measure, result: Result, series: Series) -> list[float]:
    if not measure.field:
        return [seconds / result.rows for seconds in series.seconds]
    most = series.most(measure.field)
    return [] if most is None else [most]


_KINDS = {"ratio": _ratio, "most": _most, "last": _last, "growth": _growth}
