"""A message that the host gave up: its restore ends as failed."""

from __future__ import annotations

from shared.functions.entry import queue_function
from shared.functions.first_call import end_poisoned

main = queue_function("RestorePoison", end_poisoned)
