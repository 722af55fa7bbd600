#!/bin/sh
# Sets up this folder and starts TryOnAI: ./setup.sh, or ./setup.sh help.
#
# This finds a Python, no more; scripts/bootstrap.py does the work, on every
# system the same. It runs from any folder, with any POSIX shell.
set -eu

# The folder of this file. CDPATH would make cd print, and go elsewhere.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)

# Debian packs venv on its own, and home-made Pythons may lack ssl or zlib:
# what counts is whether it can do the work, not whether it is there.
usable() {
    "$1" -I -c 'import ssl, sys, venv, zlib; sys.exit(sys.version_info < (3, 11))' \
        >/dev/null 2>&1 </dev/null
}

stop() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        usable "$PYTHON" || stop "PYTHON=$PYTHON is not a Python 3.11 or newer with venv, ssl and zlib."
        printf '%s\n' "$PYTHON"
        return
    fi
    # First the one that .venv was made with, so that a newer Python on the
    # machine is no reason to install everything again. Plain names come last:
    # they may be newer than any wheel in requirements.txt.
    for name in "$here/.venv/bin/python" \
        python3.14 python3.13 python3.12 python3.11 python3 python; do
        if usable "$name"; then
            printf '%s\n' "$name"
            return
        fi
    done
    # uv keeps the Pythons it has installed off the PATH.
    name=$(uv python find --system '>=3.11' 2>/dev/null </dev/null) || name=
    if [ -n "$name" ] && usable "$name"; then
        printf '%s\n' "$name"
        return
    fi
    stop "no Python 3.11 or newer was found: install one (Debian, Ubuntu: apt-get install python3;" \
        "macOS: brew install python; with uv: uv python install 3.13)," \
        "or name it: PYTHON=/path/to/python3 ./setup.sh"
}

# Where stdin is closed, the next file to be opened would become stdin.
# (A copy tells; dash takes `<&0` for nothing to do.)
(: 3<&0) 2>/dev/null || exec </dev/null

# An activated environment's settings are for its own Python.
unset PYTHONHOME

python=$(find_python)
exec "$python" -I "$here/scripts/bootstrap.py" "$@"
