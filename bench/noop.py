"""An engine that does nothing: what is left of a job is the platform's."""

from __future__ import annotations

from app.engines import EngineInfo, Licence, RunContext, TryOnRequest, TryOnResult


class NoOp:
    info = EngineInfo("no-op", "1", "Gives the photo back", (Licence("no-op", "Apache-2.0"),))

    def load(self) -> None:
        pass

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        return TryOnResult(request.person, seed=request.seed)
