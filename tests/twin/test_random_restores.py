"""Random tables, archives and requests, restored and held against PostgreSQL's own COPY and INSERT.

A case depends on its seed and on the server's version and edition alone. Some seeds are always tried. The others are
new in each run: of one that failed the test prints the seed and, made smaller, all that is needed to repeat it by hand.
RESTORE_TEST_SEED=123 tries all cases of a run again, and RESTORE_TEST_SEED=123/45 only one of them.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from shared.log_redaction import OUR_LOGGER
from tests.integration.fix_app import App
from tests.twin.bench import Bench
from tests.twin.reduction import reduced
from tests.twin.twin import NotMadeError

SEED = os.environ.get("RESTORE_TEST_SEED") or str(random.getrandbits(32))
SECONDS = float(os.environ.get("RESTORE_TEST_SECONDS", "60"))
FIXED = tuple(f"1/{number}" for number in range(10))
# So much time to make a failing case smaller.
REDUCTION_SECONDS = 120

Record: TypeAlias = Callable[[str, object], None]

pytestmark = pytest.mark.timeout(SECONDS + 2 * REDUCTION_SECONDS)


def seeds() -> Iterator[str]:
    """Yield the one case that was asked for; or those that are always tried, and then others without an end."""
    if "/" in SEED:
        yield SEED
        return
    yield from FIXED
    number = 0
    while True:
        yield f"{SEED}/{number}"
        number += 1


def run(bench: Bench) -> None:
    """Check cases until the time is up, and fail with the first one that is wrong, made smaller."""
    end = time.monotonic() + SECONDS
    for seed in seeds():
        if time.monotonic() > end:
            break
        case = bench.case(seed)
        try:
            bench.check(case)
        except NotMadeError:
            bench.seen["not made"] += 1
        except Exception as exc:
            smaller = reduced(case, bench.fails, seconds=REDUCTION_SECONDS)
            raise AssertionError(
                f"RESTORE_TEST_SEED={seed}: {type(exc).__name__}: {exc}\n\nsmaller:\n{smaller}\n"
            ) from exc
        bench.seen["cases"] += 1
    # Most tables can be made, or the test would show nothing.
    assert bench.seen["not made"] <= bench.seen["cases"] or "/" in SEED, bench.seen


@pytest.fixture
def bench(app: App, record_property: Record, caplog: pytest.LogCaptureFixture) -> Iterator[Bench]:
    yield from _bench(app, record_property, caplog)


@pytest.fixture
def community_bench(community_app: App, record_property: Record, caplog: pytest.LogCaptureFixture) -> Iterator[Bench]:
    yield from _bench(community_app, record_property, caplog)


def _bench(app: App, record_property: Record, caplog: pytest.LogCaptureFixture) -> Iterator[Bench]:
    # The lines of hundreds of restores would hide the failure.
    caplog.set_level(logging.CRITICAL, OUR_LOGGER)
    bench = Bench(app)
    yield bench
    bench.close()
    record_property("to_print", f"RESTORE_TEST_SEED={SEED}: {dict(bench.seen.most_common())}")


def test_a_restore_is_what_copy_and_insert_make_of_it(bench: Bench) -> None:
    run(bench)


@pytest.mark.community
def test_the_same_holds_for_compressed_chunks(community_bench: Bench) -> None:
    run(community_bench)
