"""What the README says about speed: sentences made of the figures that the report shows, and of no others. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.report import millions
from benchmarks.results import Result
from benchmarks.targets import Judgement


@dataclass(frozen=True)
class _Sentence:
    """A subject, and what the targets of these titles say about it; `{}` is the figure."""

    subject: str
    parts: tuple[tuple[str, str], ...]


_FASTER = "{} times as fast"
_PSQL = r"`zcat | psql \copy`"
_SENTENCES = (
    _Sentence(
        f"A fresh day, primary key and time index, against {_PSQL}",
        (
            ("fresh day, text, against psql", f"text {_FASTER}"),
            ("fresh day, binary, against psql", f"binary {_FASTER}"),
        ),
    ),
    _Sentence(
        "The same against the floor, a COPY into a plain table that builds its indexes afterwards",
        (
            ("fresh day, text, against the floor", "text {} of its time"),
            ("fresh day, binary, against the floor", "binary {} of its time"),
        ),
    ),
    _Sentence(
        "The same against timescaledb-parallel-copy with 2 workers, which is not atomic",
        (("fresh day, text, against parallel-copy with 2 workers", _FASTER),),
    ),
    _Sentence(
        f"A fresh day, unique index without a constraint, against {_PSQL}",
        (("fresh day, unique index without constraint", _FASTER),),
    ),
    _Sentence(f"A fresh day, five indexes, against {_PSQL}", (("fresh day, five indexes", _FASTER),)),
    _Sentence(
        f"A day beside rows that the chunk already holds, against {_PSQL}",
        (("chunk that already holds rows", _FASTER),),
    ),
    _Sentence(
        f"A primary key on a version that cannot set it aside, against {_PSQL}",
        (("primary key before 2.28, as it comes", _FASTER),),
    ),
    _Sentence("Staging, against an unlogged table and INSERT by psql", (("staging", _FASTER),)),
    _Sentence(
        "A day that ends compressed, against COPY and compress_chunk",
        (
            ("day that ends compressed", _FASTER),
            ("day beside compressed rows, ends compressed", "beside compressed rows {} times as fast"),
            ("compressed day replaced, ends compressed", "a compressed day replaced {} times as fast"),
        ),
    ),
    _Sentence(
        "Most memory of the process that streams",
        (("memory, stream, text", "text {} MiB"), ("memory, stream, binary", "binary {} MiB")),
    ),
    _Sentence(
        "Temporary disk of the same",
        (
            ("temporary disk, stream, text", "text {} bytes"),
            ("temporary disk, stream, binary", "binary {} bytes"),
        ),
    ),
)


def summary(results: Sequence[Result], judgements: Sequence[Judgement]) -> str:
    """Return the sentences about what was measured, each on the newest TimescaleDB that can tell."""
    ranks = {result.title: (result.version_numbers, result.title) for result in results}
    chosen: dict[str, Judgement] = {}
    for judgement in judgements:
        title, known = judgement.target.title, chosen.get(judgement.target.title)
        if judgement.figure is not None and (known is None or ranks[known.server] < ranks[judgement.server]):
            chosen[title] = judgement
    if not chosen:
        return "Nothing was measured yet."
    cores = sorted({result.cores for result in results})
    lines = [f"Medians of runs in turns, on {' and '.join(map(str, cores))} cores."]
    for server in sorted({judgement.server for judgement in chosen.values()}, key=ranks.__getitem__, reverse=True):
        here = {title: judgement for title, judgement in chosen.items() if judgement.server == server}
        told = [line for sentence in _SENTENCES for line in _lines(sentence, here)]
        if told:
            lines += ["", f"{server}:", "", *told]
    return "\n".join(lines)


def _lines(sentence: _Sentence, here: Mapping[str, Judgement]) -> Iterator[str]:
    """Yield the sentence for each size that its figures are of."""
    by_size: dict[str, list[str]] = {}
    for title, text in sentence.parts:
        judgement = here.get(title)
        if judgement is not None:
            by_size.setdefault(_size(judgement), []).append(_said(judgement, text))
    for size, said in by_size.items():
        yield f"- {sentence.subject} ({size}): {', '.join(said)}."


def _size(judgement: Judgement) -> str:
    return f"{' to '.join(millions(rows) for rows in sorted({judgement.sizes[0], judgement.sizes[-1]}))} million rows"


def _said(judgement: Judgement, text: str) -> str:
    figure = text.format(judgement.figure_text)
    return figure if judgement.is_met else f"{figure} (the target is missed: {judgement.target.bound_text})"
