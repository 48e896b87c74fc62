"""`make audit`, by the real pip-audit, against an advisory service on this machine that has OSV's API."""

from __future__ import annotations

import io
import json
import re
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from tools.audit import LOCK, main, pins

ROOT = Path(__file__).resolve().parents[3]
VULNERABILITY = {
    "id": "PYSEC-1",
    "aliases": [],
    "details": "bad",
    "affected": [{"package": {"name": "left", "ecosystem": "PyPI"}}],
}
LEFT_AND_RIGHT = (
    "left==1.0 ; python_version < '3.12' \\\n    --hash=sha256:00\nleft==2.0\nright==1.0 \\\n    --hash=sha256:11\n"
)


class Service(ThreadingHTTPServer):
    """Knows of the vulnerabilities that a test gives it; `is_down` answers 503."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.vulnerabilities: dict[tuple[str, str], list[object]] = {}
        self.is_down = False
        self.asked: list[tuple[str, str]] = []

    @property
    def arguments(self) -> list[str]:
        return ["--vulnerability-service", "osv", "--osv-url", f"http://127.0.0.1:{self.server_port}/v1/query"]


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        package = query["package"]["name"], query["version"]
        self.server.asked.append(package)
        vulnerabilities = self.server.vulnerabilities.get(package)
        body = json.dumps({} if vulnerabilities is None else {"vulns": vulnerabilities}).encode()
        self.send_response(503 if self.server.is_down else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Service]:
    # pip-audit keeps answers.
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("AUDIT", raising=False)
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "some.lock"
    path.write_text(LEFT_AND_RIGHT)
    return path


def test_every_version_is_asked_for_whatever_python_it_is_for(
    service: Service, lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(service.arguments, lock) == 0
    assert sorted(service.asked) == [("left", "1.0"), ("left", "2.0"), ("right", "1.0")]
    assert capsys.readouterr().out == "audit: 3 packages, no known vulnerability\n"


def test_a_known_vulnerability_fails(service: Service, lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    service.vulnerabilities["left", "2.0"] = [VULNERABILITY]
    assert main(service.arguments, lock) == 1
    assert capsys.readouterr().out == "audit: left 2.0: PYSEC-1, fixed in -\n"


@pytest.mark.parametrize(("strict", "code"), [(False, 0), (True, 1)])
def test_a_service_that_is_down_is_a_loud_warning(
    service: Service,
    lock: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    strict: bool,
    code: int,
) -> None:
    service.is_down = True
    if strict:
        monkeypatch.setenv("AUDIT", "strict")
    assert main(service.arguments, lock) == code
    said = capsys.readouterr()
    assert "some.lock WAS NOT AUDITED" in said.err
    assert "no known vulnerability" not in said.out


@pytest.fixture
def pypi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A proxy that is PyPI itself, as far as a package of the name `left` goes."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("pypi.org").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), type("PyPI", (PyPIHandler,), {"context": context})) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        yield
        server.shutdown()
        thread.join()


class PyPIHandler(BaseHTTPRequestHandler):
    context: ssl.SSLContext

    def do_CONNECT(self) -> None:
        self.send_response(200)
        self.end_headers()
        with self.context.wrap_socket(self.connection, server_side=True) as inside:
            self.rfile, self.wfile = inside.makefile("rb"), inside.makefile("wb")
            self.handle_one_request()
            self.rfile.close()
            self.wfile.close()
        self.rfile, self.wfile = io.BytesIO(), io.BytesIO()
        self.close_connection = True

    def do_GET(self) -> None:
        body = b'{"vulnerabilities": []}'
        self.send_response(200 if self.path.startswith("/pypi/left/") else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.usefixtures("service", "pypi")
def test_a_package_that_nobody_knows_was_not_audited(lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To pip-audit alone it is clean."""
    by_pypi = ["--vulnerability-service", "pypi"]
    assert main(by_pypi, lock) == 0
    assert "it does not know 1 of 2 packages\nWARNING: " in capsys.readouterr().err
    lock.write_text("left==1.0\n")
    assert main(by_pypi, lock) == 0
    assert capsys.readouterr().out == "audit: 1 packages, no known vulnerability\n"


def test_the_projects_own_lock_is_read_whole() -> None:
    lines = re.findall(r"^[a-zA-Z].*==", (ROOT / LOCK).read_text(), re.MULTILINE)
    assert len(pins((ROOT / LOCK).read_text())) == len(lines) > 50
