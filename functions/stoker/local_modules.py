"""Which modules are the user's own, so that they travel by value, and which a worker must import by name.

The rule that must not break: a module of the standard library, of an installed package or of Stoker is never local.
"""

from __future__ import annotations

import sys
import sysconfig
from types import ModuleType
from typing import Final

OUR_PACKAGES: Final = frozenset({"stoker", "stoker_runtime", "stoker_pool", "stoker_api"})
_INSTALLED_FOLDERS: Final = ("/site-packages/", "/dist-packages/")


def top_level(name: str) -> str:
    """``numpy`` of ``numpy.linalg``."""
    return name.partition(".")[0]


def is_standard(name: str) -> bool:
    """Of the standard library, or built in."""
    return top_level(name) in sys.stdlib_module_names or name == "builtins"


def is_local(name: str) -> bool:
    """The user's own code, which the worker does not have."""
    top = top_level(name)
    if top == "__main__":
        return True
    if top in OUR_PACKAGES or is_standard(top):
        return False
    file = getattr(sys.modules.get(name), "__file__", None) or getattr(sys.modules.get(top), "__file__", None)
    return isinstance(file, str) and not _is_installed(file)


def is_third_party(name: str) -> bool:
    """Of an installed package that the worker's environment must have too."""
    return not is_standard(name) and top_level(name) not in OUR_PACKAGES and not is_local(name)


def local_modules() -> list[ModuleType]:
    """Every local module that is imported now."""
    return [
        module
        for name, module in list(sys.modules.items())
        if isinstance(module, ModuleType) and name != "__main__" and is_local(name)
    ]


def _is_installed(file: str) -> bool:
    paths = sysconfig.get_paths()
    if any(folder in file for folder in _INSTALLED_FOLDERS):
        return True
    return file.startswith((paths["stdlib"] + "/", paths["platstdlib"] + "/"))
