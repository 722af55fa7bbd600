"""The floor of a poll: a bare FastAPI route that returns the bytes given on stdin.

Run with the options of `python -m app serve`. Prints its port.
"""

from __future__ import annotations

import socket
import sys

import uvicorn
from fastapi import FastAPI, Response


def main() -> None:
    body = sys.stdin.buffer.read()
    app = FastAPI()

    @app.get("/")
    async def answer() -> Response:
        return Response(body, media_type="application/json")

    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, proxy_headers=False
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
