"""The corpus of broken functions: each is found at registration, with a code and a fix."""

from __future__ import annotations

import dataclasses

import pytest
from tests.functions.broken_functions.manifest_cases import MANIFEST_CASES
from tests.functions.broken_functions.option_cases import DECORATOR_CASES, JSON_CASES
from tests.functions.broken_functions.source_cases import SOURCE_CASES, SourceCase
from tests.functions.broken_functions.target_cases import TARGET_CASES, TargetCase

import stoker
from stoker.errors import InvalidOption, PreflightFailed
from stoker.finding import Finding
from stoker.manifest import Manifest
from stoker.options import FunctionOptions
from stoker.platform_facts import PlatformFacts
from stoker.preflight import check_manifest, check_source, check_target, raise_for_findings
from stoker.spec import options_from_json

FACTS = PlatformFacts(
    python="3.11",
    implementation="cpython",
    cloudpickle="3.1.2",
    platform="linux-x86_64",
    packages={"numpy": "2.0"},
    modules=frozenset({"numpy"}),
)
SOUND = Manifest(
    kind="pickle", python="3.11", cloudpickle="3.1.0", platform="linux-x86_64", handler="f", handler_kind="function"
)
WARNINGS = {"batch_keyword_only", "no_default_entry"}


def found_once(findings: list[Finding], code: str) -> Finding:
    matching = [finding for finding in findings if finding.code == code]
    assert matching, f"{code} not among {findings}"
    return matching[0]


@pytest.mark.parametrize("case", SOURCE_CASES, ids=lambda case: case.name)
def test_broken_source_is_found(case: SourceCase) -> None:
    options = options_from_json("f", case.options)
    finding = found_once(check_source(case.source, case.handler, options), case.code)
    assert finding.fix
    assert finding.is_error is (case.code not in WARNINGS)


@pytest.mark.parametrize("case", TARGET_CASES, ids=lambda case: case.name)
def test_broken_target_is_found(case: TargetCase) -> None:
    with case.make() as target:
        finding = found_once(check_target(target, case.options), case.code)
    assert finding.fix
    assert finding.is_error


@pytest.mark.parametrize(
    ("code", "changes", "options"), [c[1:] for c in MANIFEST_CASES], ids=[c[0] for c in MANIFEST_CASES]
)
def test_broken_manifest_is_found(code: str, changes: dict[str, object], options: FunctionOptions) -> None:
    manifest = Manifest.from_json({**SOUND.to_json(), **dataclasses_json(changes)})
    assert found_once(check_manifest(manifest, options, FACTS), code).fix


@pytest.mark.parametrize(("text", "options"), [c[1:] for c in DECORATOR_CASES], ids=[c[0] for c in DECORATOR_CASES])
def test_broken_decorator_option_is_refused(text: str, options: dict[str, object]) -> None:
    with pytest.raises(InvalidOption) as caught:
        stoker.function(**options)(lambda x: x)  # type: ignore[call-overload]
    assert text in str(caught.value)


@pytest.mark.parametrize(("text", "options"), [c[1:] for c in JSON_CASES], ids=[c[0] for c in JSON_CASES])
def test_broken_json_option_is_refused(text: str, options: dict[str, object]) -> None:
    with pytest.raises(InvalidOption) as caught:
        options_from_json("f", options)
    assert text in str(caught.value)


def test_the_corpus_is_large() -> None:
    assert len(SOURCE_CASES) + len(TARGET_CASES) + len(MANIFEST_CASES) >= 30


def test_no_message_repeats_a_secret() -> None:
    source = "KEY = 'AKIAIOSFODNN7EXAMPLE'\ndb_password = 'hunter22'\ndef f(x): return x"
    findings = check_source(source, "f", FunctionOptions(name="f"))
    assert len(findings) == 2
    assert not any("hunter22" in str(finding) or "AKIA" in str(finding) for finding in findings)


def test_all_errors_are_raised_together() -> None:
    findings = [Finding("a", "first", "do x"), Finding("b", "second", "do y"), Finding("c", "third", "-", False)]
    with pytest.raises(PreflightFailed, match=r"first[\s\S]*second") as caught:
        raise_for_findings("f", findings)
    assert [code for code, _, _ in caught.value.findings] == ["a", "b"]


def test_warnings_alone_pass() -> None:
    raise_for_findings("f", [Finding("c", "third", "-", is_error=False)])


def dataclasses_json(changes: dict[str, object]) -> dict[str, object]:
    plain = dict(changes)
    if "captured" in plain:
        plain["captured"] = [dataclasses.asdict(item) for item in changes["captured"]]  # type: ignore[attr-defined]
    return plain
