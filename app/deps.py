"""FastAPI dependencies as annotated names.

They are coroutines although they wait for nothing: a plain function would cost each request a trip
to the thread pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader

from app.errors import UserTokenRequired
from app.runtime import Runtime
from app.signing import Keyring

TOKEN_PATTERN = r"^[A-Za-z0-9._~-]{8,255}$"  # noqa: S105 - the shape of a token, not one


async def runtime(request: Request) -> Runtime:
    return cast("Runtime", request.app.state.runtime)


Rt = Annotated[Runtime, Depends(runtime)]

UserToken = Annotated[
    str | None,
    Security(
        APIKeyHeader(
            name="X-User-Token",
            scheme_name="UserToken",
            auto_error=False,
            description="The anonymous owner's token: 8–255 of `A–Z a–z 0–9 . _ ~ -`, as it was "
            "sent with the create.",
        )
    ),
]


async def owners(request: Request, x_user_token: UserToken = None) -> Sequence[str]:
    """Every value that this owner's rows may carry.

    A token that no session can have is not refused: it finds nothing, like any other stranger's.
    The runtime is not asked for as a dependency, which is resolved anew wherever it is one: that
    would be two of five for each poll.
    """
    if not x_user_token:
        raise UserTokenRequired("Send the header X-User-Token with the token of the create.")
    return _keyring(request).owners(x_user_token)


async def owners_or_none(request: Request, x_user_token: UserToken = None) -> Sequence[str] | None:
    """The same where a signature in the address may stand for the token."""
    return _keyring(request).owners(x_user_token) if x_user_token else None


def _keyring(request: Request) -> Keyring:
    return cast("Runtime", request.app.state.runtime).keyring


Owners = Annotated[Sequence[str], Depends(owners)]
OwnersOrNone = Annotated[Sequence[str] | None, Depends(owners_or_none)]
