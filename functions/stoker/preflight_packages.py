"""Pre-flight: does the environment hold the packages that the function imports?

The rule that must not break: an import whose package cannot be told for sure is a warning; the dry run decides.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from stoker.environment import normalised, requirement_name
from stoker.finding import Finding
from stoker.local_modules import OUR_PACKAGES, is_standard, top_level
from stoker.options import EnvironmentSpec
from stoker.platform_facts import PlatformFacts

_KNOWN_PACKAGES: Final[Mapping[str, str]] = {
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "pymupdf",
    "google.protobuf": "protobuf",
    "jwt": "pyjwt",
    "magic": "python-magic",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "pkg_resources": "setuptools",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
_SEVERAL: Final[Mapping[str, frozenset[str]]] = {
    "cv2": frozenset(
        {
            "opencv-python",
            "opencv-python-headless",
            "opencv-contrib-python",
            "opencv-contrib-python-headless",
        }
    ),
    "onnxruntime": frozenset({"onnxruntime", "onnxruntime-gpu"}),
    "faiss": frozenset({"faiss-cpu", "faiss-gpu"}),
    "tensorflow": frozenset({"tensorflow", "tensorflow-cpu"}),
}
_IN_EVERY_ENVIRONMENT: Final = ("cloudpickle", "msgspec", "pydantic", "cryptography", "python-multipart")
"""What a worker itself needs, so that each built environment has it and what it depends on."""
_MAX_CLOSURE: Final = 500


def check_packages(
    modules: Iterable[str],
    environment: EnvironmentSpec,
    facts: PlatformFacts,
    *,
    owners: Mapping[str, str] | None = None,
    optional: frozenset[str] = frozenset(),
) -> Iterator[Finding]:
    """Findings for top-level ``modules``; ``owners`` says which distribution a module came from."""
    wanted = sorted({top_level(name) for name in modules})
    wanted = [name for name in wanted if not is_standard(name) and name not in OUR_PACKAGES]
    travelling = {file.rstrip("/").rpartition("/")[2].removesuffix(".py") for file in environment.files}
    given, is_complete = _installed(environment, facts)
    if given is None:
        return
    for module in wanted:
        candidates = {normalised(module), *_SEVERAL.get(module, ()), _package_of(module, owners or {})}
        if candidates & given or module in travelling:
            continue
        if not environment.python_packages and facts.modules is not None and module in facts.modules:
            continue
        package = _package_of(module, owners or {})
        where = "its environment" if environment.python_packages else "the platform's own interpreter"
        yield Finding(
            "package_missing",
            f"it imports {module}, but {where} has no {package}",
            f"Add {package!r} to Environment(python_packages=[...]).",
            is_error=is_complete and module not in optional,
        )


def _package_of(module: str, owners: Mapping[str, str]) -> str:
    return normalised(owners.get(module) or _KNOWN_PACKAGES.get(module) or module)


def _installed(environment: EnvironmentSpec, facts: PlatformFacts) -> tuple[set[str] | None, bool]:
    """Normalised names in the environment, and whether that is all of them. None: nothing is known."""
    if not environment.python_packages:
        return (None, False) if facts.packages is None else (set(facts.packages), True)
    names: set[str] = set()
    waiting = [*environment.python_packages, *_IN_EVERY_ENVIRONMENT]
    is_complete = True
    while waiting and len(names) < _MAX_CLOSURE:
        requirement = waiting.pop()
        name = requirement_name(requirement)
        if name is None or name in names:
            continue
        names.add(name)
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            # What it depends on is not known here. One with a marker is absent because the marker says so.
            is_complete = is_complete and ";" in requirement
            continue
        wants_extras = "[" in requirement.partition(";")[0]
        waiting += [text for text in needed if wants_extras or "extra ==" not in text]
    return names, is_complete
