"""The targets as data, and what the figures say about them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.cases import CASES
from benchmarks.plan import MILLION
from benchmarks.probe import Fact
from benchmarks.results import Line, Result, Spread, of_case, spread
from shared.process import MIB

# On two cores, the function and the storage emulator take some of the server's time; more is due to other programs.
_NOISY = 0.2
_SEVERAL = 3
_UNSEEN = "could not be seen"


@dataclass(frozen=True)
class Measure:
    """What is compared with a bound.

    Attributes:
        find: finds the figure in the days of one server, the smallest first, or says why there is none.
        bound: the bound for a person, `{}` is the number.
        unit: of the figure.
        fact: what is looked at; None: the seconds.
        scale: one unit in the fact's own.
        is_least: whether the bound is the least; otherwise it is the most.
    """

    find: Callable[[Target, Sequence[Line]], Figure | str]
    bound: str
    unit: str
    fact: Fact | None = None
    scale: int = 1
    is_least: bool = False

    def values(self, line: Line) -> list[float]:
        """Return the fact of each run in which it was seen, or the seconds of a row."""
        if self.fact is None:
            return [seconds / line.result.rows for seconds in line.series.seconds]
        return [value / self.scale for value in line.series.seen(self.fact)]


@dataclass(frozen=True)
class Target:
    """One line of the targets, for TimescaleDB's versions from `since` on and before `before`.

    Of the names of ways in `ours`, the first that was timed counts. A ratio compares it with the way `theirs`.
    """

    title: str
    case: str
    ours: tuple[str, ...]
    measure: Measure
    bound: float
    theirs: str = ""
    since: tuple[int, int] = (0, 0)
    before: tuple[int, int] = (99, 0)


@dataclass(frozen=True)
class Figure:
    """What was measured, at one size or from one to another.

    Attributes:
        by_cpu: in a ratio, the same ratio of the server's CPU seconds, medians.
        noise: share of the COPY in which a backend wanted a core that another program had; the worse of both ways.
    """

    sizes: tuple[int, ...]
    spread: Spread
    by_cpu: float | None = None
    noise: float = 0.0


def _ratio(target: Target, ours: Sequence[Line]) -> Figure | str:
    """Compare two ways round by round, at the largest size at which both were timed several times, or else at all."""
    pairs = [(line, other) for line in ours if (other := line.result.timed(target.theirs)) is not None]
    if not pairs:
        return f"{target.theirs} was not measured"
    # A single run of a huge day says less than several of a large one.
    several = [pair for pair in pairs if min(len(pair[0].series.runs), len(pair[1].runs)) >= _SEVERAL]
    (result, _, one), other = (several or pairs)[-1]
    above, below = (other, one) if target.measure.is_least else (one, other)
    cpu, cpu_below = above.usual("server_seconds"), below.usual("server_seconds")
    by_cpu = cpu / cpu_below if cpu and cpu_below else None
    return Figure((result.rows,), above.ratios(below), by_cpu, max(s.usual("backend_ready") or 0 for s in (one, other)))


def _most(target: Target, ours: Sequence[Line]) -> Figure | str:
    """Take the largest value at each size, and the largest of these."""
    seen = [max(values) for line in ours if (values := target.measure.values(line))]
    sizes = tuple(line.result.rows for line in ours)
    return Figure(sizes, Spread(max(seen), min(seen), max(seen))) if seen else _UNSEEN


def _last(target: Target, ours: Sequence[Line]) -> Figure | str:
    """Look at the largest size alone."""
    seen = target.measure.values(ours[-1])
    return Figure((ours[-1].result.rows,), spread(seen)) if seen else _UNSEEN


def _growth(target: Target, ours: Sequence[Line]) -> Figure | str:
    """Divide what was measured at the largest size, the seconds of a row or the most, by that at the smallest."""
    # Below a million rows, what is done once weighs too much. Where nothing else was measured, it has to do.
    large = [line for line in ours if line.result.rows >= MILLION]
    small, big = (large if len(large) > 1 else ours)[0], ours[-1]
    if small is big:
        return "needs two sizes"
    before, after = target.measure.values(small), target.measure.values(big)
    if not before or not after:
        return _UNSEEN
    if target.measure.fact is not None:
        before, after = [max(before)], [max(after)]
    return Figure((small.result.rows, big.result.rows), spread([value / median(before) for value in after]))


# Their seconds over ours; ours over theirs.
FASTER = Measure(_ratio, "at least {:g} times as fast", " times as fast", is_least=True)
OF_TIME = Measure(_ratio, "at most {:g} of its time", " of its time")
MEMORY = Measure(_most, "at most {:g} MiB", " MiB", "memory_bytes", MIB)
DISK = Measure(_most, "{:g} bytes", " bytes", "disk_bytes")
IDLE = Measure(_last, "at most {:g} of the COPY", " of the COPY", "backend_idle")
CORES = Measure(_last, "at most {:g} cores", " cores", "process_busy")
TIME_GROWTH = Measure(_growth, "linear: a row takes at most {:g} times as long", " times as long")
MEMORY_GROWTH = Measure(_growth, "flat: at most {:g} times as much", " times as much", "memory_bytes")

# Not `default`, which may choose binary.
_TEXT = ("stream", "spool")
_ANY, _STREAM, _BINARY = ("default",), ("stream",), ("binary",)
# From here on a chunk's primary key can be dropped and rebuilt.
_NEW = (2, 28)

TARGETS = (
    Target("fresh day, text, against psql", "key", _TEXT, FASTER, 2.2, "psql", _NEW),
    Target("fresh day, text, against the floor", "key", _TEXT, OF_TIME, 1.15, "floor", _NEW),
    Target("fresh day, binary, against psql", "key", _BINARY, FASTER, 2.8, "psql", _NEW),
    Target("fresh day, binary, against the floor", "key", _BINARY, OF_TIME, 0.85, "floor", _NEW),
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
    Target("behind the queue, with its heartbeats", "key", ("queued-0",), OF_TIME, 1.05, "default"),
    Target("behind the queue, beside 1,000 looks at its monitor", "key", ("queued-1000",), OF_TIME, 1.05, "queued-0"),
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
    """What the figure of a way says about a target on one server; or why there is none."""

    target: Target
    server: str
    way: str
    figure: Figure | str

    @property
    def verdict(self) -> str:
        """The judgement for a person."""
        figure, bound = self.figure, self.target.bound
        if isinstance(figure, str):
            return figure
        middle, low, high = figure.spread
        doubt = "; the runs lie on both sides" if low < bound < high else ""
        if figure.noise > _NOISY:
            doubt += f"; a busy machine kept the backend from a core for {figure.noise:.0%} of the COPY"
        if middle == bound or (middle > bound) is self.target.measure.is_least:
            return f"met{doubt}"
        by = f"{abs(middle - bound) / bound:.0%}" if bound else f"{middle:.0f}"
        return f"missed by {by}{doubt}"


def judge(results: Sequence[Result]) -> list[Judgement]:
    """Judge every target on every server that it holds for and that was measured."""
    cases = {case.name: of_case(results, case) for case in CASES}
    return [
        _judge(target, found)
        for target in TARGETS
        for found in cases[target.case]
        if target.since <= tuple(map(int, found[0].result.version.split(".")[:2])) < target.before
    ]


def _judge(target: Target, found: Sequence[Line]) -> Judgement:
    server = found[0].result.title
    ours = [line for name in target.ours for line in found if line.way.name == name]
    for name in target.ours:
        if timed := [line for line in ours if line.way.name == name and line.series.runs]:
            return Judgement(target, server, name, target.measure.find(target, timed))
    return Judgement(
        target, server, "", next((line.series.missing for line in ours if line.series.missing), "not measured")
    )
