pytest_plugins = [
    "tests.integration.fix_storage",
    "tests.integration.fix_database",
    "tests.integration.fix_site",
    "tests.faults.fix_aftermath",
    "tests.faults.fix_http_fault",
    "tests.faults.fix_days",
    "tests.fuzz.fix_fuzz",
    "tests.faults.fix_proxy",
    "tests.faults.fix_scene",
    "tests.faults.fix_own_server",
]
