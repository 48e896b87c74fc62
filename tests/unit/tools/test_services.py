"""What `make down` says: what was stopped, and what is gone by that."""

from __future__ import annotations

from tools.services import after_stop


def test_what_is_gone_after_a_stop() -> None:
    said = after_stop(("TimescaleDB (trixie)", "Azurite on port 11000"), loses_archives=True, loses_tables=False)
    assert said.splitlines() == [
        "-- stopped: TimescaleDB (trixie), Azurite on port 11000",
        "   gone: uploaded archives, the records of restores",
        "   kept: databases and their tables",
    ]
    said = after_stop(("the containers of compose.yaml",), loses_archives=True, loses_tables=True)
    assert said.splitlines()[1:] == ["   gone: uploaded archives, the records of restores, databases"]
    assert after_stop((), loses_archives=False, loses_tables=False) == "-- stopped: nothing; nothing ran"
