"""An `adls_url` with `{date}` in it: the archives of a table, one for each day. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from shared.errors import InvalidArchiveUrl
from shared.model.location import ArchiveLocation, parse_adls_url
from shared.settings import Settings

PLACEHOLDER = "{date}"


@dataclass(frozen=True)
class ArchivePattern:
    """The archives of a table.

    Attributes:
        text: an `adls_url` in which `{date}` stands for the day as YYYY-MM-DD. It holds no SAS.
        settings: name the account and the file system of a bare path.
    """

    text: str
    settings: Settings

    def location(self, day: date) -> ArchiveLocation:
        """Return where the archive of a day is.

        Raises:
            InvalidArchiveUrl, StorageHostNotAllowed, ConfigurationError: as `parse_adls_url`.
        """
        return parse_adls_url(
            self.url(day),
            default_account_url=self.settings.adls_account_url_default,
            default_filesystem=self.settings.adls_filesystem_default,
        )

    def url(self, day: date) -> str:
        """Return the `adls_url` of a day."""
        return self.text.replace(PLACEHOLDER, day.isoformat())


def read_pattern(text: str, settings: Settings) -> ArchivePattern:
    """Check a pattern.

    Args:
        text: as the caller sent it.
        settings: name the account and the file system of a bare path.

    Raises:
        InvalidArchiveUrl: it does not hold `{date}` in its path, and so that a day of a table follows; or it has a SAS.
        StorageHostNotAllowed, ConfigurationError: as `parse_adls_url`.
    """
    pattern = ArchivePattern(text, settings)
    if PLACEHOLDER not in text:
        raise InvalidArchiveUrl(
            "adls_url does not hold {date}", hint="write {date} where the name of a file has its day"
        )
    one, other = date(2001, 2, 3), date(2004, 5, 6)
    first, second = pattern.location(one), pattern.location(other)
    if first.sas is not None:
        raise InvalidArchiveUrl(
            "adls_url must not have a SAS, which opens one file only",
            hint="give the function's identity the role Storage Blob Data Reader, or set ADLS_CONNECTION_STRING",
        )
    if (first.day, second.day) != (one, other):
        raise InvalidArchiveUrl(
            "adls_url does not hold {date} where its file name has the day",
            hint="the file name must end with .{date}.csv.gz",
        )
    if _whose(first) != _whose(second):
        raise InvalidArchiveUrl(
            "adls_url holds {date} in the name of a file system, database, schema or table",
            hint="only a folder and the file's day may change from day to day",
        )
    return pattern


def _whose(location: ArchiveLocation) -> tuple[object, ...]:
    return location.host, location.filesystem, location.database, location.schema, location.table


def days_between(first: date, last: date) -> Iterator[date]:
    """Yield each day from the first to the last one, both included."""
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)
