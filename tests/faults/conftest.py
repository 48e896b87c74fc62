"""The fixtures of the faults."""

from tests.faults.fix_account import account
from tests.faults.fix_backfills import community_many, many
from tests.faults.fix_clock import clock
from tests.faults.fix_days import days
from tests.faults.fix_fault_case import brief_fault_case, fault_case
from tests.faults.fix_http_fault import faulty_storage
from tests.faults.fix_jobs import jobs
from tests.faults.fix_own_server import own_database, own_postgres, own_server
from tests.faults.fix_proxy import proxy
from tests.faults.fix_quiet import quiet
from tests.integration.fix_azure import azure
from tests.integration.fix_identity import managed_identity

__all__ = [
    "account",
    "azure",
    "brief_fault_case",
    "clock",
    "community_many",
    "days",
    "fault_case",
    "faulty_storage",
    "jobs",
    "managed_identity",
    "many",
    "own_database",
    "own_postgres",
    "own_server",
    "proxy",
    "quiet",
]
