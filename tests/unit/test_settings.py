from __future__ import annotations

import os
import traceback

import pytest

from shared.errors import ConfigurationError
from shared.process import MIB
from shared.secret import Secret
from shared.settings import LibpqVariables, Settings, load_settings

NUMBERS = (
    "SPOOL_MAX_MEMORY_BYTES",
    "PG_CONNECT_TIMEOUT_SECONDS",
    "PG_LOCK_TIMEOUT_SECONDS",
    "PG_STATEMENT_TIMEOUT_SECONDS",
)


def test_an_empty_environment_gives_the_defaults() -> None:
    assert load_settings({}) == Settings()


def test_an_empty_variable_is_a_missing_one() -> None:
    names = ("ADLS_ACCOUNT_URL_DEFAULT", "ADLS_FILESYSTEM_DEFAULT", "ADLS_CONNECTION_STRING")
    assert load_settings(dict.fromkeys((*names, *NUMBERS), "")) == Settings()


def test_every_variable_reaches_its_setting() -> None:
    settings = load_settings(
        {
            "ADLS_ACCOUNT_URL_DEFAULT": "https://account.dfs.core.windows.net",
            "ADLS_FILESYSTEM_DEFAULT": "fs1",
            "ADLS_CONNECTION_STRING": "UseDevelopmentStorage=true",
            "SPOOL_MAX_MEMORY_BYTES": "1",
            "SPOOL_MAX_ARCHIVE_BYTES": "0",
            "PG_CONNECT_TIMEOUT_SECONDS": "2",
            "PG_LOCK_TIMEOUT_SECONDS": "3",
            "PG_STATEMENT_TIMEOUT_SECONDS": "4",
            "PG_IDLE_SESSION_SECONDS": "0",
            "PG_INDEX_DEFER_MIN_BYTES": "6",
            "PG_INDEX_MEMORY_MIB": "5",
            "PG_INDEX_WORKERS": "0",
            "UNRELATED": "x",
        }
    )
    assert settings == Settings(
        adls_account_url_default="https://account.dfs.core.windows.net",
        adls_filesystem_default="fs1",
        adls_connection_string=Secret("UseDevelopmentStorage=true"),
        spool_max_memory_bytes=1,
        spool_max_archive_bytes=0,
        pg_connect_timeout_seconds=2,
        pg_lock_timeout_seconds=3,
        pg_statement_timeout_seconds=4,
        pg_idle_session_seconds=0,
        pg_index_defer_min_bytes=6,
        pg_index_memory_mib=5,
        pg_index_workers=0,
    )


@pytest.mark.parametrize(
    "name", ["ADLS_ALLOWED_ACCOUNTS", "ALLOWED_TARGETS", "PG_ALLOWED_DATABASES", "PG_ALLOWED_HOSTS"]
)
@pytest.mark.parametrize("value", ["", " ", ",", " , "])
def test_a_list_that_was_emptied_allows_nothing_rather_than_everything(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({name: value})
    assert caught.value.target == name


def test_100_mib_of_memory_by_default() -> None:
    assert load_settings({}).spool_max_memory_bytes == 100 * MIB == 104_857_600


@pytest.mark.parametrize(
    "value", ["0", "-1", "1.5", "1_000", " 5", "5 ", "5\n", "0x10", "\N{ARABIC-INDIC DIGIT FIVE}", "many"]
)
@pytest.mark.parametrize("name", NUMBERS)
def test_a_setting_that_is_not_a_number_is_named_without_its_value(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({name: value})
    assert caught.value.target == name
    assert name in caught.value.message
    assert caught.value.status == 500


def test_a_timeout_of_one_second_is_refused_since_libpq_takes_it_for_two() -> None:
    with pytest.raises(ConfigurationError, match="from 2 to 86400"):
        load_settings({"PG_CONNECT_TIMEOUT_SECONDS": "1"})


@pytest.mark.parametrize("name", ["ADLS_CONNECTION_STRING", "PGPASSWORD"])
def test_a_secret_in_another_encoding_names_its_setting(name: str) -> None:
    value = os.fsdecode(b"hunter2\xe4")
    with pytest.raises(ConfigurationError, match=f"the setting {name} must be text in UTF-8") as caught:
        load_settings({name: value})
    assert caught.value.target == name
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "name",
    [
        *(name.upper() for name in Settings.model_fields if name not in ("libpq", "web_jobs_storage")),
        *("AzureWebJobsStorage", "AzureWebJobsStorage__accountName", "AzureWebJobsStorage__tableServiceUri"),
        *(f"PG{name.upper()}" for name in LibpqVariables.model_fields if name != "others"),
        *("PGCHANNELBINDING", "PGREQUIREAUTH", "PGSSLMINPROTOCOLVERSION", "PGSSLNEGOTIATION", "PGTARGETSESSIONATTRS"),
    ],
)
@pytest.mark.parametrize("value", [b"\xe4", b"a.b,c.\xe4", b"/run/\xe4"])
def test_every_setting_in_another_encoding_goes_by_its_own_name(name: str, value: bytes) -> None:
    with pytest.raises(ConfigurationError, match=f"the setting {name} must be ") as caught:
        load_settings({name: os.fsdecode(value)})
    assert caught.value.target == name


@pytest.mark.parametrize("value", ["0", "1", "86400"])
def test_a_restore_logs_how_far_it_is_as_often_as_the_setting_says(value: str) -> None:
    assert load_settings({"LOG_PROGRESS_SECONDS": value}).log_progress_seconds == int(value)


def test_the_process_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADLS_FILESYSTEM_DEFAULT", "from-the-process")
    assert load_settings().adls_filesystem_default == "from-the-process"


def test_no_secret_in_repr() -> None:
    settings = Settings(adls_connection_string=Secret("AccountKey=hunter2"))
    assert "hunter2" not in f"{settings} {settings!r}"
