"""The fixtures of the faults."""

from tests.faults.fix_days import days
from tests.faults.fix_fault_case import brief_fault_case, fault_case
from tests.faults.fix_http_fault import faulty_storage
from tests.faults.fix_jobs import jobs
from tests.faults.fix_own_server import own_database, own_postgres, own_server
from tests.faults.fix_proxy import proxy
from tests.faults.fix_quiet import quiet

__all__ = [
    "brief_fault_case",
    "days",
    "fault_case",
    "faulty_storage",
    "jobs",
    "own_database",
    "own_postgres",
    "own_server",
    "proxy",
    "quiet",
]
