"""A message of the queue `restore-requests`: work on the restore that it names."""

from __future__ import annotations

import azure.functions as func

from shared.functions.entry import NO_CONTEXT, join_of, sealed, set_up
from shared.jobs.worker import run_message

set_up()


def main(msg: func.QueueMessage, context: func.Context = NO_CONTEXT) -> None:
    """Work on one message. An error makes the host hand it over again, or move it to the poison queue."""
    sealed("RestoreQueue", lambda: run_message(msg.get_body(), join=join_of(context)))
