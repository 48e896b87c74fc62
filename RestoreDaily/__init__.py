"""Every day: what is archived and not restored is restored, as far as the rules look back."""

from __future__ import annotations

from shared.functions.entry import timer_function
from shared.functions.first_call import restore_daily

main = timer_function("RestoreDaily", restore_daily)
