"""A request that names what holds a guess of the function's own password learns nothing of the guess.

The answers to a right and to a wrong guess may differ in the guess alone.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.integration.fix_app import App

pytestmark = pytest.mark.any_server

PASSWORD, WRONG = "only-for-tests", "made-for-tests"  # as long as each other
CSV = b"time,v\n2025-01-01 00:00Z,1\n2025-01-01 00:01Z,\n"
# Each field of a request that may hold any text, with a guess (@@) in it.
REQUESTS: dict[str, dict[str, Any]] = {
    "database": {"pg": {"database": "@@"}},
    "uri of a database": {"pg": {"connection_uri": "postgresql:///@@"}},
    "user": {"pg": {"user": "@@"}},
    "host": {"pg": {"host": "@@.invalid"}},
    "application name": {"pg": {"connection_uri": "postgresql:///?application_name=@@"}},
    "options": {"pg": {"connection_uri": "postgresql:///?options=-c%20@@%3D1"}},
    "table": {"destination": {"target_table": "@@"}},
    "schema": {"destination": {"target_table": "@@.t"}},
    "staging": {"destination": {"mode": "staging", "create_staging_like": "@@"}},
    "time column": {"destination": {"time_column": "@@"}},
    "columns": {"copy": {"columns": ["time", "@@"], "csv_options": {"HEADER": False}}},
    "map": {"copy": {"column_map": {"v": "@@"}}},
    "map of the file": {"copy": {"column_map": {"@@": "v"}}},
    "force_null": {"copy": {"csv_options": {"FORCE_NULL": ["@@"]}}},
    "marker": {"copy": {"csv_options": {"NULL": "@@"}}},
    "default": {"copy": {"csv_options": {"DEFAULT": "@@"}}},
    "aggregates": {"timescaledb": {"refresh_caggs": ["@@"]}, "dry_run": True},
    "checksum": {"copy": {"expected_sha256": "@@"}},
    "unknown field": {"@@": 1},
}


def said(app: App, url: str, body: dict[str, Any], guess: str) -> str:
    """The answer, without the guess and without what differs from call to call."""
    answer = app.restore(url, **json.loads(json.dumps(body).replace("@@", guess)))
    facts = answer.body.get("error") or answer.body
    text = json.dumps({name: fact for name, fact in facts.items() if name not in ("request_id", "timings")})
    # The staging table's name holds the request's id.
    return re.sub("[0-9a-f]{32}", "ID", text.replace(guess, "GUESS"))


@pytest.fixture
def role(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function's own way in. The requests of the tests say nothing of it."""
    pg = app.database.role("GRANT ALL ON SCHEMA {s}", "GRANT pg_read_all_data, pg_write_all_data")
    assert pg["password"] == PASSWORD
    for name, value in {"PGHOST": pg["host"], "PGPORT": str(pg["port"]), "PGUSER": pg["user"]}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setenv("PG_ALLOWED_USERS", f"{pg['user']},{PASSWORD},{WRONG}")
    monkeypatch.setenv("SHOW_ROW_DATA", "true")


@pytest.mark.usefixtures("role")
@pytest.mark.parametrize("field", REQUESTS)
def test_a_text_of_the_request(app: App, field: str) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v int NOT NULL)")
    url = app.archive("t", CSV)
    body = {"pg": {}} | REQUESTS[field]
    right, wrong = (said(app, url, body, guess) for guess in (PASSWORD, WRONG))
    assert right == wrong
    assert "***" not in right


@pytest.mark.usefixtures("role")
@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_what_the_server_says_of_names_and_rows(app: App, mode: str) -> None:
    """Of a table and a column that are there, and of a value: the writer of the archive may guess as well."""
    answers = []
    for guess in (PASSWORD, WRONG):
        columns = f'time timestamptz, "{guess}" int NOT NULL'
        app.database.execute(f'CREATE TABLE {{s}}."{guess}" ({columns})')
        body = {"pg": {}, "destination": {"mode": mode}}
        csv = (CSV.replace(b"v", guess.encode()), f"time,{guess}\n2025-01-01 00:00Z,{guess}\n".encode())
        answers.append([said(app, app.archive(guess, file), body, guess) for file in csv])
    assert answers[0] == answers[1]
    assert all("GUESS" in text for text in answers[0])
    assert "***" not in str(answers)
