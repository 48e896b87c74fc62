"""The setting `RESTORE_RULES`: which archives are restored without a call, and how."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from shared.api.parse import parse_for
from shared.calendar.pattern import ArchivePattern, read_pattern
from shared.errors import ConfigurationError, RestoreError
from shared.log_redaction import OUR_LOGGER
from shared.model.location import ArchiveLocation
from shared.model.request import RestoreRequest
from shared.settings import Settings, load_settings

_SETTING = "RESTORE_RULES"
_ANY_DAY = date(2001, 2, 3)
# Stands for a `*` while a pattern is read as a URL. No name contains it by chance.
_STAR = "0any0part0of0a0name0"

_log = logging.getLogger(OUR_LOGGER)


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic collects ValueError only
    return value


class _Written(BaseModel):
    """A rule as the setting has it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(pattern="^[A-Za-z0-9._-]{1,64}$")]
    pattern: str
    request: dict[str, Any] = {}
    delay_seconds: Annotated[int, BeforeValidator(_no_boolean), Field(strict=True, ge=0, le=86_400)] = 30
    daily: Annotated[bool, Field(strict=True)] = False
    lookback: Annotated[int, BeforeValidator(_no_boolean), Field(strict=True, ge=1, le=366)] = 3


@dataclass(frozen=True)
class Rule:
    """Which archives are restored without a call, and how.

    Attributes:
        name: is in the log, and in the ids of the restores.
        pattern: an `adls_url` with `{date}`; `*` stands for any characters but `/`.
        request: the body of a restore, without `adls_url`.
        delay_seconds: how long a restore waits after its archive has arrived.
        daily: whether `RestoreDaily` looks for archives that are not restored.
        lookback: how many days before today it looks at.
        settings: name the account and the file system of a bare path.
    """

    name: str
    pattern: str
    request: Mapping[str, Any]
    delay_seconds: int
    daily: bool
    lookback: int
    settings: Settings

    def matches(self, location: ArchiveLocation) -> bool:
        """Whether a file is one of the rule's archives."""
        return self._names(location.day, location) is not None

    def fill(self, day: date, path: str) -> str | None:
        """Return the pattern without `*`, as the path of a day's archive has it; None if the path does not match.

        Args:
            day: of the archive.
            path: within the rule's file system.
        """
        match = self._path_of(day).fullmatch(path)
        if match is None:
            return None
        parts = iter(match.groups())
        return re.sub(r"\*", lambda _: quote(next(parts), safe=""), self.pattern)

    def location(self, day: date) -> ArchiveLocation:
        """Return where the archive of a day is; each `*` has a name that no archive has."""
        return self._readable.location(day)

    def prefix(self, day: date) -> str:
        """Return what the paths of a day's archives begin with, up to the first `*`."""
        return self.location(day).path.partition(_STAR)[0]

    def body(self, url: str, **more: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of a restore of one archive.

        Args:
            url: the `adls_url`.
            more: fields of sections, which win over the rule's own.
        """
        body = {**self.request, "adls_url": url}
        for section, fields in more.items():
            body[section] = {**(body.get(section) or {}), **fields}
        return body

    @property
    def _readable(self) -> ArchivePattern:
        return ArchivePattern(self.pattern.replace("*", _STAR), self.settings)

    def _path_of(self, day: date) -> re.Pattern[str]:
        first, *others = re.escape(self.location(day).path).split(_STAR)
        if not others:
            return re.compile(first)
        # A `*` ends at the first place where the text after it occurs. No other place is tried, since that could take
        # very long for a long name: a lookahead is not entered again. The last `*` reaches as far as it can.
        *inner, last = others
        stars = [f"(?=(?P<star{number}>[^/]*?){text})(?P=star{number}){text}" for number, text in enumerate(inner, 1)]
        return re.compile(f"{first}{''.join(stars)}([^/]*){last}", re.DOTALL)

    def _names(self, day: date, location: ArchiveLocation) -> re.Match[str] | None:
        own = self.location(day)
        if (own.host, own.filesystem) != (location.host, location.filesystem):
            return None
        return self._path_of(day).fullmatch(location.path)


def load_rules(settings: Settings) -> tuple[Rule, ...]:
    """Read the rules.

    Raises:
        ConfigurationError: the setting cannot be read. The message names the rule and the field.
    """
    if settings.restore_rules is None:
        return ()
    try:
        document = json.loads(settings.restore_rules)
    except (ValueError, RecursionError):
        # Without its cause, which holds the text.
        raise _wrong("is not valid JSON") from None
    if not isinstance(document, list):
        raise _wrong("must be a list of rules")
    rules = tuple(_read(item, number, settings) for number, item in enumerate(document))
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise _wrong(f"has two rules of the name {name}")
    return rules


def find_rule(rules: Sequence[Rule], location: ArchiveLocation) -> Rule | None:
    """Return the first rule that a file matches; None if there is none."""
    return next((rule for rule in rules if rule.matches(location)), None)


def check_rules() -> None:
    """Log the faults of the rules when the app starts. Raises nothing."""
    try:
        load_rules(load_settings())
    except ConfigurationError as error:
        _log.error("%s: %s", error.code, error.message)


def _read(item: Any, number: int, settings: Settings) -> Rule:
    name = item.get("name") if isinstance(item, dict) else None
    which = f"rule {name}" if isinstance(name, str) and name.isprintable() else f"rule number {number + 1}"
    try:
        written = _Written.model_validate(item)
    except ValidationError as exc:
        fault = exc.errors(include_url=False, include_input=False)[0]
        raise _wrong(f"{which}: {'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}") from None
    rule = Rule(**{field: getattr(written, field) for field in _Written.model_fields}, settings=settings)
    try:
        read_pattern(rule.pattern.replace("*", _STAR), settings)
    except RestoreError as exc:
        raise _wrong(f"{which}: pattern: {exc.message}") from None
    for fault_of_request in _faults(rule):
        raise _wrong(f"{which}: request: {fault_of_request}")
    return rule


def _faults(rule: Rule) -> Iterator[str]:
    for field in ("adls_url", "async", "dry_run"):
        if field in rule.request:
            yield f"{field} is not for rules"
    url = rule.pattern.replace("*", _STAR).replace("{date}", _ANY_DAY.isoformat())
    request: RestoreRequest | None = None
    try:
        request = parse_for(json.dumps(rule.body(url)).encode(), rule.settings)
    except RestoreError as exc:
        yield "; ".join(f"{fault.target}: {fault.message}" for fault in exc.details) or exc.message
    if request is not None and request.secrets:
        yield f"{request.secrets[0]} holds a secret; the app settings hold the function's own way in"


def _wrong(what: str) -> ConfigurationError:
    return ConfigurationError(f"the setting {_SETTING} {what}", target=_SETTING)
