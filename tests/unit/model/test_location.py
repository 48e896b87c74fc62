from __future__ import annotations

import datetime as dt
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigurationError, InvalidArchiveUrl, RestoreError, StorageHostNotAllowed
from shared.identity import CHINA, GOVERNMENT, PUBLIC, Cloud
from shared.model.location import ArchiveLocation, StorageHost, parse_adls_url

FILE = "silver.telemetry.2025-01-01.csv.gz"
PATH = f"backups/weavix/{FILE}"
ACCOUNT_URL = "https://account.dfs.core.windows.net"
LOCATION = ArchiveLocation(
    host=StorageHost("account", PUBLIC),
    filesystem="fs1",
    path=PATH,
    database="weavix",
    schema="silver",
    table="telemetry",
    day=dt.date(2025, 1, 1),
)


def bare(path: str) -> ArchiveLocation:
    return parse_adls_url(path, default_account_url=ACCOUNT_URL, default_filesystem="fs1")


def fault(text: str) -> RestoreError:
    with pytest.raises(RestoreError) as caught:
        bare(text)
    return caught.value


# --- forms ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"abfss://fs1@account.dfs.core.windows.net/{PATH}",
        f"abfss://fs1@account.blob.core.windows.net/{PATH}",
        f"abfs://fs1@account.dfs.core.windows.net/{PATH}",
        f"ABFSS://fs1@Account.DFS.core.Windows.net/{PATH}",
        f"abfss://fs1@account.dfs.core.windows.net:443/{PATH}",
        f"https://account.dfs.core.windows.net/fs1/{PATH}",
        f"https://account.blob.core.windows.net/fs1/{PATH}",
        f"HTTPS://ACCOUNT.blob.core.windows.net/fs1/{PATH}",
        f"https://account.blob.core.windows.net/%66s1%2Fbackups/weavix/{FILE}",
        f"abfss://%66s1@account.dfs.core.windows.net/{PATH}",
        PATH,
        f"/{PATH}",
        PATH.replace("silver", "%73ilver"),
    ],
)
def test_every_form_names_the_same_archive(text: str) -> None:
    assert bare(text) == LOCATION


def test_the_canonical_url_is_abfss() -> None:
    assert LOCATION.url == f"abfss://fs1@account.dfs.core.windows.net/{PATH}"


def test_a_dns_zone_endpoint_keeps_its_zone() -> None:
    location = parse_adls_url(f"https://account.z07.blob.storage.azure.net/fs1/{PATH}")
    assert location.account == "account"
    assert location.account_url == "https://account.z07.dfs.storage.azure.net"
    assert location.url == f"abfss://fs1@account.z07.dfs.storage.azure.net/{PATH}"


@pytest.mark.parametrize("service", ["dfs", "blob"])
@pytest.mark.parametrize(
    ("suffix", "cloud"),
    [("core.windows.net", PUBLIC), ("core.usgovcloudapi.net", GOVERNMENT), ("core.chinacloudapi.cn", CHINA)],
)
def test_the_host_tells_the_cloud(suffix: str, cloud: Cloud, service: str) -> None:
    for text in (f"https://Account.{service}.{suffix}/fs1/{PATH}", f"abfss://fs1@account.{service}.{suffix}/{PATH}"):
        location = bare(text)
        assert location.host == StorageHost("account", cloud)
        assert location.account_url == f"https://account.dfs.{suffix}"
        assert location.url == f"abfss://fs1@account.dfs.{suffix}/{PATH}"
        assert parse_adls_url(location.url) == location


def test_the_default_account_may_be_in_another_cloud() -> None:
    url = "https://account.dfs.core.chinacloudapi.cn"
    assert parse_adls_url(PATH, default_account_url=url, default_filesystem="fs1").host.cloud == CHINA


def test_accounts_of_one_name_in_different_places_are_different() -> None:
    suffixes = ["dfs.core.windows.net", "dfs.core.usgovcloudapi.net", "dfs.core.chinacloudapi.cn"]
    zones = ["z07.dfs.storage.azure.net", "z08.dfs.storage.azure.net"]
    assert len({bare(f"https://account.{host}/fs1/{PATH}") for host in (*suffixes, *zones)}) == 5


@pytest.mark.parametrize("name", ["$root", "$web", "a1b", "a-b-c", "0" * 63])
def test_file_system_names_of_azure_are_taken(name: str) -> None:
    assert parse_adls_url(f"https://account.dfs.core.windows.net/{name}/{PATH}").filesystem == name


@pytest.mark.parametrize("name", ["ab", "a" * 64, "a--b", "-ab", "ab-", "Abc", "a_b", "a.b", "$logs", "", "fs:pw"])
def test_other_file_system_names_are_refused(name: str) -> None:
    for text in (
        f"https://account.dfs.core.windows.net/{name}/{PATH}",
        f"abfss://{name}@account.dfs.core.windows.net/{PATH}",
    ):
        with pytest.raises(InvalidArchiveUrl, match="file system"):
            parse_adls_url(text)


# --- hosts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "account.dfs.core.windows.net.evil.example",
        "account.dfs.core.windows.net@evil.example",
        "user:hunter2@account.dfs.core.windows.net",
        "evil.example",
        "evil.example:443",
        "account.dfs.core.windows.net.",
        "account.dfs.core.windows.net:80",
        "account.dfs.core.windows.net:443:443",
        "account.dfs.core.windows.net:0443",
        "account.dfs.core.windows.net:",
        "account.dfs.core.windowsxnet",
        "account.dfs.core.windows.net%2eevil.example",
        "%61ccount.dfs.core.windows.net",
        "account%2edfs.core.windows.net",
        "sub.account.dfs.core.windows.net",
        "ac-count.dfs.core.windows.net",
        "ac.dfs.core.windows.net",
        f"{'a' * 25}.dfs.core.windows.net",
        ".dfs.core.windows.net",
        "account.file.core.windows.net",
        "account.dfs.core.chinacloudapi.cn.evil.example",
        "account.dfs.core.usgovcloudapi.net.evil.example",
        "account.dfs.core.usgovcloudapi.com",
        "account.dfs.core.usgovcloudapixnet",
        "account.dfs.core.chinacloudapi.cn.",
        "account.dfs.core.windows.net..",
        "account.dfs.core.cloudapi.de",
        "account.z01.dfs.core.usgovcloudapi.net",
        "account.z01.dfs.storage.usgovcloudapi.net",
        "evil@account.dfs.core.windows.net",
        "account.dfs.core.windows.net%40evil.example",
        "account.dfs.core.windows.net%2f.evil.example",
        "account.dfs.core.windows.net%00.evil.example",
        "account.z1.dfs.storage.azure.net",
        "account.z123.dfs.storage.azure.net",
        "account.dfs.storage.azure.net",
        "account.z01.dfs.core.windows.net",
        "127.0.0.1",
        "[::1]",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1:443",
        "[::ffff:127.0.0.1]:443",
        "[fe80::1%25eth0]",
        "localhost",
        "169.254.169.254",
        "",
        " account.dfs.core.windows.net",
        "account.dfs.core.windows.net ",
        "account .dfs.core.windows.net",
        "acc\N{CYRILLIC SMALL LETTER O}unt.dfs.core.windows.net",
        "account.dfs.core.windows\N{IDEOGRAPHIC FULL STOP}net",
        "account.dfs.core.windows\N{FULLWIDTH FULL STOP}net",
        "account.dfs.core.windows\N{HALFWIDTH IDEOGRAPHIC FULL STOP}net",
        "account.dfs.core.windows.net\N{FULLWIDTH SOLIDUS}",
        "\N{FULLWIDTH LATIN SMALL LETTER A}ccount.dfs.core.windows.net",
        "account.dfs.core.w\N{LATIN SMALL LETTER DOTLESS I}ndows.net",
        "acco\N{SOFT HYPHEN}unt.dfs.core.windows.net",
        "account.dfs.core.windows.net\N{ZERO WIDTH SPACE}",
        "bloc\N{KELVIN SIGN}.blob.core.windows.net",
        "account\N{ARABIC-INDIC DIGIT ONE}.dfs.core.windows.net",
    ],
)
def test_only_an_exact_storage_host_gets_a_token(host: str) -> None:
    for text in (f"https://{host}/fs1/{PATH}", f"abfss://fs1@{host}/{PATH}"):
        error = fault(text)
        assert isinstance(error, StorageHostNotAllowed)
        assert "hunter2" not in f"{error} {error.hint}"


@pytest.mark.parametrize(
    "text",
    [
        f"https:\\\\account.dfs.core.windows.net\\fs1\\{FILE}",
        f"https://account.dfs.core.windows.net\\@evil.example/fs1/{PATH}",
        f"https://evil.example\\.dfs.core.windows.net/fs1/{PATH}",
        f"https://evil.example\\@account.dfs.core.windows.net/fs1/{PATH}",
        f"abfss://fs1@evil.example\\@account.dfs.core.windows.net/{PATH}",
        f"https://account.dfs.core.windows.net\t/fs1/{PATH}",
        f"https://account.dfs.core.windows.net\r\n/fs1/{PATH}",
        f"ht\ttps://account.dfs.core.windows.net/fs1/{PATH}",
        f"abfss://fs1@\taccount.dfs.core.windows.net/{PATH}",
        f"abfss://fs1@evil.example\n@account.dfs.core.windows.net/{PATH}",
        f"https:\t//account.dfs.core.windows.net/fs1/{PATH}",
        f"https:/\n/account.dfs.core.windows.net/fs1/{PATH}",
        f"https://account.dfs.core.\nwindows.net/fs1/{PATH}",
        f"https://account.dfs.core.windows.net\0/fs1/{PATH}",
        f"http://account.dfs.core.windows.net/fs1/{PATH}",
        f"wasbs://fs1@account.blob.core.windows.net/{PATH}",
        f"file:///fs1/{PATH}",
        f"://account.dfs.core.windows.net/fs1/{PATH}",
        f" https://account.dfs.core.windows.net/fs1/{PATH}",
        f"abfss://account.dfs.core.windows.net/fs1/{PATH}",
        f"abfss:/fs1@account.dfs.core.windows.net//{PATH}",
        "abfss://fs1@account.dfs.core.windows.net",
        "https://account.dfs.core.windows.net/fs1",
        "",
        "/",
    ],
)
def test_what_only_looks_like_a_url_is_refused(text: str) -> None:
    assert isinstance(fault(text), InvalidArchiveUrl)


FORMS = [f"https://account.dfs.core.windows.net/fs1/{PATH}", f"abfss://fs1@account.blob.core.windows.net/{PATH}", PATH]


@pytest.mark.parametrize("form", FORMS)
def test_a_sas_comes_off_every_form_and_shows_nowhere(form: str) -> None:
    sas = "sv=2024-11-04&sr=b&sp=r&se=2099-01-01T00%3A00%3A00Z&sig=hunter2%2Bx%3D"
    location = bare(f"{form}?{sas}")
    assert location.sas is not None
    assert location.sas.get_secret_value() == sas
    # Which file it is does not depend on who may read it.
    assert location == LOCATION
    assert location.url == LOCATION.url
    assert "hunter2" not in f"{location!r} {location} {location.url} {location.account_url} {location.sas!r}"


@pytest.mark.parametrize("form", FORMS)
def test_without_a_query_there_is_no_sas(form: str) -> None:
    assert bare(form).sas is None


@pytest.mark.parametrize("suffix", ["?snapshot=hunter2", "?sv=2024&sig=hunter2#x", "#hunter2", "?", "#"])
@pytest.mark.parametrize("start", ["https://evil.example/", "abfss://fs1@account.dfs.core.windows.net/", ""])
def test_another_query_is_refused_and_never_repeated(start: str, suffix: str) -> None:
    error = fault(f"{start}{PATH}{suffix}")
    assert isinstance(error, InvalidArchiveUrl)
    assert ("fragment" if "#" in suffix else "query") in error.message
    assert "hunter2" not in f"{error} {error.hint} {error.__cause__}"


@pytest.mark.parametrize(
    "text",
    [
        f"https://evil.example/fs1/{PATH}?sv=2024&sig=hunter2",
        "https://account.dfs.core.windows.net/fs1/db/s.t.2025-02-30.csv.gz?sv=2024&sig=hunter2",
        f"ftp://account.dfs.core.windows.net/fs1/{PATH}?sv=2024&sig=hunter2",
        f"https://account.dfs.core.windows.net?sv=2024&sig=hunter2@evil.example/fs1/{PATH}",
        "https://account.dfs.core.windows.net?sv=2024&sig=hunter2",
    ],
)
def test_what_else_is_wrong_with_a_url_does_not_repeat_its_sas(text: str) -> None:
    error = fault(text)
    assert isinstance(error, (InvalidArchiveUrl, StorageHostNotAllowed))
    assert "hunter2" not in f"{error} {error.hint} {error.__cause__}"


# --- bare paths and the settings behind them -------------------------------------------------------------------


@pytest.mark.parametrize(("account_url", "filesystem"), [(None, "fs1"), (ACCOUNT_URL, None), (None, None), ("", "")])
def test_a_bare_path_without_defaults_names_the_settings(account_url: str | None, filesystem: str | None) -> None:
    with pytest.raises(InvalidArchiveUrl) as caught:
        parse_adls_url(PATH, default_account_url=account_url, default_filesystem=filesystem)
    assert caught.value.target == "adls_url"
    assert "ADLS_ACCOUNT_URL_DEFAULT" in (caught.value.hint or "")
    assert "ADLS_FILESYSTEM_DEFAULT" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "url", ["account", "http://account.dfs.core.windows.net", "https://evil.example", f"{ACCOUNT_URL}/fs1"]
)
def test_a_broken_default_account_is_our_configuration(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_adls_url(PATH, default_account_url=url, default_filesystem="fs1")
    assert caught.value.target == "ADLS_ACCOUNT_URL_DEFAULT"


def test_a_broken_default_file_system_is_our_configuration() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_adls_url(PATH, default_account_url=ACCOUNT_URL, default_filesystem="FS/x")
    assert caught.value.target == "ADLS_FILESYSTEM_DEFAULT"


def test_the_default_account_may_end_with_a_slash() -> None:
    assert parse_adls_url(PATH, default_account_url=f"{ACCOUNT_URL}/", default_filesystem="fs1") == LOCATION


# --- layouts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "database", "schema", "table"),
    [
        ("backups/weavix/silver.pttreceive2.2025-01-01.csv.gz", "weavix", "silver", "pttreceive2"),
        ("backups/weavix/silver/pttreceive2.2025-01-01.csv.gz", "weavix", "silver", "pttreceive2"),
        ("weavix/silver.t.2025-01-01.csv.gz", "weavix", "silver", "t"),
        ("weavix/silver/t.2025-01-01.csv.gz", "weavix", "silver", "t"),
        ("db/s.t.with.dots.2025-01-01.csv.gz", "db", "s", "t.with.dots"),
        ("db/s.2024-12-31.2025-01-01.csv.gz", "db", "s", "2024-12-31"),
        ('my db/My Schema.it\'s "T".2025-01-01.csv.gz', "my db", "My Schema", 'it\'s "T"'),
        ("d%C3%BC/%25.%2e%2E.2025-01-01.csv.gz", "dü", "%", ".."),
        ("a%2Fdb/s%5C.t.2025-01-01.csv.gz", "db", "s\\", "t"),
    ],
)
def test_both_layouts(path: str, database: str, schema: str, table: str) -> None:
    location = bare(path)
    assert (location.database, location.schema, location.table) == (database, schema, table)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("db/s.t.2025-02-30.csv.gz", "the date 2025-02-30 in adls_url does not exist"),
        ("db/s.t.2025-13-01.csv.gz", "the date 2025-13-01 in adls_url does not exist"),
        ("db/s.t.0000-01-01.csv.gz", "the date 0000-01-01 in adls_url does not exist"),
        (
            "db/s.t.9999-12-31.csv.gz",
            "the date 9999-12-31 in adls_url is out of range: its end is beyond the last date that can be represented",
        ),
        ("s.t.2025-01-01.csv.gz", "the path in adls_url names no database"),
        ("s/t.2025-01-01.csv.gz", "the path in adls_url names no database"),
        ("t.2025-01-01.csv.gz", "the path in adls_url names no database"),
        ("db/.t.2025-01-01.csv.gz", "the path in adls_url names no schema"),
        ("db/s..2025-01-01.csv.gz", "the path in adls_url names no table"),
        ("db/s.t.2025-01-01.csv", "the file name in adls_url must end with .<YYYY-MM-DD>.csv.gz"),
        ("db/s.t.2025-1-01.csv.gz", "the file name in adls_url must end with .<YYYY-MM-DD>.csv.gz"),
        ("db/s.t.20250101.csv.gz", "the file name in adls_url must end with .<YYYY-MM-DD>.csv.gz"),
        ("db/s.t.2025-01-01.csv.gz ", "the file name in adls_url must end with .<YYYY-MM-DD>.csv.gz"),
        ("db/s.t.2025-01-01xcsv.gz", "the file name in adls_url must end with .<YYYY-MM-DD>.csv.gz"),
        ("db/.2025-01-01.csv.gz", "the file name in adls_url must end with .<YYYY-MM-DD>.csv.gz"),
        (
            "db/s.t.\N{ARABIC-INDIC DIGIT TWO}025-01-01.csv.gz",
            "the file name in adls_url must end with .<YYYY-MM-DD>.csv.gz",
        ),
        ("db//s.t.2025-01-01.csv.gz", 'the path in adls_url has a segment that is empty, "." or ".."'),
        ("//db/s.t.2025-01-01.csv.gz", 'the path in adls_url has a segment that is empty, "." or ".."'),
        ("db/../s.t.2025-01-01.csv.gz", 'the path in adls_url has a segment that is empty, "." or ".."'),
        ("x/%2e%2E/s.t.2025-01-01.csv.gz", 'the path in adls_url has a segment that is empty, "." or ".."'),
        ("x%2F..%2Fdb/s.t.2025-01-01.csv.gz", 'the path in adls_url has a segment that is empty, "." or ".."'),
        ("./db/s.t.2025-01-01.csv.gz", 'the path in adls_url has a segment that is empty, "." or ".."'),
        ("db/s.t.2025-01-01.csv.gz/", 'the path in adls_url has a segment that is empty, "." or ".."'),
        ("db/s.%.2025-01-01.csv.gz", "adls_url holds a % that is not followed by two hexadecimal digits"),
        ("db/s.%zz.2025-01-01.csv.gz", "adls_url holds a % that is not followed by two hexadecimal digits"),
        ("db/s.%ff.2025-01-01.csv.gz", "adls_url is not UTF-8"),
        ("db/s.\ud800.2025-01-01.csv.gz", "adls_url is not UTF-8"),
        ("db/s.%00.2025-01-01.csv.gz", "adls_url must hold no control character"),
        ("db/s.%0A.2025-01-01.csv.gz", "adls_url must hold no control character"),
        ("db/s.%C2%85.2025-01-01.csv.gz", "adls_url must hold no control character"),
        ("db/s.a\\b.2025-01-01.csv.gz", "adls_url must not hold a backslash"),
        (f"{'a/' * 510}s.t.2025-01-01.csv.gz", "the path in adls_url is longer than 1024 characters"),
        (
            f"db/s.{'ü' * 32}.2025-01-01.csv.gz",
            "the table in adls_url has 64 bytes, more than the 63 of a PostgreSQL name",
        ),
        (
            f"db/{'s' * 64}/t.2025-01-01.csv.gz",
            "the schema in adls_url has 64 bytes, more than the 63 of a PostgreSQL name",
        ),
        (
            f"{'d' * 64}/s.t.2025-01-01.csv.gz",
            "the database in adls_url has 64 bytes, more than the 63 of a PostgreSQL name",
        ),
    ],
)
def test_a_path_that_is_neither_layout_says_why(path: str, message: str) -> None:
    error = fault(path)
    assert isinstance(error, InvalidArchiveUrl)
    assert error.message == message


def test_63_bytes_are_not_too_long() -> None:
    assert bare(f"db/s.{'ü' * 31}x.2025-01-01.csv.gz").table == "ü" * 31 + "x"


# --- properties ------------------------------------------------------------------------------------------------

names = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1, max_size=15).filter(
    lambda name: name not in {".", ".."}
)
days = st.dates(max_value=dt.date(9999, 12, 30))


@given(folders=st.lists(names, max_size=3), database=names, schema=names, table=names, day=days, apart=st.booleans())
def test_hostile_names_survive_the_way_there_and_back(
    folders: list[str], database: str, schema: str, table: str, day: dt.date, *, apart: bool
) -> None:
    schema = schema if apart else schema.replace(".", "_")
    table = table.replace(".", "_") if apart else table
    path = "/".join([*folders, database, f"{schema}{'/' if apart else '.'}{table}.{day.isoformat()}.csv.gz"])
    location = parse_adls_url(f"https://account.dfs.core.windows.net/fs1/{quote(path)}")
    assert (location.database, location.schema, location.table) == (database, schema, table)
    assert location.day == day
    assert location.path == path
    assert parse_adls_url(location.url) == location
    assert location.url.isascii()
    assert bare(quote(path)) == location


url_text = st.text() | st.lists(
    st.sampled_from(
        ["abfss://", "https://", "fs1", "@", "account", ".dfs.core.windows.net", "/", "%2f", "%", "?", "#", "..", ".",
         "db", "s.t", ".2025-01-01", ".csv.gz", ":", "443", "\\", " ", "\0", "é", "://", "sv=1&sig=x"]
    ),
    max_size=14,
).map("".join)  # fmt: skip


@given(text=url_text, account_url=st.none() | st.just(ACCOUNT_URL) | url_text, filesystem=st.none() | url_text)
def test_any_text_gives_a_location_or_an_error_of_ours(
    text: str, account_url: str | None, filesystem: str | None
) -> None:
    try:
        location = parse_adls_url(text, default_account_url=account_url, default_filesystem=filesystem)
    except RestoreError:
        return
    assert location.account_url == ACCOUNT_URL
    assert parse_adls_url(location.url) == location
    assert "?" not in location.url
