"""The documents are part of the product: what they list is what the code has, no more and no less."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shared.api.log_line import log_line
from shared.api.render import error_answer, success_answer
from shared.csvfile.options import OPTION_NAMES, CsvOptions
from shared.errors import ArchiveNotFound, Fault, InvalidRequest
from shared.model.answer import DryRunOutcome, Facts
from shared.model.backfill import BackfillRequest
from shared.model.report import Report
from shared.model.request import Copy, Destination, Pg, RestoreRequest, Timescaledb
from shared.model.results import (
    CaggStep,
    CheckName,
    ChunkStep,
    Count,
    KeptIndex,
    ReferringRows,
    Rejected,
    Verification,
    warnings_of,
)
from shared.progress.progress import Stage
from shared.settings import load_settings
from tests.fix_errors import errors
from tools.pages import rows, section

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "examples" / "README.md", *DOCS.glob("*.md")])
SOURCES = sorted((ROOT / "shared").rglob("*.py"))
SECTIONS: dict[str, type[BaseModel]] = {"pg": Pg, "destination": Destination, "timescaledb": Timescaledb, "copy": Copy}

AZURE_EXPRESSION = re.compile(r"@\{.*?\}(?=\.csv\.gz)")


def in_sources(pattern: str, flags: int = 0) -> list[str]:
    return [found for path in SOURCES for found in re.findall(pattern, path.read_text(), flags)]


def test_every_error_code_its_status_and_whether_to_retry() -> None:
    documented = {code: cells[:3] for code, cells in rows(section("errors.md", "All codes")).items()}
    assert documented == {
        kind.code: [
            str(kind.status),
            "yes" if kind.retryable else "no",
            f"`{kind.retry}`" + (" once" if kind.most_retries == 1 else ""),
        ]
        for kind in errors()
    }
    assert len({kind.code for kind in errors()}) == len(list(errors()))


@pytest.mark.parametrize("heading", ["All codes", "Warnings"])
def test_codes_are_listed_by_name(heading: str) -> None:
    codes = list(rows(section("errors.md", heading)))
    assert len(codes) > 10
    assert codes == sorted(codes)


def test_every_code_of_a_fault() -> None:
    # Pydantic's names for them, and ours where we find a fault ourselves.
    codes = set(in_sources(r'"(?:extra_forbidden|missing)": "(\w+)"') + in_sources(r'\bFault\("(\w+)"'))
    lines = re.findall(
        r"^Codes that stand only in `details`.*: (.*)\.$", section("errors.md", "All codes"), re.MULTILINE
    )
    assert set(re.findall(r"`(\w+)`", *lines)) == codes - {kind.code for kind in errors()}


def full_report() -> Report:
    error = ArchiveNotFound("x")
    url = "abfss://lake@account.dfs.core.windows.net/d/s.t.2025-01-01.csv.gz"
    report = Report("id", rows_read=3, rows_loaded=2, rows_skipped=1, compressed_bytes=1, csv_bytes=1)
    report.transfer, report.format, report.waited_seconds, report.queued_seconds = "stream", "text", 0.1, 0.2
    report.indexes_kept, report.text_because, report.progress.loads = (KeptIndex("i", "c", "r"),), "r", 2
    report.describe(RestoreRequest.model_validate({"adls_url": url}))
    report.edition, report.timescaledb_version = "community", "2.29.2"
    report.rows_removed, report.removed_by, report.rejected = 1, "delete", Rejected(1, (2,))
    report.referenced_rows = (ReferringRows("t", "c", "CASCADE", 1),)
    report.verification = Verification(1, Count(2), 1, Count(0))
    report.dry_run = cast("DryRunOutcome", dict.fromkeys(DryRunOutcome.__annotations__))
    report.options |= {"decompress_window": "failed", "recompress_window": "failed", "refresh_caggs": "failed"}
    report.options["compress_new_chunks"] = "done"
    report.chunks += [ChunkStep("c", "create", "done"), ChunkStep("c", "compress", "not available")]
    report.chunks += [ChunkStep("c", action, "failed", error) for action in ("compress", "decompress", "recompress")]
    report.caggs.append(CaggStep("a", "failed", ("1", "2"), error, (("1", "2"),)))
    report.add_warnings(warnings_of([*report.chunks, *report.caggs]))
    for stage in get_args(Stage):
        with report.progress.stage(stage):
            pass
    return report


def test_every_warning() -> None:
    literal = set(in_sources(r'\b(?:warn|Notice)\(\s*"(\w+)"'))
    raised = literal | {warning.code for warning in full_report().warnings}
    assert len(raised) > len(literal)
    assert set(rows(section("errors.md", "Warnings"))) == raised


def fields() -> Iterator[tuple[str, FieldInfo]]:
    for name, field in RestoreRequest.model_fields.items():
        public = field.alias or name
        if public not in SECTIONS:
            yield public, field
        for inner, inner_field in SECTIONS[public].model_fields.items() if public in SECTIONS else ():
            yield f"{public}.{inner}", inner_field


def as_documented(field: FieldInfo) -> Any:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    return {} if isinstance(default, BaseModel) else default


def documented_defaults(cells: Mapping[str, list[str]]) -> dict[str, Any]:
    return {name: json.loads(row[1].strip("`")) if "`" in row[1] else row[1] for name, row in cells.items()}


def test_every_field_of_the_request_and_its_default() -> None:
    documented = documented_defaults(rows(section("request.md", "All fields")))
    expected = {name: as_documented(field) for name, field in fields()}
    assert documented == json.loads(json.dumps(expected))


def test_every_csv_option_and_its_default() -> None:
    documented = documented_defaults(rows(section("request.md", "copy.csv_options")))
    options = {name.upper(): field.get_default() for name, field in CsvOptions.model_fields.items()}
    assert set(options) == set(OPTION_NAMES)
    expected = {f"copy.csv_options.{name}": default for name, default in options.items()}
    assert documented == json.loads(json.dumps(expected))


class Recorder(dict[str, str]):
    """An empty environment that takes down what it is asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return default


def test_every_setting() -> None:
    environ = Recorder()
    load_settings(environ)
    own = set(rows(section("settings.md", "Its own")))
    assert own | set(rows(section("settings.md", "Of libpq"))) == environ.asked
    example = json.loads((ROOT / "local.settings.json.example").read_text())["Values"]
    # The host's storage account is named either by its connection string or by these.
    assert {name for name in own if "__" not in name} <= set(example)
    assert set(example) <= set(re.findall(r"`(\w+)`", (DOCS / "settings.md").read_text()))
    # A figure there would be every copy's, whatever the day and the server are.
    assert load_settings(example).pg_index_memory_mib is None


def paths(value: Any, prefix: str = "") -> Iterator[str]:
    """The path of every value that is not an object: `source.etag`, `chunks[].name`."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from paths(item, f"{prefix}.{name}" if prefix else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            yield from paths(item, prefix + "[]")
    else:
        yield prefix


def test_every_field_of_the_answer() -> None:
    answer = success_answer(full_report())
    assert set(rows(section("answer.md", "200"))) == set(paths(answer))


def test_every_reason_to_keep_an_index() -> None:
    codes = in_sources(r'\bKeptIndex\(\s*(?:None|[\w.]+), "(\w+)"')
    rules = (ROOT / "shared" / "timescale" / "indexes" / "eligibility.py").read_text()
    codes += re.findall(r'^ +(?:yield |return |reasons\.append\(\()?"([A-Z]\w+)",', rules, re.MULTILINE)
    assert set(rows(section("answer.md", "indexes_kept"))) == set(codes)


def test_every_word_of_what_a_dry_run_looks_at() -> None:
    assert list(rows(section("answer.md", "checked"))) == list(get_args(CheckName))


def test_every_field_of_an_error() -> None:
    # The tests of restores find those that are put into a detail but not into this type.
    fault = Fault("a", "b", "c", tuple(dict.fromkeys(Facts.__annotations__, 1).items()))
    body = error_answer(InvalidRequest("x", details=[fault]), "id", [{"code": "a", "message": "b"}])
    assert set(rows(section("answer.md", "Errors"))) == set(paths(body))


def test_every_key_of_the_log_line() -> None:
    report = full_report()
    stages = {f"{stage}_s" for stage in report.progress.seconds()}
    report.progress.stage_name = "copy"
    line = re.sub(r'"(?:[^"\\]|\\.)*"', '""', log_line(report, ArchiveNotFound("x", details=[Fault("Code", "x", "y")])))
    keys = set(re.findall(r"(\w+)=", line)) - stages
    assert set(rows(section("operations.md", "The log line"))) - {"<stage>_s"} == keys


@pytest.mark.parametrize("table", ["s.t", 'odd "name" = x'])
def test_the_queries_read_the_log_line(table: str) -> None:
    report = full_report()
    report.target_table = table
    report.progress.stage_name = "copy"
    line = log_line(report, ArchiveNotFound("there is no file"))
    queries = re.findall(r'extract\(@"((?:[^"]|"")+)", 1, message\)', (DOCS / "operations.md").read_text())
    found = [re.search(query.replace('""', '"'), line) for query in queries]
    assert len(found) > 5
    assert all(found), line
    assert {"ArchiveNotFound", "id", "copy", "2", str(report.archive_url)} <= {match[1] for match in found if match}


def blocks(pattern: str) -> list[Any]:
    found = [(page, re.findall(pattern, page.read_text(), re.MULTILINE | re.DOTALL)) for page in PAGES]
    return [pytest.param(block, id=f"{page.name}-{n}") for page, blocks in found for n, block in enumerate(blocks)]


def requests_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "adls_url" in value:
            yield value
        for item in value.values():
            yield from requests_in(item)


@pytest.mark.parametrize("block", [*blocks(r"^ *```json\n(.*?)^ *```$"), *blocks("--data '(.*?)'")])
def test_json_can_be_read_and_requests_are_valid(block: str) -> None:
    defaults = {"default_account_url": "https://account.dfs.core.windows.net", "default_filesystem": "archive"}
    for body in requests_in(json.loads(block)):
        # What Data Factory and Logic Apps fill in is a day.
        body["adls_url"] = AZURE_EXPRESSION.sub("2025-01-01", body["adls_url"])
        if "{date}" in body["adls_url"]:
            BackfillRequest.model_validate(body)
        else:
            RestoreRequest.model_validate(body, context=defaults)


def anchors(page: Path) -> set[str]:
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_picture_of_the_page_is_shown() -> None:
    shown = re.findall(r"\]\(page/([\w-]+\.png)\)", (DOCS / "page.md").read_text(encoding="utf-8"))
    assert {path.name for path in (DOCS / "page").iterdir()} == set(shown)


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {
        target for page in PAGES for target in re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert {"demo", "serve", "test", "clean"} <= named
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named), named
