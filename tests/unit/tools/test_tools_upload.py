from __future__ import annotations

from pathlib import Path

import pytest

from tools.config import ToolError
from tools.upload import named

FORM = r"<database>/<schema>\.<table>\.<YYYY-MM-DD>\.csv\.gz"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weavix" / "silver.telemetry.2025-01-01.csv.gz"
    path.parent.mkdir()
    path.touch()
    return path


def test_the_archive_is_named_as_the_file_and_its_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert named({"FILE": str(file)}) == (file, "weavix/silver.telemetry.2025-01-01.csv.gz")
    monkeypatch.chdir(file.parent)
    assert named({"FILE": file.name, "ARCHIVE": ""})[1] == "weavix/silver.telemetry.2025-01-01.csv.gz"


def test_archive_gives_another_name(file: Path) -> None:
    name = "other/gold.a table.2025-02-03.csv.gz"
    assert named({"FILE": str(file), "ARCHIVE": name}) == (file, name)


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        ("weavix/telemetry.csv.gz", f"^weavix/telemetry.csv.gz does not name an archive: .*ARCHIVE={FORM}$"),
        ("weavix/silver.telemetry.2025-02-30.csv.gz", "does not name an archive"),
        ("silver.telemetry.2025-01-01.csv.gz", "does not name an archive"),
        ("../silver.telemetry.2025-01-01.csv.gz", "does not name an archive"),
    ],
)
def test_a_name_of_another_form_is_one_clear_line(file: Path, archive: str, message: str) -> None:
    with pytest.raises(ToolError, match=message) as caught:
        named({"FILE": str(file), "ARCHIVE": archive})
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(ToolError, match=f"^there is no file {file}x$"):
        named({"FILE": f"{file}x"})
    with pytest.raises(ToolError, match=r"^there is no file "):
        named({"FILE": str(file.parent)})


def test_no_file_at_all_shows_how(file: Path) -> None:  # noqa: ARG001 - nothing is taken from a folder
    with pytest.raises(ToolError, match=rf"^which file\? make upload FILE=path \[ARCHIVE={FORM}\]$"):
        named({})
