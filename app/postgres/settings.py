"""The server's settings, and the figures on which this package agrees."""

from __future__ import annotations

import os
import sys

WINDOWS = os.name == "nt"
DATABASE = "tryonai"  # and the role that owns it
SUPERUSER = "postgres"
PORT = 5432  # of the socket's name; Windows picks a free one
SOCKET_NAME = f".s.PGSQL.{PORT}"

STATUS_LINE = 7  # of postmaster.pid, counted from 0: "starting", "ready", "stopping"

PATIENCE_S = 60.0  # for a start, recovery after a crash included
STOP_PATIENCE_S = 30.0
OWN_START_PATIENCE_S = 2.0  # of a process that ends, for a start in another of its threads
POLL_S = 0.005
MAX_LOG_BYTES = 1_000_000

# What the embedded server is for: one laptop, little memory, nothing lost.
COMMON = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # Memory and processes; figures in docs/adr/0003-embedded-postgresql.md.
    "shared_buffers": "32MB",
    "max_connections": "60",
    "maintenance_work_mem": "16MB",
    "jit": "off",
    "max_parallel_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "max_logical_replication_workers": "0",  # no launcher process
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "autovacuum": "on",
    "autovacuum_max_workers": "1",
    "min_wal_size": "32MB",
    "max_wal_size": "64MB",
    "timezone": "UTC",
    # The log tells of the server, never of what is in it. psycopg2 writes values into statements,
    # and a failed statement's message, detail and context may quote them: `log` leaves errors of
    # statements out (it ranks above `error`), and `terse` cuts details off what remains.
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
}
SINCE_18 = {"io_method": "sync"}  # no input/output worker processes
# After a crash, one call instead of one for each of 970 files: 0.1 s instead of 2 s on a busy disk.
ON_LINUX = {"recovery_init_sync_method": "syncfs"}


def of_version(version: int) -> dict[str, str]:
    newer = SINCE_18 if version >= 18 else {}
    return COMMON | newer | (ON_LINUX if sys.platform == "linux" else {})
