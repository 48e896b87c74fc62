"""What every suite has: the servers, the function on them, and the look for what it must not leave."""

import gc
from datetime import timedelta

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.pairs import without_products

# Theirs are written out when they fail, like those of a test.
pytest.register_assert_rewrite("tests.browser", "tests.faults", "tests.fix_contract", "tests.fuzz", "tests.integration")

# Others run beside an example, and the machine may be a small one: this catches a hang, and no slow moment.
hypothesis.settings.register_profile("beside others", deadline=timedelta(seconds=20))
hypothesis.settings.load_profile("beside others")

pytest_plugins = [
    "tests.integration.fix_storage",
    "tests.integration.fix_database",
    "tests.integration.fix_app",
    "tests.faults.fix_aftermath",
]

# The other suites run in one stage of .ci/run alone, and in full.
ON_BOTH_SERVERS = ("tests/faults/", "tests/integration/")

# What takes seconds to make and is made once for all tests of a file, or has a name on the server: one worker runs all
# of them, one after the other. All other tests go one by one to the next worker that is free.
TOGETHER = {
    "test_bench.py": "the database of the benchmarks",
    "test_entra.py": "a server with TLS",
    "test_gzip_bomb.py": "a large archive",
    "test_hostile_connections.py": "names of roles and databases",
    "test_serve.py": "the database of the demo",
    "test_tls.py": "a server with TLS",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pairs",
        action="store_true",
        help="of a test of a server with several parameters, run each pair of values and not each mixture",
    )


# After -m and -k, which may leave out a case that was chosen.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("pairs"):
        left_out = without_products([item for item in items if item.nodeid.startswith(ON_BOTH_SERVERS)])
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
        items[:] = [item for item in items if item.nodeid not in left_out]


def pytest_collection_finish() -> None:
    """Let no garbage collection look through the collected tests again: it takes 0.2 s, and some tests ask for one."""
    gc.collect()
    gc.freeze()


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # It has no types.
    """Not pytest-xdist's own marks of a group (`loadgroup`): 3.8.0 does not see them under pytest 9.2."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0].rpartition("/")[2]
        return TOGETHER.get(file, nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have recorded for a person, whichever worker ran them."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "teardown":
                for name, text in report.user_properties:
                    if name == "to_print":
                        terminalreporter.write_line(f"{report.location[2]}: {text}")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return Scheduling(config, log)
