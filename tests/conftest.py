"""What every suite has: the servers, the function on them, and the look for what it must not leave."""

from datetime import timedelta

import hypothesis
import pytest

# Theirs are written out when they fail, like those of a test.
pytest.register_assert_rewrite("tests.faults", "tests.fix_contract", "tests.fuzz", "tests.integration")

# Others run beside an example, and the machine may be a small one: this catches a hang, and no slow moment.
hypothesis.settings.register_profile("beside others", deadline=timedelta(seconds=20))
hypothesis.settings.load_profile("beside others")

pytest_plugins = [
    "tests.integration.fix_storage",
    "tests.integration.fix_database",
    "tests.integration.fix_app",
    "tests.faults.fix_aftermath",
]
