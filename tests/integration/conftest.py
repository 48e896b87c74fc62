"""The fixtures of the integration tests."""

from tests.integration.fix_azure import azure, lake
from tests.integration.fix_binary import both_ways
from tests.integration.fix_chunk import bare, full
from tests.integration.fix_compressing_load import compressing_load
from tests.integration.fix_identity import managed_identity
from tests.integration.fix_tls import tls_app, tls_postgres

__all__ = [
    "azure",
    "bare",
    "both_ways",
    "compressing_load",
    "full",
    "lake",
    "managed_identity",
    "tls_app",
    "tls_postgres",
]
