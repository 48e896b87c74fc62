from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.config import load_bench_config
from tools.config import REPOSITORY, ToolError


def test_defaults() -> None:
    config = load_bench_config({})
    assert (config.sizes, config.runs, config.servers) == ((300_000, 1_000_000), 3, ("trixie", "forky"))
    assert (config.cases, config.ways, config.root) == ((), (), REPOSITORY)


def test_all_sizes_and_a_community_server() -> None:
    config = load_bench_config({"BENCH_SIZES": "all", "PG": "forky", "RESTORE_TEST_COMMUNITY_DSN": "host=x"})
    assert config.sizes == (300_000, 1_000_000, 3_000_000, 10_000_000)
    assert config.servers == ("forky", "community")


def test_every_variable() -> None:
    environ = {
        "BENCH_SIZES": " 3, 0.05,3",
        "BENCH_RUNS": "5",
        "BENCH_SERVERS": "given,trixie",
        "RESTORE_TEST_DSN": "host=x",
        "BENCH_CASES": "key, five",
        "BENCH_WAYS": "psql",
        "BENCH_PG_PORT": "1234",
        "BENCH_ROOT": "/tmp",  # noqa: S108 - only named
    }
    config = load_bench_config(environ)
    assert config.sizes == (50_000, 3_000_000)
    assert (config.runs, config.pg_port, config.root) == (5, 1234, Path("/tmp"))  # noqa: S108
    assert (config.servers, config.cases, config.ways) == (("given", "trixie"), ("key", "five"), ("psql",))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("BENCH_SIZES", "many", "BENCH_SIZES=many is no size"),
        ("BENCH_SIZES", "0.0000001", "BENCH_SIZES=0.0000001 is no size"),
        ("BENCH_SIZES", "NaN", "BENCH_SIZES=NaN is no size"),
        ("BENCH_SIZES", "1e9", "BENCH_SIZES=1e9 is no size"),
        ("BENCH_RUNS", "0", "BENCH_RUNS=0 is not a number from 1 to 99"),
        ("BENCH_RUNS", "٣", "BENCH_RUNS=٣ is not a number"),
        ("BENCH_SERVERS", "oracle", "the server oracle of BENCH_SERVERS is not known"),
        ("BENCH_SERVERS", "community", "needs its DSN in RESTORE_TEST_COMMUNITY_DSN"),
        ("PG", "sid", "the server sid of BENCH_SERVERS is not known"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        load_bench_config({name: value})
