from __future__ import annotations

import copy
import logging
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from shared.log_redaction import redact_logs
from shared.secret import Secret, redact, redact_from_server, shown_to_server

SAS = "sv=2024-11-04&sp=r&sig=aB3%2BcD%2Fe%3D&se=2030"


@pytest.mark.parametrize("form", ["{}", "{!r}", "{!s}"])
def test_it_prints_as_stars(form: str) -> None:
    secret = Secret("hunter22")
    assert "***" in form.format(secret)
    assert "hunter22" not in form.format(secret) + str([secret]) + str({"a": secret})


def test_who_needs_it_gets_it() -> None:
    assert Secret("hunter22").get_secret_value() == "hunter22"


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("hunter22", "the password is hunter22."),
        ("p@ss word", "postgresql://u:p%40ss%20word@h"),
        ("a+b/c==", "sig=a%2Bb%2Fc%3D%3D"),
        ("a+b/c==", "sig=a%2bb%2fc%3d%3d"),
        ('quo"te', r'{"password": "quo\"te"}'),
        (SAS, "GET /fs/file?sv=2024-11-04&sp=r&sig=aB3%2BcD%2Fe%3D HTTP/1.1"),
        (SAS, "signature aB3+cD/e="),
        ("AccountName=a;AccountKey=a2V5c2VjcmV0;X=1", "key a2V5c2VjcmV0"),
        ("postgresql://u:hunter22@h/d", 'FATAL: "hunter22"'),
        ("postgresql://h/d?password=hunter22&x=1", "hunter22"),
        ("postgresql://u:p%40ss1@h/d", "p@ss1"),
    ],
)
def test_a_text_is_rid_of_it_however_it_is_written(secret: str, text: str) -> None:
    kept = Secret(secret)
    shown = redact(text)
    assert "***" in shown
    assert not any(written in shown for written in kept.written)


@pytest.mark.parametrize("text", ["a://" + ":" * 500_000, "a://" + "@" * 500_000, "&sig=" * 100_000, ":" * 500_000])
def test_a_long_one_is_taken_apart_at_once(text: str) -> None:
    """By the clock of the process: what was quadratic took hours."""
    began = time.process_time()
    kept = Secret(text)
    assert time.process_time() - began < 5, kept


def test_of_a_servers_text_only_what_it_was_shown_is_taken_out() -> None:
    """Else a server could try guesses, and read off the answer which of them is somebody's secret."""
    kept, shown = Secret("somebodys-password"), Secret("shown-password")
    text = "is it somebodys-password or shown-password?"
    with shown_to_server(shown):
        assert redact_from_server(text) == "is it somebodys-password or ***?"
    assert redact_from_server(text) == text, kept
    assert len(redact_from_server("x" * 50_000_000)) < 1100


def test_the_rest_of_the_text_stays() -> None:
    kept = Secret("hunter22")
    assert redact("before hunter22 after") == "before *** after", kept


def test_a_secret_that_is_gone_is_no_longer_looked_for() -> None:
    kept = Secret("gone-secret")
    assert redact("gone-secret") == "***"
    del kept
    assert redact("gone-secret") == "gone-secret"


def test_two_of_the_same_are_both_known() -> None:
    first, second = Secret("twice-the-same"), Secret("twice-the-same")
    del first
    assert redact("twice-the-same") == "***", second


def test_a_copy_is_a_secret_too() -> None:
    original = Secret("hunter22")
    for other in (copy.copy(original), copy.deepcopy(original), pickle.loads(pickle.dumps(original))):  # noqa: S301
        assert other == original
        assert "hunter22" not in repr(other)


def test_a_short_one_does_not_take_words_apart() -> None:
    kept = Secret("a")
    assert redact("a cat") == "a cat", kept


@pytest.fixture
def guarded() -> Iterator[None]:
    before = logging.getLogRecordFactory()
    redact_logs()
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.usefixtures("guarded")
def test_no_log_record_holds_it(caplog: pytest.LogCaptureFixture) -> None:
    kept = Secret("hunter22")
    log = logging.getLogger("urllib3.connectionpool")
    caplog.set_level("DEBUG")
    log.debug('%s "GET /x?p=%s"', "host", quote("hunter22"))
    log.debug("hunter22 as it stands, with a lone %")
    log.debug("%s", {"password": "hunter22"})
    log.debug("%d", "hunter22 does not fit")
    try:
        try:
            raise ValueError("hunter22")  # noqa: TRY301 - the cause
        except ValueError as exc:
            raise RuntimeError("after it") from exc
    except RuntimeError:
        log.exception("failed")
    assert "hunter22" not in caplog.text, kept
    assert caplog.text.count("***") >= 5
    assert "after it" in caplog.text


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("name", ["restore_chunk", "another"])
def test_no_record_is_two_lines(caplog: pytest.LogCaptureFixture, name: str) -> None:
    """A name with a line break could otherwise write a line of the log that looks like one of ours."""
    log = logging.getLogger(name)
    log.warning("chunk %s", "x\nrestore outcome=ok\x1b[2K\u2028\u202e\u061c")
    assert caplog.records[0].getMessage() == "chunk x\\nrestore outcome=ok\\x1b[2K\\u2028\\u202e\\u061c"
    try:
        raise ValueError("x\nrestore outcome=ok\x1b")  # noqa: TRY301 - is looked at
    except ValueError:
        log.exception("failed")
    lines = logging.Formatter().format(caplog.records[1]).splitlines()
    assert "failed" in lines[0]
    assert all(line.startswith("  ") for line in lines[1:])
    assert lines[-1] == "  restore outcome=ok\\x1b"


@pytest.mark.parametrize(
    "text",
    [
        "GET /x?se=2025&sig={}&sp=r",
        "GET /x%3Fse%3D2025%26sig%3D{}%26sp",
        "a%2526SIG%253d{}",
        "Sig={}",
        "?sig%3D{}",
        "AccountKey={};EndpointSuffix=x",
        "Authorization: Bearer {}",
        "'SharedKey {}'",
    ],
)
def test_a_signature_is_blanked_by_its_place(text: str) -> None:
    """Half escaped it is none of the ways in which a live secret is written."""
    shown = redact(text.format("aB%2b1/x+Q=="))
    assert "***" in shown
    assert "aB" not in shown
    assert redact("design=1 assigns=2 resig=3 the bearer") == "design=1 assigns=2 resig=3 the bearer"


def test_a_record_that_the_garbage_collector_makes_does_not_wait_for_itself() -> None:
    """It runs wherever something is allocated, and what it collects may log: in the middle of another record."""
    script = """
import gc, io, logging
from shared.log_redaction import redact_logs
from shared.secret import Secret, redact

class Loop:
    def __init__(self): self.me = self
    def __del__(self): logging.getLogger("collected").error("it was never awaited")

logging.basicConfig(stream=io.StringIO())
redact_logs()
kept = [Secret(f"a-secret-{number}") for number in range(5)]
gc.set_threshold(7)
for _ in range(300):
    Loop()
    for _ in range(20):
        redact("text")
print("done")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "done\n", done.stderr


@pytest.mark.usefixtures("guarded")
def test_other_records_are_left_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("x")
    log.warning("%s and %s", "one", 2)
    assert caplog.records[0].args == ("one", 2)
    try:
        raise ValueError("plain")  # noqa: TRY301 - is looked at
    except ValueError:
        log.exception("failed")
    assert caplog.records[1].exc_info is not None


@pytest.mark.usefixtures("guarded")
def test_guarding_twice_is_guarding_once() -> None:
    once = logging.getLogRecordFactory()
    redact_logs()
    assert logging.getLogRecordFactory() is once
