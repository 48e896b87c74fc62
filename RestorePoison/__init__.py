"""A message that the host gave up: its restore ends as failed."""

from __future__ import annotations

import azure.functions as func

from shared.functions.entry import sealed, set_up
from shared.jobs.sweep import end_poisoned

set_up()


def main(msg: func.QueueMessage) -> None:
    """End the restore that one message names."""
    sealed("RestorePoison", lambda: end_poisoned(msg.get_body()))
