"""A name of more than 63 bytes is refused: PostgreSQL would cut it short, and mean another object."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from shared.api.parse import parse_request
from shared.errors import InvalidRequest, RestoreError

URL = "abfss://lake@account.dfs.core.windows.net/b/db/s.t.2025-01-01.csv.gz"
LONG = {"ascii": "x" * 64, "two bytes each": "ü" * 32, "a quote at the end": "x" * 63 + '"'}
LONGEST = {"ascii": "x" * 63, "two bytes each": "ü" * 31 + "x"}


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def requests(name: str) -> dict[str, dict[str, Any]]:
    """A request for each place where a name can stand."""
    staging = {"mode": "staging"}
    uri = "postgresql://{}@localhost:5432/{}"
    return {
        "pg.user": {"pg": {"user": name}},
        "pg.database": {"pg": {"database": name}},
        "pg.connection_uri": {"pg": {"connection_uri": uri.format(quote(name, safe=""), "db")}},
        "pg.connection_uri database": {"pg": {"connection_uri": uri.format("me", quote(name, safe=""))}},
        "pg.connection_uri dbname": {"pg": {"connection_uri": uri.format("me", "?dbname=" + quote(name, safe=""))}},
        "destination.target_table": {"destination": {"target_table": quoted(name)}},
        "destination.target_table schema": {"destination": {"target_table": f"{quoted(name)}.t"}},
        "destination.target_table after a schema": {"destination": {"target_table": f"s.{quoted(name)}"}},
        "destination.create_staging_like": {"destination": staging | {"create_staging_like": quoted(name)}},
        "destination.time_column": {"destination": {"time_column": name}},
        "copy.column_map": {"copy": {"column_map": {"a": name}}},
        "timescaledb.refresh_caggs": {"timescaledb": {"refresh_caggs": [quoted(name)]}},
        "timescaledb.refresh_caggs schema": {"timescaledb": {"refresh_caggs": [f"{quoted(name)}.c"]}},
    }


def parse(**request: Any) -> None:
    parse_request(json.dumps({"adls_url": URL} | request).encode())


@pytest.mark.parametrize("place", requests(""))
@pytest.mark.parametrize("name", LONG.values(), ids=LONG)
def test_a_name_that_postgresql_would_cut(place: str, name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(**requests(name)[place])
    assert refused.value.status == 400
    assert (refused.value.target or "").startswith(place.partition(" ")[0])
    assert "63" in refused.value.details[0].message


@pytest.mark.parametrize("place", requests(""))
@pytest.mark.parametrize("name", LONGEST.values(), ids=LONGEST)
def test_the_longest_name(place: str, name: str) -> None:
    parse(**requests(name)[place])


@pytest.mark.parametrize("name", LONG.values(), ids=LONG)
@pytest.mark.parametrize("path", ["{}/s.t", "db/{}.t", "db/s.{}", "db/{}/t", "{}/s/t", "db/s/{}"])
def test_a_path(path: str, name: str) -> None:
    url = f"abfss://lake@account.dfs.core.windows.net/b/{path.format(quote(name, safe=''))}.2025-01-01.csv.gz"
    with pytest.raises(RestoreError) as refused:
        parse(adls_url=url)
    assert (refused.value.code, refused.value.status) == ("InvalidArchiveUrl", 400)
    assert "63" in refused.value.message


@pytest.mark.parametrize("name", LONG.values(), ids=LONG)
def test_a_column_of_the_file_may_be_longer(name: str) -> None:
    """Staging leaves it out, if the table does not have it: no name of PostgreSQL's is made of it."""
    parse(copy={"columns": ["time", name]})
    parse(copy={"column_map": {name: "v"}})
    parse(copy={"csv_options": {"FORCE_NULL": [name]}})
