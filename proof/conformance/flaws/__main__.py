"""Serve the receiver of a name, a flawed one or the honest one, until the process is killed."""

from __future__ import annotations

import sys

from ..small import SmallReceiver, main
from . import FLAWS, HONEST

main({**FLAWS, HONEST: SmallReceiver}[sys.argv[1]], sys.argv[2])
