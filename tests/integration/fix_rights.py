"""Roles with the rights that docs/security.md lists, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.fix_app import Answer, App
from tests.integration.fix_database import Database

PAGE = Path(__file__).resolve().parents[2] / "docs/security.md"
COLUMNS = "id serial, time timestamptz NOT NULL, v int"
CSV = b"id,time,v\n1,2025-01-01 01:00Z,1\n2,2025-01-01 02:00Z,2\n"
WITHOUT_ID = b"time,v\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,2\n"
ROW_OF_THE_DAY = "INSERT INTO {s}.telemetry VALUES (7, '2025-01-01 05:00Z', 7)"

DIRECT = ("Always", "To count the day")
STAGING = (*DIRECT, "For staging")
APPEND = {"on_existing": "append"}
REPLACE = {"on_existing": "replace"}


def blocks() -> dict[str, list[str]]:
    """The GRANTs of the page, by the heading that they stand below."""
    role = PAGE.read_text().partition("\n## The database role\n")[2].partition("\n## ")[0]
    found = {}
    for part in role.split("\n### ")[1:]:
        sql = "".join(re.findall(r"```sql\n(.*?)```", part, re.DOTALL))
        statements = [statement.strip() for statement in sql.split(";")]
        found[part.partition("\n")[0]] = [statement for statement in statements if statement]
    return {heading: statements for heading, statements in found.items() if statements}


def grants(*headings: str) -> list[str]:
    """The GRANTs below these headings, each once."""
    known = blocks()
    return list(dict.fromkeys(statement for heading in headings for statement in known[heading]))


@dataclass(frozen=True)
class Mode:
    """A kind of request, the headings of the page whose rights it takes, and what is done before to the table."""

    name: str
    headings: tuple[str, ...]
    request: dict[str, Any] = field(default_factory=dict)
    csv: bytes = CSV
    is_plain: bool = False
    has_rows: bool = False
    before: tuple[str, ...] = ()

    def single_rights(self) -> list[tuple[str, str]]:
        """Each right and what it is on, as GRANT writes them. Without TRUNCATE, replace is only slower."""
        found = re.findall(r"^GRANT (\w+) ON (.+) TO restore$", "\n".join(grants(*self.headings)), re.MULTILINE)
        return [(right, on) for right, on in found if right != "TRUNCATE"]


@contextmanager
def nothing_for_everybody(database: Database) -> Iterator[None]:
    """Take away what PUBLIC has on a new database."""
    database.execute(f"REVOKE ALL ON DATABASE {database.name} FROM PUBLIC")
    try:
        yield
    finally:
        database.execute(f"GRANT CONNECT, TEMPORARY ON DATABASE {database.name} TO PUBLIC")


@dataclass(frozen=True)
class RightsCase:
    """An app, and a role that was given what it has for one mode."""

    app: App
    mode: Mode
    pg: dict[str, Any]

    @property
    def role(self) -> str:
        return str(self.pg["user"])

    def here(self, text: str) -> str:
        """Write what the page calls `silver`, `weavix`, `restore` and `telemetry_owner` as this test calls them."""
        names = {
            "silver": self.app.database.schema,
            "weavix": self.app.database.name,
            "restore": self.role,
            "telemetry_owner": f"{self.role}_owner",
        }
        return re.sub(r"\w+", lambda word: names.get(word[0], word[0]), text)

    def run(self, *statements: str) -> None:
        """Run SQL as a superuser."""
        for statement in statements:
            self.app.database.execute(self.here(statement))

    def restore(self, **more: Any) -> Answer:
        url = self.app.archive("telemetry", self.mode.csv)
        return self.app.restore(url, **(self.mode.request | {"pg": self.pg} | more))

    def rows(self) -> int:
        return int(self.app.database.value("SELECT count(*) FROM {s}.telemetry"))

    def give_to_an_owner(self) -> None:
        """Let the table belong to a role that cannot log in."""
        self.run("CREATE ROLE telemetry_owner")
        # It goes with the schema's role, which goes with the schema.
        self.app.database.roles.append(f"{self.role}_owner")
        self.run(
            "GRANT ALL ON SCHEMA silver TO telemetry_owner", "ALTER TABLE silver.telemetry OWNER TO telemetry_owner"
        )


def set_up(app: App, mode: Mode) -> RightsCase:
    """Make the table, and a role with the rights of the mode's headings."""
    if mode.is_plain:
        app.database.execute(f"CREATE TABLE {{s}}.telemetry ({COLUMNS})")
    else:
        app.database.hypertable("telemetry", COLUMNS)
    if mode.has_rows:
        app.database.execute(ROW_OF_THE_DAY)
    for statement in mode.before:
        app.database.execute(statement)
    case = RightsCase(app, mode, app.database.role())
    case.run(*grants(*mode.headings))
    return case
