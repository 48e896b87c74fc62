"""An event about a blob: an archive that a rule names is restored."""

from __future__ import annotations

from shared.arrivals.rules import check_rules
from shared.functions.entry import queue_function
from shared.functions.first_call import archive_arrived

main = queue_function("ArchiveArrived", archive_arrived)
check_rules()
