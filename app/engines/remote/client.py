"""One run at a service, paid at most once: docs/adr/0020-remote-engines.md."""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from io import BytesIO
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image

from app.engines import Cost, RunContext, TryOnRequest, TryOnResult
from app.engines.remote.mapping import Service, dig, fill
from app.errors import EngineError, FailureCode, RunCancelled

if TYPE_CHECKING:
    from app.engines import Rgb

POLL_S = (0.5, 2.0)
"""Between two looks at a job: at first, and at the most; a picture takes 5 to 60 s."""

RETRY_S = (1.0, 16.0)
"""Before a call is made again, doubling, where the service does not say for how long to wait."""

CALL_S = 30.0
CONNECT_S = 10.0
CANCEL_S = 2.0
LOOKS_S = 0.05

ANSWER_BYTES = 48 << 20
"""A picture of 32 MiB as base64, and the JSON around it."""

PICTURE_PIXELS = 40_000_000

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_UNSURE = "nobody knows whether the service has taken the run; see docs/adr/0020-remote-engines.md"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """What it says; None where it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Client:
    """repeat_when_unsure: see RemoteEngine."""

    def __init__(self, service: Service, key: str, *, repeat_when_unsure: bool) -> None:
        self._service = service
        self._headers = fill(dict(service.headers), {"key": key})
        self._repeat = repeat_when_unsure or bool(service.idempotency)

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        with httpx.Client() as self._http:
            return self._run(request, context)

    def _run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        begun = time.perf_counter()
        id_ = self._job(request, context)
        sent = time.perf_counter()
        try:
            answer = self._await(id_, context)
            waited = time.perf_counter()
            context.progress("download", None)
            picture = self._picture(dig(answer.json, self._service.picture_at), context)
        except RunCancelled as exc:
            if exc.for_good:
                self._cancel(id_)
            raise
        except EngineError as exc:
            if exc.failure is FailureCode.ENGINE_TIMEOUT:  # final: nobody will fetch it
                self._cancel(id_)
            raise
        service = self._service
        return TryOnResult(
            picture,
            seed=request.seed,
            timings_s={
                "send": sent - begun,
                "wait": waited - sent,
                "download": time.perf_counter() - waited,
            },
            cost=self._cost(answer),
            details={"service": service.host, "model": service.version, "run": id_},
        )

    # --- once ---

    def _job(self, request: TryOnRequest, context: RunContext) -> str:
        """The service's id of the run: that of an attempt before us, or of a new one."""
        left = context.resume or {}
        if left.get("phase") == "sent":
            return str(left["id"])
        if left.get("phase") == "sending" and not self._repeat:
            _give_up(_UNSURE)
        body = json.dumps(fill(self._service.body, self._values(request))).encode()
        context.progress("send", None)
        context.check()
        context.checkpoint({"phase": "sending"})
        id_ = self._send(body, context)
        context.checkpoint({"phase": "sent", "id": id_})
        return id_

    def _send(self, body: bytes, context: RunContext) -> str:
        service = self._service
        headers = {"Content-Type": "application/json"}
        if service.idempotency:
            headers[service.idempotency] = context.job_key
        pause = RETRY_S[0]
        while True:
            try:
                answer = self._call("POST", service.run_path, context, body=body, headers=headers)
            except httpx.HTTPError as exc:
                if not (isinstance(exc, _NOT_SENT) or service.idempotency):
                    _give_up(_UNSURE)
                answer = None
            if answer is not None and 200 <= answer.status < 300:
                id_ = dig(answer.json, service.id_at)
                if not isinstance(id_, str | int):
                    _give_up("the service's answer to the run has no id")
                return str(id_)
            if answer is not None:
                self._look_at_refusal(answer)
            pause = self._wait_again(answer, pause, context, nothing_was_begun=True)

    def _look_at_refusal(self, answer: Answer) -> None:
        """Raises where the run is not to be sent again."""
        service = self._service
        if answer.status not in service.refused and not service.idempotency:
            _give_up(f"status {answer.status} for the run; {_UNSURE}")
        name = str(dig(answer.json, service.run_error_at) or "")
        if name in service.errors:
            raise EngineError(service.errors[name], log=f"the service refused the run: {name}")
        if answer.status not in _RETRIED:
            _give_up(f"the service refused the run with status {answer.status}")

    def _wait_again(
        self, answer: Answer | None, pause: float, context: RunContext, *, nothing_was_begun: bool
    ) -> float:
        """Wait before a call is repeated; the next pause.

        Where the deadline comes first, another attempt may have more luck.
        """
        wait_s = max(_retry_after_s(answer), pause)
        if time.monotonic() + wait_s > context.deadline:
            if nothing_was_begun:
                context.checkpoint({})
            status = "no answer" if answer is None else f"status {answer.status}"
            raise EngineError(
                FailureCode.MODEL_ERROR,
                log=f"the service is busy or away: {status}",
                retryable=True,
            )
        _rest(wait_s, context)
        return min(2 * pause, RETRY_S[1])

    # --- until it is done ---

    def _await(self, id_: str, context: RunContext) -> Answer:
        service = self._service
        path = fill(service.status_path, {"id": id_})
        pause, again = POLL_S[0], RETRY_S[0]
        while True:
            answer = self._ask(path, context)
            if answer is None or answer.status in _RETRIED:
                again = self._wait_again(answer, again, context, nothing_was_begun=False)
                continue
            if answer.status >= 400:
                _give_up(f"status {answer.status} for a run that was begun")
            again = RETRY_S[0]
            state = dig(answer.json, service.state_at)
            if state in service.done:
                return answer
            if state not in service.waiting:
                self._fail(str(state), answer, context)
            context.progress(str(state), None)
            _rest(pause, context)
            pause = min(1.5 * pause, POLL_S[1])

    def _ask(self, path: str, context: RunContext) -> Answer | None:
        try:
            return self._call("GET", path, context)
        except httpx.HTTPError:
            return None

    def _fail(self, state: str, answer: Answer, context: RunContext) -> NoReturn:
        """The service has ended the run without a picture: nobody pays for it twice."""
        service = self._service
        name = str(dig(answer.json, service.error_at) or "")[:64]
        code = service.errors.get(name, FailureCode.MODEL_ERROR)
        again = name in service.again
        if again:
            context.checkpoint({})
        # What is in no table may be a sentence, with the address of a picture in it.
        told = name if name in service.errors or again else "an error of its own"
        raise EngineError(code, log=f"the service ended with {state[:32]}: {told}", retryable=again)

    def _cancel(self, id_: str) -> None:
        """As well as can be in the moment that is left."""
        path = fill(self._service.cancel_path, {"id": id_})
        if path:
            try:
                self._http.post(
                    self._service.base_url + path, headers=self._headers, timeout=CANCEL_S
                )
            except httpx.HTTPError:
                return

    # --- the picture ---

    def _picture(self, where: Any, context: RunContext) -> Rgb:
        while isinstance(where, list) and where:
            where = where[0]
        if not isinstance(where, str):
            _give_up("the service is done, and tells of no picture")
        data = self._data(where, context)
        try:
            with Image.open(BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
                if image.width * image.height > PICTURE_PIXELS:
                    _give_up(f"the service's picture has {image.width} × {image.height} pixels")
                return np.array(image.convert("RGB"))
        except (OSError, ValueError, Image.DecompressionBombError):
            _give_up("what the service sent is no picture")

    def _data(self, where: str, context: RunContext) -> bytes:
        if where.startswith("data:"):
            try:
                return base64.b64decode(where.partition(",")[2], validate=True)
            except binascii.Error:
                _give_up("the service's picture is not well encoded")
        parts = urlsplit(where)
        host = parts.hostname or ""
        ours = urlsplit(self._service.base_url)
        near = (parts.scheme, parts.netloc) == (ours.scheme, ours.netloc)
        known = any(host == one or host.endswith("." + one) for one in self._service.hosts)
        if not near and not (known and parts.scheme == "https"):
            _give_up("the service's picture lies on a host that the mapping does not name")
        pause = RETRY_S[0]
        while True:
            try:
                answer = self._call("GET", where, context)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status == 200:
                return answer.body
            if answer is not None and answer.status not in _RETRIED:
                _give_up(f"status {answer.status} for the service's picture")
            pause = self._wait_again(answer, pause, context, nothing_was_begun=False)

    def _cost(self, answer: Answer) -> Cost | None:
        service = self._service
        said = answer.headers.get(service.cost_header.lower()) if service.cost_header else None
        if said is None and service.cost_field:
            said = dig(answer.json, service.cost_field)
        try:
            return (
                None
                if said is None
                else Cost(Decimal(str(said)) * Decimal(service.cost_times), service.cost_unit)
            )
        except InvalidOperation:
            return None

    # --- a call ---

    def _call(
        self,
        method: str,
        path: str,
        context: RunContext,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, in a thread: a run that is cancelled meanwhile stops at once.

        path: below the service's address, with its key; a whole URL is asked without.
        """
        ours = path.startswith("/")
        url = self._service.base_url + path if ours else path
        all_headers = {**(self._headers if ours else {}), **(headers or {})}
        left_s = max(0.1, context.deadline - time.monotonic())

        def call() -> Answer:
            timeout = httpx.Timeout(min(CALL_S, left_s), connect=min(CONNECT_S, left_s))
            with self._http.stream(
                method, url, content=body, headers=all_headers, timeout=timeout
            ) as response:
                received = bytearray()
                for piece in response.iter_bytes():
                    received += piece
                    if len(received) > ANSWER_BYTES:
                        raise httpx.ReadError("the answer is too large")
                return Answer(response.status_code, response.headers, bytes(received))

        return _in_a_thread(call, context)

    def _values(self, request: TryOnRequest) -> dict[str, Any]:
        service = self._service
        return {
            "person": _data_uri(request.person, service.max_side),
            "garment": _data_uri(request.garment, service.max_side),
            "category": service.word("category", request.category),
            "photo_type": service.word("photo_type", request.garment_photo_type),
            "mode": service.word("mode", request.mode),
            "seed": request.seed,
        }


def _in_a_thread(call: Callable[[], Answer], context: RunContext) -> Answer:
    done: SimpleQueue[Answer | Exception] = SimpleQueue()

    def work() -> None:
        try:
            done.put(call())
        except Exception as exc:  # noqa: BLE001 - raised again where it is waited for
            done.put(exc)

    threading.Thread(target=work, daemon=True).start()
    while True:
        context.check()
        try:
            found = done.get(timeout=LOOKS_S)
        except Empty:
            continue
        if isinstance(found, Exception):
            raise found
        return found


def _rest(seconds: float, context: RunContext) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        context.check()
        time.sleep(min(left, LOOKS_S))
    context.check()


def _retry_after_s(answer: Answer | None) -> float:
    """Source: RFC 9110, section 10.2.3; its dates are not read."""
    said = "" if answer is None else answer.headers.get("retry-after", "")
    return float(said) if said.isdecimal() and len(said) < 6 else 0.0


def _data_uri(picture: Rgb, side: int) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = BytesIO()
    image.save(file, "JPEG", quality=95, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _give_up(log: str) -> NoReturn:
    raise EngineError(FailureCode.ENGINE_ERROR, log=log)
