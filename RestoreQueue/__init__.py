"""A message of the queue `restore-requests`: work on the restore, backfill or group that it names."""

from __future__ import annotations

from shared.functions.entry import queue_function
from shared.functions.first_call import dispatch_message

main = queue_function("RestoreQueue", dispatch_message)
