"""A role or a database may have settings of TimescaleDB that hide rows. A restore sees all rows all the same."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from shared.load.verify.proof import rows_show_commit
from shared.model.window import Window
from shared.names import QualifiedName
from shared.postgres.transaction import transaction
from shared.settings import load_settings
from shared.timescale.needed_settings import session_settings_of
from shared.timescale.table import find_table
from tests.integration.fix_app import DAY, Answer, App
from tests.integration.fix_calendar import Calendar

# Compressed rows are in no query: the second name up to TimescaleDB 2.27.
HIDES = {"timescaledb.enable_columnarscan": "off", "timescaledb.enable_transparent_decompression": "off"}
CSV = b"time,v\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,2\n"
WINDOW = Window("timestamptz", datetime(2025, 1, 1, tzinfo=timezone.utc), datetime(2025, 1, 2, tzinfo=timezone.utc))

pytestmark = pytest.mark.community


def full(app: App, *, key: bool = False) -> None:
    """Make the day's two rows, compressed."""
    app.database.hypertable("t", f"time timestamptz NOT NULL, v int NOT NULL{', UNIQUE (time, v)' if key else ''}")
    app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 01:00Z', 1), ('2025-01-01 02:00Z', 2)")
    app.database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c")


def role_with(app: App, settings: dict[str, str]) -> dict[str, Any]:
    """Make an owner of the table who has these settings."""
    role = app.database.role("GRANT ALL ON SCHEMA {s}")
    app.database.execute(f"ALTER TABLE {{s}}.t OWNER TO {role['user']}")
    for name, value in settings.items():
        app.database.execute(f"ALTER ROLE {role['user']} SET {name} = '{value}'")
    return role


def restore(app: App, role: dict[str, Any], **request: Any) -> Answer:
    return app.restore(app.archive("t", CSV), pg=role, **request)


def rows(app: App) -> list[int]:
    return [v for (v,) in app.database.fetch("SELECT v FROM {s}.t ORDER BY v")]


@pytest.mark.parametrize("decompress", [True, False, "auto"])
@pytest.mark.parametrize(("policy", "status"), [("error", 409), ("skip", 200), ("replace", 200)])
def test_rows_that_the_role_does_not_see_are_there(
    community_app: App, policy: str, status: int, decompress: bool | str
) -> None:
    full(community_app)
    role = role_with(community_app, HIDES)
    answer = restore(
        community_app, role, destination={"on_existing": policy}, timescaledb={"decompress_window": decompress}
    )
    assert answer.status == status, answer.body
    assert rows(community_app) == [1, 2]
    dry_run = restore(community_app, role, destination={"on_existing": policy}, dry_run=True)
    assert dry_run.body["dry_run"]["rows_existing"] == 2


def test_the_calendar_sees_them(community_calendar: Calendar, monkeypatch: pytest.MonkeyPatch) -> None:
    app = community_calendar.app
    full(app)
    role = role_with(app, HIDES)
    for name in ("user", "password"):
        monkeypatch.setenv(f"PG{name.upper()}", role[name])
    assert community_calendar.days(DAY, DAY, counts="true")[DAY]["table"]["count"] == 2


def test_what_a_lost_commit_has_left_is_seen(community_app: App) -> None:
    full(community_app)
    for name, value in HIDES.items():
        community_app.database.execute(f"SET {name} = '{value}'")
    try:
        settings = session_settings_of(load_settings())
        # The transaction in which a lost COMMIT is asked for: see `resolve_commit`.
        with transaction(community_app.database.connection, "READ COMMITTED", settings) as asking:
            table = find_table(asking.cursor, QualifiedName(community_app.database.schema, "t"))
            assert rows_show_commit(asking.cursor, table, WINDOW, before=0, after=2) is True
    finally:
        for name in HIDES:
            community_app.database.execute(f"RESET {name}")


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_key_is_compared_with_compressed_rows(community_app: App, mode: str) -> None:
    full(community_app, key=True)
    role = role_with(community_app, {"timescaledb.enable_dml_decompression": "off"})
    answer = restore(
        community_app,
        role,
        destination={"mode": mode, "on_existing": "append"},
        timescaledb={"decompress_window": False},
    )
    if mode == "direct":
        assert answer.body["error"]["details"][0]["sqlstate"] == "23505"
    else:
        assert (answer.status, answer.body["rows_skipped"]) == (200, 2), answer.body
    assert rows(community_app) == [1, 2]


@pytest.mark.parametrize("settings", [HIDES, {"timescaledb.skip_cagg_invalidation": "on"}])
def test_an_aggregate_gets_all_rows(community_app: App, settings: dict[str, str]) -> None:
    app = community_app
    full(app)
    role = role_with(app, settings)
    app.database.execute(
        "CREATE MATERIALIZED VIEW {s}.hourly WITH (timescaledb.continuous, timescaledb.materialized_only) AS"
        " SELECT public.time_bucket('1 hour', time) AS hour, sum(v) AS total FROM {s}.t GROUP BY 1 WITH NO DATA"
    )
    app.database.execute(f"ALTER MATERIALIZED VIEW {{s}}.hourly OWNER TO {role['user']}")
    app.database.execute("CALL public.refresh_continuous_aggregate('{s}.hourly', NULL, NULL)")
    csv = b"time,v\n2025-01-01 01:30Z,10\n2025-01-01 03:00Z,3\n"
    answer = app.restore(
        app.archive("t", csv),
        pg=role,
        destination={"on_existing": "append"},
        timescaledb={"refresh_caggs": "all", "decompress_window": False, "recompress_window": True},
    )
    assert (answer.status, answer.body["warnings"]) == (200, []), answer.body
    totals = [total for (total,) in app.database.fetch("SELECT total FROM {s}.hourly ORDER BY hour")]
    assert totals == [11, 2, 3]
