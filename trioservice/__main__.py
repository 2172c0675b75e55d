"""``python -m trioservice`` is the same as ``trioservice``."""

import sys

from .cli import main

sys.exit(main())
