"""The fields of a request for many days, and their checks. `docs/backfills.md` describes each field."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from typing_extensions import Self

from shared.model.calendar import MOST_DAYS
from shared.model.request import RestoreOptions, Section, WholeNumber, field_error

Existing: TypeAlias = Literal["error", "append", "skip", "replace", "stale"]

# How many entries of a list a message names.
_MOST_PLACES = 10
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _day(value: Any) -> date:
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError("must be a day as YYYY-MM-DD")
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a day as YYYY-MM-DD") from None
    if day == date.max:
        raise ValueError("must be a day as YYYY-MM-DD")
    return day


def _is_day(value: Any) -> bool:
    try:
        _day(value)
    except ValueError:
        return False
    return True


Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]


class DateRange(Section):
    """The days from one to another, both included."""

    from_: Day = Field(alias="from")
    to: Day


def _range_or_list(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        dates = handler(value)
    except ValidationError as exc:
        wrong = [number for number, one in enumerate(value, 1) if not _is_day(one)] if isinstance(value, list) else []
        if wrong:
            places = ", ".join(map(str, wrong[:_MOST_PLACES])) + (", ..." if len(wrong) > _MOST_PLACES else "")
            raise ValueError(
                f"must be days that exist, as YYYY-MM-DD; no such day is at place {places} of the list"
            ) from exc
        raise ValueError('must be {"from": "YYYY-MM-DD", "to": "YYYY-MM-DD"} or a list of days as YYYY-MM-DD') from exc
    if isinstance(dates, DateRange):
        if dates.to < dates.from_:
            raise ValueError("must not end before it begins")
        count = (dates.to - dates.from_).days + 1
    else:
        count = len(dates)
        if len(set(dates)) != count:
            raise ValueError("must not name a day twice")
    if not 1 <= count <= MOST_DAYS:
        raise ValueError(f"must be 1 to {MOST_DAYS} days")
    return dates


class BackfillRequest(RestoreOptions):
    """A request for many days of one table."""

    adls_url: str = Field(min_length=1)
    dates: Annotated[DateRange | tuple[Day, ...], WrapValidator(_range_or_list)]
    missing: Literal["skip", "error"] = "skip"
    existing: Existing = "error"
    parallel: WholeNumber | None = Field(None, ge=1)
    on_failure: Literal["continue", "stop"] = "continue"
    dry_run: bool = False

    @model_validator(mode="after")
    def _one_word_for_existing_rows(self) -> Self:
        if self.destination.on_existing is not None:
            raise field_error("destination.on_existing", "on_existing is for one day; use existing for many")
        return self

    @model_validator(mode="after")
    def _nothing_of_one_day(self) -> Self:
        for name in ("expected_rows", "expected_sha256"):
            if getattr(self.copy_, name) is not None:
                raise field_error(f"copy.{name}", f"{name} is of one archive, and cannot hold for many days")
        return self

    @property
    def days(self) -> list[date]:
        """The days, oldest first."""
        if isinstance(self.dates, DateRange):
            first, last = self.dates.from_, self.dates.to
            return [first + timedelta(days=number) for number in range((last - first).days + 1)]
        return sorted(self.dates)
