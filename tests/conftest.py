pytest_plugins = ["tests.integration.fix_storage", "tests.integration.fix_database", "tests.integration.fix_site"]
