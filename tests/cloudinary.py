"""A local server that answers as Cloudinary's API is published to, and checks what it is sent.

Shapes: the Upload API and Admin API references and "Generating authentication signatures", as of
November 2026; what stays of a deleted file that is in the backup: the tests of Cloudinary's own
Python client. Only the calls that we make, for raw files. What is published is all that it knows:
it shows that we keep to that, not that the service does.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from python_multipart.multipart import File, parse_form

from app.services.cloudinary import Account

CLOUD = "demo-cloud"
KEY = "the-key-of-the-tests"
SECRET = "the secret of the tests"

_UNSIGNED = {"file", "cloud_name", "resource_type", "api_key", "signature"}


@dataclass
class Asset:
    data: bytes
    version: int
    number: int
    placeholder: bool = False


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message


@dataclass
class Cloudinary:
    """say: what the next requests are answered with, whatever they ask; an empty body hangs up.

    backup: None does as each upload asks, True keeps what was deleted whatever it asks.
    before: called with the method and path of each request, when it has arrived whole.
    at_once: files that one deletion takes. pauses_s: between pieces of a download.
    """

    url: str = ""
    say: list[tuple[int, str]] = field(default_factory=list)
    backup: bool | None = None
    before: Callable[[str, str], object] = lambda _method, _path: None
    at_once: int = 1000
    pause_s: float = 0.0
    assets: dict[tuple[str, str], Asset] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)
    made: int = 0

    @property
    def account(self) -> Account:
        return Account(key=KEY, secret=SECRET, api_url=self.url)

    def environment(self, prefix: str = "") -> dict[str, Any]:
        """The settings of an installation that keeps its pictures here."""
        return {
            "storage": f"cloudinary://{CLOUD}/{prefix}",
            "storage_timeout": 2,
            "cloudinary_api_url": self.url,
            "cloudinary_api_key": KEY,
            "cloudinary_api_secret": SECRET,
        }

    def answer(
        self, method: str, path: str, form: Mapping[str, str], file: bytes | None, login: str | None
    ) -> tuple[int, bytes]:
        """Raises Refused."""
        root = f"/v1_1/{CLOUD}/"
        if not path.startswith(root):
            raise Refused(401, "Invalid cloud_name")
        action = path.removeprefix(root)
        if action.startswith("resources/raw/"):
            expected = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
            if login != f"Basic {expected}":
                raise Refused(401, "Invalid credentials")
            _, _, kind, *rest = action.split("/", 3)
            return 200, json.dumps(self._administer(method, kind, rest, form)).encode()
        check_signature(form)
        match method, action:
            case "POST", "raw/upload":
                return 200, json.dumps(self._upload(form, file)).encode()
            case "POST", "raw/destroy":
                return 200, json.dumps(self._destroy(form)).encode()
            case "GET", "raw/download":
                return 200, self._find(form["type"], form["public_id"]).data
        raise Refused(404, "Not found")

    def _upload(self, form: Mapping[str, str], file: bytes | None) -> dict[str, Any]:
        if not file:
            raise Refused(400, "Empty file" if file is not None else "Missing required parameter")
        name = form["type"], form["public_id"]
        with self.lock:
            known = self.assets.get(name)
            if known is None or known.placeholder or form.get("overwrite", "true") == "true":
                self.made += 1
                number = known.number if known else self.made
                self.assets[name] = Asset(file, int(time.time()), number)
            return _details(name, self.assets[name])

    def _destroy(self, form: Mapping[str, str]) -> dict[str, Any]:
        return {"result": "ok" if self._remove((form["type"], form["public_id"])) else "not found"}

    def _remove(self, name: tuple[str, str]) -> bool:
        with self.lock:
            found = self.assets.pop(name, None)
            if found is None or found.placeholder:
                return False
            if self.backup:
                self.assets[name] = Asset(b"", found.version, found.number, placeholder=True)
            return True

    def _administer(
        self, method: str, kind: str, rest: list[str], form: Mapping[str, str]
    ) -> dict[str, Any]:
        if rest:
            name = kind, unquote(rest[0])
            return _details(name, self._find(*name, deleted=True))
        names = [name for name in self._names(kind) if name[1].startswith(form["prefix"])]
        if method == "DELETE":
            some = [name for name in names if not self.assets[name].placeholder]
            answer: dict[str, Any] = {
                "deleted": {
                    name[1]: "deleted" if self._remove(name) else "not_found"
                    for name in some[: self.at_once]
                },
                "partial": len(some) > self.at_once,
            }
            if answer["partial"]:
                answer["next_cursor"] = "more"
            return answer
        start = int(form.get("next_cursor", "0"))
        end = start + min(int(form.get("max_results", "10")), 500)
        with self.lock:
            page = [(name, self.assets.get(name)) for name in names[start:end]]
        answer = {"resources": [_details(name, asset) for name, asset in page if asset]}
        return answer | ({"next_cursor": str(end)} if len(names) > end else {})

    def _names(self, kind: str) -> list[tuple[str, str]]:
        """By the time of their making, as the reference says, and not by name."""
        with self.lock:
            found = [item for item in self.assets.items() if item[0][0] == kind]
        return [name for name, _ in sorted(found, key=lambda item: -item[1].number)]

    def _find(self, kind: str, public_id: str, *, deleted: bool = False) -> Asset:
        with self.lock:
            found = self.assets.get((kind, public_id))
        if found is None or (found.placeholder and not deleted):
            raise Refused(404, f"Resource not found - {public_id}")
        return found


def signature(form: Mapping[str, str], secret: str, algorithm: str) -> str:
    text = "&".join(f"{name}={form[name]}" for name in sorted(form) if name not in _UNSIGNED)
    return hashlib.new(algorithm, (text + secret).encode()).hexdigest()


def check_signature(form: Mapping[str, str]) -> None:
    """SHA-1 or SHA-256, told by its length, and an hour at most."""
    if form.get("api_key") != KEY:
        raise Refused(401, "Unknown API key")
    given = form.get("signature", "")
    algorithm = "sha1" if len(given) == 40 else "sha256"
    if not hmac.compare_digest(given, signature(form, SECRET, algorithm)):
        raise Refused(401, "Invalid Signature")
    if abs(time.time() - int(form["timestamp"])) > 3600:
        raise Refused(400, "Stale request - reported time is more than 1 hour ago")


def _details(name: tuple[str, str], asset: Asset) -> dict[str, Any]:
    return {
        "public_id": name[1],
        "type": name[0],
        "resource_type": "raw",
        "version": asset.version,
        "created_at": "2026-01-01T00:00:00Z",
        "bytes": len(asset.data),
        **({"placeholder": True} if asset.placeholder else {}),
    }


def _text(data: bytes | None) -> str:
    return (data or b"").decode()


def _parse(content_type: str, body: bytes) -> tuple[dict[str, str], bytes | None]:
    if content_type.startswith("application/json"):  # as Cloudinary's own client writes
        return {name: str(value) for name, value in json.loads(body or b"{}").items()}, None
    if not content_type.startswith("multipart/form-data"):
        return dict(parse_qsl(body.decode())), None
    form: dict[str, str] = {}
    files: list[bytes] = []

    def keep(file: File) -> None:
        file.file_object.seek(0)
        files.append(file.file_object.read())

    parse_form(
        {"Content-Type": content_type.encode(), "Content-Length": str(len(body)).encode()},
        BytesIO(body),
        lambda one: form.update({_text(one.field_name): _text(one.value)}),
        keep,
    )
    return form, files[0] if files else None


@contextmanager
def running() -> Iterator[Cloudinary]:
    replay = Cloudinary()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            form, file = _parse(self.headers.get("Content-Type", ""), body)
            form |= dict(parse_qsl(url.query))
            with replay.lock:
                replay.asked.append((self.command, url.path))
                replay.forms.append(form)
                said = replay.say.pop(0) if replay.say else None
            replay.before(self.command, url.path)
            if said is not None and not said[1]:
                self.close_connection = True
                return
            try:
                if said is not None:
                    raise Refused(*said)
                login = self.headers.get("Authorization")
                status, answer = replay.answer(self.command, url.path, form, file, login)
            except Refused as exc:
                status = exc.status
                answer = json.dumps({"error": {"message": exc.message}}).encode()
            self._write(status, answer)

        do_GET = do_POST = do_DELETE = do  # noqa: N815 - the library's names

        def _write(self, status: int, answer: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            pieces = 20 if replay.pause_s else 1
            size = -(-len(answer) // pieces) or 1
            for start in range(0, len(answer), size):
                time.sleep(replay.pause_s)
                self.wfile.write(answer[start : start + size])

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 64

        def handle_error(self, *_: object) -> None:
            """Clients that go away are a part of what is tried."""

    with Server(("127.0.0.1", 0), Handler) as server:
        replay.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        try:
            yield replay
        finally:
            server.shutdown()
            thread.join()
