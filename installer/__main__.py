"""``python -m installer``, as ``./install`` calls it."""

from __future__ import annotations

import sys

from installer.main import main

sys.exit(main())
