"""Bundles from elsewhere that cannot run here: (id, code, changes to a sound manifest, options)."""

from __future__ import annotations

from stoker.manifest import CapturedGlobal
from stoker.options import EnvironmentSpec, FunctionOptions

PLAIN = FunctionOptions(name="f")
WITH_NUMPY = FunctionOptions(name="f", environment=EnvironmentSpec(python_packages=("numpy>=2",)))
HUGE = CapturedGlobal("TABLE", "builtins.dict", 40_000_000)

MANIFEST_CASES: list[tuple[str, str, dict[str, object], FunctionOptions]] = [
    ("older-python", "python_mismatch", {"python": "3.10"}, PLAIN),
    ("newer-python", "python_mismatch", {"python": "3.14"}, PLAIN),
    ("no-python", "python_mismatch", {"python": ""}, PLAIN),
    ("pypy", "implementation_mismatch", {"implementation": "pypy"}, PLAIN),
    ("old-cloudpickle", "cloudpickle_mismatch", {"cloudpickle": "2.2.1"}, PLAIN),
    ("no-cloudpickle", "cloudpickle_mismatch", {"cloudpickle": ""}, PLAIN),
    ("other-system", "platform_mismatch", {"platform": "darwin-arm64"}, PLAIN),
    (
        "compiled-for-another-machine",
        "platform_mismatch",
        {"platform": "linux-aarch64", "native_files": ("lib/kernel.so",)},
        PLAIN,
    ),
    ("package-not-on-platform", "package_missing", {"modules": ("tensorflow",)}, PLAIN),
    ("package-not-in-environment", "package_missing", {"modules": ("torch",)}, WITH_NUMPY),
    ("huge-capture", "captured_huge", {"captured": (HUGE,)}, PLAIN),
]
