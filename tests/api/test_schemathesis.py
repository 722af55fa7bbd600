"""What the OpenAPI document says, held against the server by thousands of generated requests.

Every check of schemathesis is on. `SCHEMATHESIS_EXAMPLES` asks for more than the quick pass.
"""

from __future__ import annotations

import base64
import os
import re
from contextlib import suppress
from datetime import UTC
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis.checks import CheckFunction
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from starlette.types import Receive, Scope, Send

from app.config import Settings
from app.main import create_app
from tests import pictures
from tests.api.sessions import OWNER, TOKEN, URL, complete, create, expire
from tests.fixtures import MakeClient

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "6"))

PHOTOS = [
    pictures.jpeg(pictures.photo(seed=1)),
    pictures.png(pictures.photo(seed=2)),
    pictures.webp(pictures.photo(seed=3)),
]

# Made by nobody but the server, and opaque: a cursor's alphabet alone does not make one.
CURSORS = st.builds(
    lambda instant, id_: base64.urlsafe_b64encode(f"{instant.isoformat()} {id_}".encode()).decode(),
    st.datetimes(timezones=st.just(UTC)),
    st.uuids(version=4),
)

CONFIG: dict[str, Any] = {
    "generation": {"max-examples": EXAMPLES, "deterministic": True},
    # It wants 401 for a token that is wrong. Ours are anonymous: who makes a token owns what is
    # made with it, so that one which was never seen is as good as any and owns nothing, and
    # another's session is answered like an unknown one: 404, or 204 to DELETE. That a call
    # without a token is refused is held by the checks of the header, and by test_owners.py.
    "checks": {
        "ignored_auth": {"enabled": False},
        # With what it takes for granted, 410: an id may be that of a session that has expired.
        "positive_data_acceptance": {
            "expected-statuses": ["2xx", "304", "401", "404", "409", "410", "503"]
        },
    },
}

SESSIONS: list[str] = []

# Of this host, so that no name is looked up; what is no receiver is tests/unit's.
RECEIVERS = ["http://127.0.0.1:9999/hook", "https://[::1]/hook?key=1", "http://127.0.0.1"]

schemathesis.openapi.format("cursor", CURSORS)
schemathesis.openapi.format("uri", st.sampled_from(RECEIVERS))
schemathesis.openapi.format(
    "uuid",
    st.one_of(
        st.uuids(version=4).map(str),
        st.integers(0, 2).map(lambda n: SESSIONS[n] if SESSIONS else str(uuid4())),
    ),
)
schemathesis.openapi.media_type("image/jpeg", st.sampled_from(PHOTOS))
schemathesis.openapi.media_type("image/png", st.sampled_from(PHOTOS))
schemathesis.openapi.media_type("image/webp", st.sampled_from(PHOTOS))


class Served:
    """An application whose lifespan the tests hold, so that it stops before its database.

    schemathesis would start it by itself, and keep it until the end of the process.
    """

    client: TestClient

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.client.app(scope, receive, send)
            return
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})


served = Served()
# Of the server that is asked: it offers the mock alone, which takes pictures as small as these.
DOCUMENT = create_app(Settings(_env_file=None, engine="mock", engines=("mock",))).openapi()
schema = schemathesis.openapi.from_dict(
    DOCUMENT,
    config=SchemathesisConfig.from_dict(CONFIG),
)
schema.app = served


@pytest.fixture(scope="module")
def started(make_shared_client: MakeClient) -> TestClient:
    served.client = make_shared_client(webhook_allow_private=True)
    return served.client


@pytest.fixture(autouse=True)
def sessions(started: TestClient) -> None:
    """A finished session, one that expired, and one more, and nothing else."""
    begin_anew(started)


def begin_anew(client: TestClient) -> None:
    client.delete(URL, headers=OWNER)
    SESSIONS[:] = [create(client)["id"] for _ in range(3)]
    expire(client, SESSIONS[1])
    complete(client, SESSIONS[0], PHOTOS[0])


@schema.auth()
class Token:
    """The owner's own, but for ids that begin with 0 to 3; and what is generated to be wrong."""

    def get(self, case: schemathesis.Case[Any], context: schemathesis.AuthContext) -> str:
        id_ = str((case.path_parameters or {}).get("session_id", "f"))
        return "somebody-else" if id_[:1] in "0123" else TOKEN

    def set(
        self, case: schemathesis.Case[Any], data: str, context: schemathesis.AuthContext
    ) -> None:
        if case.meta is None or case.meta.generation.mode.is_positive:
            case.headers["X-User-Token"] = data


def holds(case: schemathesis.Case[Any]) -> None:
    """The server does what its document says."""
    wrong_here: list[CheckFunction] = [negative_data_rejection] if _is_good_as_text(case) else []
    if _lacks_a_token(case) and isinstance(case.body, dict):
        case.body = {**case.body, "user_token": TOKEN}  # the form is that of other cases, too
    response = case.call()
    case.validate_response(response, excluded_checks=[*wrong_here, *_told_apart_by_state(response)])


def _told_apart_by_state(response: Response) -> list[CheckFunction]:
    """A key that was generated before, with other content: good by the document, refused here."""
    mismatch = b'"code":"idempotency_mismatch"' in response.content
    return [positive_data_acceptance] if mismatch else []


def _test_of(label: str) -> Any:
    @schema.include(name=label).parametrize()
    def test(case: schemathesis.Case[Any]) -> None:
        holds(case)

    return test


# A function each: as cases of one function they would share one id, and a run on several cores,
# which hands out tests by their ids, would leave out all but one.
for _label in [f"{how.upper()} {path}" for path, all_ in DOCUMENT["paths"].items() for how in all_]:
    globals()["test_" + re.sub(r"\W+", "_", _label).strip("_").lower()] = _test_of(_label)


class Steps(schema.include(path_regex="/sessions").as_state_machine()):  # type: ignore[misc]
    """Calls that build on each other's answers: what was created is there, what was erased not."""

    def setup(self) -> None:
        # A list that grows from run to run would offer other steps each time.
        begin_anew(served.client)

    def before_call(self, case: schemathesis.Case[Any]) -> None:
        if isinstance(case.body, dict) and isinstance(case.body.get("user_token"), str):
            case.body = {**case.body, "user_token": TOKEN}  # the form is that of other cases, too
        case.headers["X-User-Token"] = TOKEN

    def validate_response(
        self,
        response: Response,
        case: schemathesis.Case[Any],
        additional_checks: list[CheckFunction] | None = None,
        **kwargs: Any,
    ) -> None:
        case.validate_response(
            response,
            additional_checks=additional_checks,
            # A body that was changed here counts as wrong to it, whatever is in it.
            excluded_checks=[negative_data_rejection, *_told_apart_by_state(response)],
            transport_kwargs=kwargs or None,
            recorder=self.recorder,
        )


Steps.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=8, deadline=None, derandomize=True, database=None
)


class TestSteps(Steps.TestCase):  # type: ignore[name-defined,misc]
    def runTest(self) -> None:  # noqa: N802 - unittest's name
        # What the server has answered so far decides what is drawn next, ids included, which
        # Hypothesis takes for a mistake of ours after some hundred runs. A check that fails is
        # raised all the same.
        with suppress(FlakyStrategyDefinition):
            super().runTest()


def _is_good_as_text(case: schemathesis.Case[Any]) -> bool:
    """A form whose wrong value cannot be told from a right one once it is sent.

    All that a form carries is text: a number is a good token if it is long enough. And an empty
    field is how HTML forms send what was left out, which is how we read it.
    """
    if not isinstance(case.body, dict):
        return False
    texts = [value for name, value in case.body.items() if not name.endswith("_image")]
    return any(value == "" or not isinstance(value, str) for value in texts)


def _lacks_a_token(case: schemathesis.Case[Any]) -> bool:
    """A good form to which schemathesis gave pictures, and an empty text for all that is required.

    It fills what has no registered media type so, and says "valid" of it all the same; also of the
    form that goes with a header that is tried.
    """
    phase = case.meta.phase.data if case.meta else None
    tries_header = getattr(phase, "parameter_location", None) is ParameterLocation.HEADER
    return tries_header or (
        getattr(phase, "description", "") == "Multipart body with custom encoding"
    )
