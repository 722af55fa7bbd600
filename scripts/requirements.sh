#!/bin/sh
# Writes requirements.txt, requirements-cluster.txt and requirements-dev.txt from
# pyproject.toml; needs uv and a package index. With --upgrade every pin moves to its newest version,
# without it only those that pyproject.toml no longer allows. With --check
# nothing is written, and pins that pyproject.toml does not ask for are a failure.
set -eu
cd -- "$(dirname -- "$0")/.."

# One version of each package for every Python and system (--fork-strategy
# fewest): what one of us sees, all of us see. No address of an index gets in.
pin() {
    uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
        --generate-hashes --no-emit-index-url --no-emit-find-links \
        --custom-compile-command 'scripts/requirements.sh (see CONTRIBUTING.md)' \
        pyproject.toml "$@"
}

case "${1:-}" in
'' | --upgrade)
    # Each file obeys the one before, so that tests run what users run.
    pin ${1:+"$1"} -o requirements.txt
    pin ${1:+"$1"} -o requirements-cluster.txt --extra cluster -c requirements.txt
    pin ${1:+"$1"} -o requirements-dev.txt --extra cluster --extra dev -c requirements-cluster.txt
    ;;
--check)
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    cp requirements*.txt "$scratch"
    pin -o "$scratch/requirements.txt"
    pin -o "$scratch/requirements-cluster.txt" --extra cluster -c requirements.txt
    pin -o "$scratch/requirements-dev.txt" --extra cluster --extra dev -c requirements-cluster.txt
    for file in requirements.txt requirements-cluster.txt requirements-dev.txt; do
        diff "$file" "$scratch/$file"
    done
    ;;
*)
    echo "usage: scripts/requirements.sh [--upgrade | --check]" >&2
    exit 2
    ;;
esac
