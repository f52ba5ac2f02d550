"""Refuses at registration, with the fix in the message, what would break at run time.

The rule that must not break: nothing of the user's is executed here; the dry run in a worker does that.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator

from stoker.captures import captures_of
from stoker.finding import Finding, raise_for_findings
from stoker.manifest import Manifest
from stoker.options import FunctionOptions
from stoker.platform_facts import UNKNOWN, PlatformFacts, own_facts
from stoker.preflight_captures import check_captures, secret_finding
from stoker.preflight_manifest import manifest_findings
from stoker.preflight_packages import check_packages
from stoker.preflight_shape import check_shape
from stoker.preflight_source import check_handler, check_text, parse
from stoker.secret_patterns import looks_secret
from stoker.shapes import shape_of, unwrap
from stoker.source import import_nodes

__all__ = [
    "UNKNOWN",
    "Finding",
    "PlatformFacts",
    "check_manifest",
    "check_source",
    "check_target",
    "own_facts",
    "raise_for_findings",
]


def check_source(
    source: str, handler: str, options: FunctionOptions, facts: PlatformFacts | None = None
) -> list[Finding]:
    """Findings for source text. ``facts`` None: the platform is this interpreter."""
    tree, findings = parse(source)
    if tree is None:
        return findings
    shape, handler_findings = check_handler(tree, handler)
    findings += handler_findings
    if shape is not None:
        findings += check_shape(shape, options)
    modules, optional = _modules(tree)
    facts = own_facts() if facts is None else facts
    findings += check_packages(modules, options.environment, facts, optional=optional)
    findings += check_text(tree)
    findings += _option_secrets(options)
    return findings


def check_target(target: object, options: FunctionOptions) -> list[Finding]:
    """Findings for a live object, on the client, before it is pickled."""
    target = unwrap(target)
    shape = shape_of(target)
    if shape is None:
        message = f"the handler is a {type(target).__name__}, which cannot be called"
        return [Finding("handler_not_callable", message, "Name a function, or a class with @stoker.method.")]
    findings = list(check_shape(shape, options))
    if inspect.isabstract(target):
        missing = ", ".join(sorted(getattr(target, "__abstractmethods__", ())))
        message = f"class {shape.name} is abstract: it lacks {missing}"
        findings.append(Finding("abstract_class", message, "Define them, or deploy the class that does."))
    found = captures_of(target)
    findings += check_captures(found)
    if options.environment.python_packages:
        findings += check_packages(
            found.modules | found.missing_candidates,
            options.environment,
            UNKNOWN,
            optional=frozenset(name.partition(".")[0] for name in found.missing_candidates - found.modules),
        )
    findings += _option_secrets(options)
    return findings


def check_manifest(
    manifest: Manifest, options: FunctionOptions, platform_facts: PlatformFacts | None = None
) -> list[Finding]:
    """Findings for a bundle from elsewhere, by its manifest. ``platform_facts`` None: this interpreter."""
    facts = own_facts() if platform_facts is None else platform_facts
    return [*manifest_findings(manifest, options, facts), *_option_secrets(options)]


def _modules(tree: ast.Module) -> tuple[set[str], frozenset[str]]:
    required: set[str] = set()
    optional: set[str] = set()
    for name, is_required in import_nodes(tree):
        (required if is_required else optional).add(name.partition(".")[0])
    return required | optional, frozenset(optional - required)


def _option_secrets(options: FunctionOptions) -> Iterator[Finding]:
    for option, pairs in (("env", options.env), ("environment.env", options.environment.env)):
        for key, value in pairs:
            kind = looks_secret(key, value)
            if kind:
                yield secret_finding(f"{option}[{key!r}]", kind)
