"""A local server that answers as FASHN's API and Replicate's are documented to, failures included.

Shapes: docs.fashn.ai (run, status, errors; tryon-v1.6) and replicate.com/docs (predictions), as of
November 2026. Every run that it takes counts as paid, by its seed.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from tests.authority import Files

KEY = "the key of the tests"


def picture(width: int = 96, height: int = 128) -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), (200, 30, 60)).save(file, "PNG")
    return file.getvalue()


def _drawn(person: str, garment: str) -> str:
    """The middle of the person, below the face, in the garment's colour."""
    photo, cloth = (
        Image.open(BytesIO(base64.b64decode(one.partition(",")[2]))) for one in (person, garment)
    )
    width, height = photo.size
    box = (width // 4, height // 2, width - width // 4, height - height // 10)
    shirt = Image.new(
        "RGB", (box[2] - box[0], box[3] - box[1]), cloth.resize((1, 1)).getpixel((0, 0))
    )
    photo.paste(shirt, box)
    file = BytesIO()
    photo.save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@dataclass
class Job:
    id: str
    body: dict[str, Any]
    polls: int = 0
    cancelled: bool = False


@dataclass
class Provider:
    """on_run: what happens to the next runs, one word each; then all goes well.

    429, 429-long, 400, 401, 500, 503, credits: such an answer, and nothing is begun.
    drop: the connection ends before the run is taken. lose: it is taken, and the answer is lost.
    no-id, nonsense: taken, and the answer is of no use. held: answered when `go_on` is set.
    polls: how many looks at a job say that it is in work. ends: how jobs end: done, or the name of
    an error. on_status: as on_run. output: the picture, or where it lies.
    moved_to: where `/moved.png` sends on to.
    idempotent: runs of one Idempotency-Key are one.
    shown: the key that came with each request for a picture, or None.
    at: told of each step as it happens, with the seed of the run: run (arrived), taken (and not
    answered yet), answered, asked (for the status), told.
    """

    url: str = ""
    on_run: list[str] = field(default_factory=list)
    on_status: list[str] = field(default_factory=list)
    polls: int = 1
    go_on: threading.Event = field(default_factory=threading.Event)
    ends: str = "done"
    output: str | None = None
    draws: bool = False
    idempotent: bool = False
    at: Callable[[str, int], None] = lambda _step, _seed: None
    jobs: dict[str, Job] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    shown: list[str | None] = field(default_factory=list)
    moved_to: str = ""
    by_key: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def paid(self) -> Counter[int]:
        """How often a run was taken, by its seed."""
        with self.lock:
            return Counter(_seed(job.body) for job in self.jobs.values())

    def take(self, body: dict[str, Any], key: str | None) -> Job:
        with self.lock:
            if self.idempotent and key in self.by_key:
                return self.jobs[self.by_key[key]]
            job = Job(f"job-{len(self.jobs) + 1}", body)
            self.jobs[job.id] = job
            if key:
                self.by_key[key] = job.id
            return job

    def next_word(self, script: list[str]) -> str:
        with self.lock:
            return script.pop(0) if script else "well"


def _seed(body: dict[str, Any]) -> int:
    return int((body.get("inputs") or body.get("input") or {})["seed"])


class _Handler(BaseHTTPRequestHandler):
    provider: Provider
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        self.provider.asked.append(("POST", path))
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self.say(401, {"error": "UnauthorizedAccess", "message": "Invalid token"})
        elif path.endswith("/cancel"):
            job = self.provider.jobs[path.split("/")[-2]]
            job.cancelled = True
            self.say(200, {"id": job.id, "status": "canceled"})
        else:
            self.begin(json.loads(body))

    def begin(self, body: dict[str, Any]) -> None:
        self.provider.at("run", _seed(body))
        word = self.provider.next_word(self.provider.on_run)
        refusals: dict[str, tuple[int, Any, dict[str, str]]] = {
            "429": (429, _error("RateLimitExceeded"), {"Retry-After": "0"}),
            "429-long": (429, _error("ConcurrencyLimitExceeded"), {"Retry-After": "3600"}),
            "400": (400, _error("BadRequest"), {}),
            "500": (500, _error("InternalServerError"), {}),
            "503": (503, None, {}),
            "credits": (429, _error("OutOfCredits"), {}),
        }
        if word in refusals:
            self.say(*refusals[word])
        elif word == "drop":
            self.close_connection = True
        else:
            self.take(word, body)

    def take(self, word: str, body: dict[str, Any]) -> None:
        job = self.provider.take(body, self.headers.get("Idempotency-Key"))
        self.provider.at("taken", _seed(body))
        if word == "held":
            self.provider.go_on.wait(30)
        if word == "lose":
            self.close_connection = True
        elif word in ("no-id", "nonsense"):
            self.say(200, {"error": None} if word == "no-id" else None)
        elif "inputs" in body:
            self.say(200, {"id": job.id, "error": None})
        else:
            self.say(201, {"id": job.id, "status": "starting", "error": None, "output": None})
        self.provider.at("answered", _seed(body))

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.provider.asked.append(("GET", path))
        job = self.provider.jobs.get(path.split("/")[-1])
        word = self.provider.next_word(self.provider.on_status)
        if path.endswith(".png"):
            self.provider.shown.append(self.headers.get("Authorization"))
        if path == "/moved.png":
            self.send(302, b"", {"Location": self.provider.moved_to})
        elif path == "/output.png":
            self.send(200, picture(), {"Content-Type": "image/png"})
        elif job is None:
            self.say(404, _error("NotFound"))
        elif word == "drop":
            self.close_connection = True
        elif word in ("500", "429"):
            self.say(int(word), _error("InternalServerError"), {"Retry-After": "0"})
        else:
            job.polls += 1
            self.provider.at("asked", _seed(job.body))
            status = self.fashn if path.startswith("/v1/status/") else self.replicate
            self.say(200, status(job), {"x-fashn-credits-used": "1"})
            self.provider.at("told", _seed(job.body))

    def fashn(self, job: Job) -> dict[str, Any]:
        provider = self.provider
        if job.polls <= provider.polls:
            state = "in_queue" if job.polls == 1 else "processing"
            return {"id": job.id, "status": state, "output": None, "error": None}
        if provider.ends != "done":
            error = {"name": provider.ends, "message": "It did not work."}
            return {"id": job.id, "status": "failed", "output": None, "error": error}
        return {"id": job.id, "status": "completed", "output": [self.output(job)], "error": None}

    def replicate(self, job: Job) -> dict[str, Any]:
        provider = self.provider
        answer: dict[str, Any] = {"id": job.id, "error": None, "output": None, "metrics": {}}
        if job.cancelled:
            return answer | {"status": "canceled"}
        if job.polls <= provider.polls:
            return answer | {"status": "starting" if job.polls == 1 else "processing"}
        if provider.ends != "done":
            return answer | {"status": "failed", "error": "CUDA out of memory"}
        metrics = {"predict_time": 8.25}
        return answer | {"status": "succeeded", "output": self.output(job), "metrics": metrics}

    def output(self, job: Job) -> str:
        if self.provider.output is not None:
            return self.provider.output
        if self.provider.draws:
            inputs = job.body["inputs"]
            return _drawn(inputs["model_image"], inputs["garment_image"])
        return "data:image/png;base64," + base64.b64encode(picture()).decode()

    def say(self, status: int, said: Any, headers: dict[str, str] | None = None) -> None:
        body = b"<html>busy</html>" if said is None else json.dumps(said).encode()
        self.send(status, body, {"Content-Type": "application/json", **(headers or {})})

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # whoever asked was killed


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Who asked was killed: that is what is tried here."""


def _error(name: str) -> dict[str, str]:
    return {"error": name, "message": "It is so."}


@contextmanager
def providing(files: Files | None = None) -> Iterator[Provider]:
    """files: of a certificate for localhost, for one that speaks TLS."""
    provider = Provider()
    handler = type("Handler", (_Handler,), {"provider": provider})
    server = _Server(("127.0.0.1", 0), handler)
    provider.url = f"http://127.0.0.1:{server.server_address[1]}"
    if files is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        provider.url = f"https://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
