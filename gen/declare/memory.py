"""What was derived of a declaration is derived once."""

from __future__ import annotations

import functools

#: For functions of declarations, which are frozen and equal where all that they say is; nobody
#: changes the results.  What a function raises is not kept.  There is room for the catalogue, which
#: a command may go through more than once.
remembered = functools.lru_cache(maxsize=512)
