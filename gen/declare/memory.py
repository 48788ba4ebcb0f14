"""What was derived of a declaration is derived once."""

from __future__ import annotations

import functools

#: For functions of declarations, which are frozen and equal where all that they say is; nobody
#: changes the results.  What a function raises is not kept.
remembered = functools.lru_cache(maxsize=64)
