"""Products generated on first use: this package's modules live in the user's cache.

Each product is a subpackage named after the digest of all that made it, so that a class in it can
be unpickled in another process by its ordinary module name.
"""

from hamilforge.runtime.core.cache import roots

__path__ = [*__path__, *map(str, roots())]
