"""Prepare the database of the settings: `python scripts/init_db.py`. May be run again."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main(["init-db"]))
