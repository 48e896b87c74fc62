"""A message that the host gave up: its restore ends as failed."""

from __future__ import annotations

import azure.functions as func

from shared.functions.entry import NO_CONTEXT, sealed, set_up
from shared.jobs.sweep import end_poisoned

set_up()


def main(msg: func.QueueMessage, context: func.Context = NO_CONTEXT) -> None:
    """End the restore that one message names."""
    sealed("RestorePoison", context, lambda: end_poisoned(msg.get_body()))
