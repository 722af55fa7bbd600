"""`try`: an engine on files or folders, without a server."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields

from app import tryout
from app.config import Settings
from app.runtime import egress_rules, image_limits, offered_engine


def try_on(settings: Settings, options: argparse.Namespace) -> int:
    """Exit status 1 when the picture was refused or could not be made, 2 for files not usable."""
    choices = {one.name: getattr(options, one.name) for one in fields(tryout.Choices)}
    offered = offered_engine(options.engine or settings.engine, settings)
    # Whoever runs this is the operator; that photos leave is still said once, in the settings.
    rules = egress_rules(settings, {offered.info.name: offered})
    rules.check(offered.info.name, asked=True)
    try:
        return tryout.run(
            offered.spec,
            options.person,
            options.garment,
            tryout.Choices(**choices),
            image_limits(settings),
        )
    except tryout.Unusable as exc:
        print(f"tryonai: {exc.detail}", file=sys.stderr)
        return 2
