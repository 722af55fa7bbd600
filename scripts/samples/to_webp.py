"""Pack rendered PNGs as WebP without metadata; label maps among them are left out."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PNG")
    parser.add_argument("--to", type=Path, required=True, help="folder")
    parser.add_argument("--quality", type=int, default=86)
    args = parser.parse_args()
    for picture in args.pictures:
        if picture.stem.endswith("_labels"):
            continue
        pixels = cv2.imread(str(picture), cv2.IMREAD_COLOR)
        if pixels is None:
            raise SystemExit(f"{picture} is not a picture")
        target = args.to / f"{picture.stem}.webp"
        cv2.imwrite(str(target), pixels, [cv2.IMWRITE_WEBP_QUALITY, args.quality])
        print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
