"""An engine that is elsewhere: an HTTP service with run, status and, perhaps, cancel.

What one service calls these is in a mapping, a TOML file; FASHN's and Replicate's come along. Why a
run is paid at most once: docs/adr/0020-remote-engines.md. The client comes with `load`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from app.engines import Egress, EngineInfo, Licence, RunContext, TryOnRequest, TryOnResult
from app.engines.remote.mapping import Service, read_mapping
from app.errors import EngineUnavailable

if TYPE_CHECKING:
    from app.engines.remote.client import Client


class RemoteEngine:
    """mapping: `fashn`, `replicate`, or a file. base_url: instead of the mapping's.

    values: what the mapping leaves to the operator, as a model's version.
    repeat_when_unsure: send a run again of which nobody knows whether it was taken: at least once,
        and perhaps paid twice, instead of at most once.
    """

    def __init__(
        self,
        mapping: str = "",
        *,
        base_url: str = "",
        values: Mapping[str, Any] | None = None,
        repeat_when_unsure: bool = False,
    ) -> None:
        self._service = read_mapping(mapping, base_url=base_url, values=values or {})
        self._repeat = repeat_when_unsure
        self._client: Client | None = None
        self.info = _info(self._service)

    def load(self) -> None:
        from app.engines.remote.client import Client  # noqa: PLC0415 - httpx, and few need it

        key = os.environ.get(self._service.key_variable, "")
        if self._service.key_variable and not key:
            raise EngineUnavailable(
                f"{self._service.key_variable} is not set for it: put the service's key there, and "
                "name the variable under `secrets` of the engine's table in ENGINES_FILE."
            )
        self._client = Client(self._service, key, repeat_when_unsure=self._repeat)

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        assert self._client is not None, "load comes first"
        return self._client.run(request, context)


def _info(service: Service) -> EngineInfo:
    return EngineInfo(
        name=service.name,
        version=service.version,
        title=service.title,
        licences=(Licence(service.title, service.licence, service.commercial),),
        categories=service.categories,
        modes=service.modes,
        photo_types=service.photo_types,
        min_side=service.min_side,
        egress=Egress(service.host, service.purpose),
        needs=service.needs,
        deterministic=False,
        timeout_s=service.timeout_s,
    )
