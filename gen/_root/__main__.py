"""``python -m hamilforge``."""

from hamilforge.cli import main

raise SystemExit(main())
