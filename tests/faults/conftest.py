"""The fixtures of the faults."""

from tests.faults.fix_days import days
from tests.faults.fix_http_fault import faulty_storage
from tests.faults.fix_own_server import own_database, own_postgres, own_server
from tests.faults.fix_proxy import proxy
from tests.faults.fix_scene import brief_scene, scene

__all__ = [
    "brief_scene",
    "days",
    "faulty_storage",
    "own_database",
    "own_postgres",
    "own_server",
    "proxy",
    "scene",
]
