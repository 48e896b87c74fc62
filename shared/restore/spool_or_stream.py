"""Opens the CSV of an archive: gunzipped to memory or a temporary file first (`spool`), or as it loads (`stream`)."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Literal

from shared.archive.csv_sources import StreamedCsv, spooled_csv
from shared.archive.download import Archive, checked, open_archive
from shared.archive.gunzip import gunzip, refuse_stored
from shared.csvfile.preamble import Preamble
from shared.csvfile.source import BYTES_PER_CPU_SECOND, CsvSource
from shared.errors import ArchiveTooExpensive
from shared.model.report import Report
from shared.model.request import Copy, RestoreRequest
from shared.process import CpuBudget
from shared.progress.progress import Progress
from shared.settings import Settings


@contextmanager
def open_csv(request: RestoreRequest, settings: Settings, report: Report) -> Iterator[CsvSource]:
    """Open the CSV of a request's archive. This is the only place that decides between spool and stream.

    Args:
        request: names the archive, and may ask for one of the two.
        settings: say how large an archive is spooled, and how much it may take.
        report: gets what is known of the archive.

    Yields:
        The CSV.

    Raises:
        ArchiveError: it is not there, storage does not hand it out, it is not whole, or takes more than is allowed.
        HeaderMissing: it has fewer lines than the request skips.
    """
    copy, progress = request.copy_, report.progress
    progress.has_header = copy.csv_options.has_header
    with ExitStack() as stack:
        with progress.stage("download"), ExitStack() as download:
            archive = download.enter_context(
                open_archive(request.archive, settings, progress, expected_etag=copy.expected_etag)
            )
            report.etag, report.compressed_bytes = archive.etag, archive.size
            refuse_stored(archive.size, max_bytes=settings.csv_max_bytes)
            report.transfer = _spool_or_stream(copy, archive, settings)
            budget = CpuBudget(settings.prepare_cpu_seconds, partial(_too_expensive, settings))
            blocks = partial(_gunzip, archive, request, settings, progress, budget)
            dialect, preamble = copy.csv_options.dialect, Preamble(copy.skip_lines)
            csv: CsvSource
            if report.transfer == "stream":
                csv = StreamedCsv(
                    blocks,
                    dialect,
                    archive.size,
                    progress,
                    preamble,
                    loaded=lambda size: budget.earn(size / BYTES_PER_CPU_SECOND),
                )
                # The archive stays open until the CSV has been read.
                stack.push(download.pop_all())
            else:
                csv = stack.enter_context(
                    spooled_csv(
                        blocks(),
                        max_memory_bytes=settings.spool_max_memory_bytes,
                        dialect=dialect,
                        progress=progress,
                        preamble=preamble,
                    )
                )
                report.csv_bytes = csv.size
        yield csv
        report.csv_bytes = csv.size


def _spool_or_stream(copy: Copy, archive: Archive, settings: Settings) -> Literal["spool", "stream"]:
    if copy.transfer != "auto":
        return copy.transfer
    return "stream" if archive.size > settings.spool_max_archive_bytes else "spool"


def _gunzip(
    archive: Archive, request: RestoreRequest, settings: Settings, progress: Progress, budget: CpuBudget
) -> Generator[bytes, None, None]:
    stored = checked(archive.chunks(), sha256=request.copy_.expected_sha256, md5=archive.content_md5)

    def check() -> None:
        progress.check()
        budget.check()

    # In the thread that gunzips; it takes in the blocks as well, so that the count is part of its time.
    budget.begin()
    yield from gunzip(stored, max_bytes=settings.csv_max_bytes, max_expansion=settings.csv_max_expansion, check=check)
    check()


def _too_expensive(settings: Settings) -> ArchiveTooExpensive:
    return ArchiveTooExpensive(
        f"reading the archive takes more than the {settings.prepare_cpu_seconds} s of processor time that"
        " PREPARE_CPU_SECONDS allows"
    )
