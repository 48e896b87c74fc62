"""A message of the queue `restore-requests`: work on the restore, backfill or group that it names."""

from __future__ import annotations

import azure.functions as func

from shared.backfills.worker import dispatch_message
from shared.functions.entry import NO_CONTEXT, half_of_function_timeout, join_of, sealed, set_up

set_up()


def main(msg: func.QueueMessage, context: func.Context = NO_CONTEXT) -> None:
    """Work on one message. An error makes the host hand it over again, or move it to the poison queue."""
    seconds = half_of_function_timeout()
    sealed("RestoreQueue", context, lambda: dispatch_message(msg.get_body(), join=join_of(context), seconds=seconds))
