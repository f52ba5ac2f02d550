"""Pre-flight: can a bundle made there run here? Judged by its manifest alone.

The rule that must not break: the payload is not opened.
"""

from __future__ import annotations

from collections.abc import Iterator

from stoker.finding import Finding
from stoker.manifest import Manifest
from stoker.options import FunctionOptions
from stoker.platform_facts import PlatformFacts
from stoker.preflight_captures import HUGE_BYTES
from stoker.preflight_packages import check_packages


def manifest_findings(manifest: Manifest, options: FunctionOptions, facts: PlatformFacts) -> Iterator[Finding]:
    """Findings for a manifest against a platform."""
    if manifest.kind == "pickle":
        yield from _interpreter(manifest, facts)
        yield from _captured(manifest)
        yield from check_packages(manifest.modules, options.environment, facts, owners=dict(manifest.module_packages))
    yield from _machine(manifest, facts)


def _interpreter(manifest: Manifest, facts: PlatformFacts) -> Iterator[Finding]:
    if facts.python is not None and manifest.python != facts.python:
        yield Finding(
            "python_mismatch",
            f"the bundle was made with Python {manifest.python}, and the platform runs {facts.python}",
            f"Deploy with Python {facts.python}, or register source, which runs on any version.",
        )
    if facts.implementation is not None and manifest.implementation != facts.implementation:
        yield Finding(
            "implementation_mismatch",
            f"the bundle was made with {manifest.implementation}, and the platform runs {facts.implementation}",
            f"Deploy with {facts.implementation}, or register source.",
        )
    if facts.cloudpickle is not None and _major(manifest.cloudpickle) != _major(facts.cloudpickle):
        yield Finding(
            "cloudpickle_mismatch",
            f"the bundle was made with cloudpickle {manifest.cloudpickle or '(unknown)'}, "
            f"and the platform has {facts.cloudpickle}",
            f"pip install 'cloudpickle=={_major(facts.cloudpickle)}.*', then deploy again.",
        )


def _machine(manifest: Manifest, facts: PlatformFacts) -> Iterator[Finding]:
    if facts.platform is None or manifest.platform in ("", facts.platform):
        return
    what = f"compiled files ({', '.join(manifest.native_files[:3])})" if manifest.native_files else "plain Python"
    if manifest.native_files or manifest.kind == "pickle":
        yield Finding(
            "platform_mismatch",
            f"the bundle was made on {manifest.platform} with {what}, and the platform is {facts.platform}",
            "Install what is compiled by Environment(python_packages=[...])."
            if manifest.native_files
            else "Nothing, as long as its code does not depend on the machine.",
            is_error=bool(manifest.native_files),
        )


def _captured(manifest: Manifest) -> Iterator[Finding]:
    for item in manifest.captured:
        if item.size_bytes >= HUGE_BYTES:
            yield Finding(
                "captured_huge",
                f"{item.name} ({item.type}) is captured and takes {item.size_bytes / 1024 / 1024:.0f} MiB",
                "Load it in an @stoker.enter hook, or send it as a file: Environment(files=[...]).",
            )


def _major(version: str) -> str:
    return version.partition(".")[0]
