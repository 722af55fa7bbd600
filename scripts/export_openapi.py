"""Write the server's OpenAPI document: `python scripts/export_openapi.py [FILE]`.

The document of a server as it comes, whatever the settings of this installation are: no `.env`, no
variable, no database. The browser client's types are made from it (frontend/lib/schema.d.ts).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.config import Settings
from app.main import create_app


def document() -> str:
    """The same text for the same code, with a newline at its end."""
    settings = Settings.model_construct()  # the defaults, and nothing that is read from outside
    return json.dumps(create_app(settings).openapi(), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the server's OpenAPI document")
    parser.add_argument("file", nargs="?", type=Path, help="where to; without it, to be read")
    file: Path | None = parser.parse_args().file
    if file is None:
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        sys.stdout.write(document())
    else:
        file.write_text(document(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
