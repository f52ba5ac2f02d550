"""Source of a bundle as a living module, whose tracebacks show its lines.

The rule that must not break: for workers only; it runs user code.
"""

from __future__ import annotations

import linecache
import sys
from types import ModuleType


def run_source(source: str, sha256: str) -> ModuleType:
    """Execute ``source`` as module ``stoker_user_<first 8 of the hash>``."""
    name = f"stoker_user_{sha256[:8]}"
    filename = f"<{name}>"
    module = ModuleType(name)
    module.__file__ = filename
    code = compile(source, filename, "exec", dont_inherit=True)
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module
