"""A message of the queue `restore-requests`: work on the restore, backfill or group that it names."""

from __future__ import annotations

from shared.backfills.worker import dispatch_message
from shared.functions.entry import half_of_function_timeout, queue_function
from shared.process import current_join

main = queue_function(
    "RestoreQueue",
    lambda text: dispatch_message(text, join=current_join(), seconds=half_of_function_timeout()),
)
