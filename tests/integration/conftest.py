"""The fixtures of the integration tests."""

from tests.faults.fix_http_fault import faulty_storage
from tests.faults.fix_jobs import jobs
from tests.integration.fix_azure import azure, lake
from tests.integration.fix_binary import both_ways
from tests.integration.fix_calendar import calendar, community_calendar
from tests.integration.fix_canary import community_watch, watch, watching
from tests.integration.fix_chunk import bare, full
from tests.integration.fix_cli import cli, cli_host, gateway
from tests.integration.fix_compressing_load import compressing_load
from tests.integration.fix_identity import managed_identity
from tests.integration.fix_recorder import recorder
from tests.integration.fix_runbook import faulty_runbook, runbook, shared_host
from tests.integration.fix_telemetry import telemetry
from tests.integration.fix_tls import tls_app, tls_postgres

__all__ = [
    "azure",
    "bare",
    "both_ways",
    "calendar",
    "cli",
    "cli_host",
    "community_calendar",
    "community_watch",
    "compressing_load",
    "faulty_runbook",
    "faulty_storage",
    "full",
    "gateway",
    "jobs",
    "lake",
    "managed_identity",
    "recorder",
    "runbook",
    "shared_host",
    "telemetry",
    "tls_app",
    "tls_postgres",
    "watch",
    "watching",
]
