"""Reaching a running server, and making the database in it."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from urllib.parse import quote

import psycopg2

from app.postgres.cluster import Cluster
from app.postgres.settings import DATABASE, SOCKET_NAME, STATUS_LINE, SUPERUSER, WINDOWS


def url_if_ready(cluster: Cluster) -> str | None:
    """The URL of the server if it answers; the database is made if it is missing."""
    try:
        lines = (cluster.data / "postmaster.pid").read_text().splitlines()
        port, host, status = int(lines[3]), lines[4], lines[STATUS_LINE].strip()
    except (FileNotFoundError, ValueError, IndexError):
        return None
    if status != "ready":
        return None
    if WINDOWS:
        host = "127.0.0.1"
    elif not Path(host, SOCKET_NAME).exists():
        # Somebody emptied the temp folder, or moved ours. Nobody can connect any more, so
        # it may as well stop; a later look finds it gone and starts it anew.
        cluster.interrupt()
        return None
    password = cluster.password
    connect = partial(
        psycopg2.connect,
        host=host,
        port=port,
        user=SUPERUSER,
        password=password,
        connect_timeout=5,
    )
    try:
        connect(dbname=DATABASE).close()
    except psycopg2.OperationalError as exc:
        if "does not exist" not in str(exc):  # starting, stopping, or just killed
            return None
        with contextlib.closing(connect(dbname="template1")) as connection, connection:
            _make_database(connection, password)
    if WINDOWS:
        return f"postgresql+psycopg2://{DATABASE}:{password}@{host}:{port}/{DATABASE}"
    # With the port, because libpq would take another one from PGPORT.
    return f"postgresql+psycopg2://{DATABASE}@/{DATABASE}?host={quote(host)}&port={port}"


def _make_database(connection: psycopg2.extensions.connection, password: str | None) -> None:
    """Turn the empty database of a new cluster into ours; another copy would take 0.1 to 0.4 s.

    Its role may make databases, as tests do, but is no superuser, who may run programs.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (DATABASE,))
        if cursor.fetchone() is None:
            cursor.execute(f"CREATE ROLE {DATABASE} LOGIN CREATEDB PASSWORD %s", (password,))
        cursor.execute(f"ALTER DATABASE postgres RENAME TO {DATABASE}")
        cursor.execute(f"ALTER DATABASE {DATABASE} OWNER TO {DATABASE}")
