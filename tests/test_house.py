"""The house itself: what is in the wheel, how long files are, and that the documents tell the truth about both."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from stoker.cli.main import main
from stoker.options import Batch, EnvironmentSpec, FunctionOptions, Retries, Scaling
from stoker_api.batches.settings import BatchSettings
from stoker_api.gateway.limits import GatewayLimits
from stoker_api.settings import ServerSettings
from stoker_api.webhooks.settings import WebhookSettings
from stoker_pool.settings import PoolSettings

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "functions": "stoker",
    "runtime": "stoker_runtime",
    "warm_pool": "stoker_pool",
    "platform_api": "stoker_api",
}
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:^(?:\$ | +)|`|&& )stoker ([a-z][^`&|$\n]*)", re.MULTILINE)
LONGEST_FILE = 400


def python_files() -> Iterator[Path]:
    for folder in (*PACKAGES, "tests", "benchmarks", "examples"):
        yield from (path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def document_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Every file of a wheel built from this tree."""
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", str(out), str(ROOT)]
    subprocess.run(build, check=True)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.mark.slow
def test_every_top_level_name_in_the_wheel_starts_with_stoker(wheel_names: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    assert {*PACKAGES.values()} <= tops
    assert not [top for top in tops if not top.startswith("stoker")]


@pytest.mark.slow
def test_the_wheel_holds_every_file_that_the_code_reads(wheel_names: list[str]) -> None:
    for outer, package in PACKAGES.items():
        for path in (ROOT / outer / package).rglob("*"):
            if path.suffix in {".py", ".sql", ".lua", ".html", ".js", ".css", ".svg", ".typed"}:
                assert str(path.relative_to(ROOT / outer)) in wheel_names


@pytest.mark.parametrize(("outer", "package"), PACKAGES.items(), ids=PACKAGES)
def test_each_outer_folder_holds_one_typed_package_and_is_none_itself(outer: str, package: str) -> None:
    assert not (ROOT / outer / "__init__.py").exists()
    assert (ROOT / outer / package / "py.typed").exists()
    assert [path.name for path in (ROOT / outer).iterdir() if (path / "__init__.py").exists()] == [package]


def test_no_file_is_longer_than_the_style_allows() -> None:
    lengths = {document_id(path): len(path.read_text().splitlines()) for path in python_files()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    drawers = {"utils.py", "util.py", "helpers.py", "common.py", "manager.py", "misc.py"}
    assert [document_id(path) for path in python_files() if path.name in drawers] == []


def test_the_version_is_the_same_everywhere() -> None:
    version = importlib.metadata.version("stoker")
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()
    assert (
        f"## {version}" in (ROOT / "CHANGELOG.md").read_text() or "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()
    )


def test_every_base_dependency_has_its_line_of_reason() -> None:
    text = (ROOT / "docs/dependencies.md").read_text()
    names = [
        re.split(r"[><=;\[ ]", line)[0] for line in importlib.metadata.requires("stoker") or [] if "extra" not in line
    ]
    assert [name for name in names if f"| `{name}` |" not in text] == []


def test_every_option_has_its_line_in_the_documents() -> None:
    text = (ROOT / "docs/functions.md").read_text()
    values = (FunctionOptions, Batch, Scaling, Retries, EnvironmentSpec)
    options = [field.name for value in values for field in dataclasses.fields(value)]
    assert [option for option in options if f"| `{option}` |" not in text] == []


def test_every_setting_has_its_line_in_the_documents() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    groups = (BatchSettings, ServerSettings, GatewayLimits, PoolSettings, WebhookSettings)
    settings = [field.name for group in groups for field in dataclasses.fields(group)]
    assert [setting for setting in settings if f"| `{setting}` |" not in text] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=document_id)
def test_links_in_documents_resolve(document: Path) -> None:
    for target in LINK.findall(document.read_text()):
        if not target.startswith(("http://", "https://", "#")):
            assert (document.parent / target.split("#")[0]).exists(), f"{target} in {document_id(document)}"


def test_make_targets_and_files_named_in_documents_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for document in DOCUMENTS:
        text = document.read_text()
        for target in re.findall(r"`?make ([a-z][a-z-]+)`", text):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target} in {document_id(document)}"
        for path in re.findall(r"\b(?:examples|benchmarks)/[\w./-]+\.(?:py|txt)\b", text):
            assert (ROOT / path).exists(), f"{path} in {document_id(document)}"


@pytest.mark.parametrize("path", [*DOCUMENTS, *sorted((ROOT / "examples").glob("*.py"))], ids=document_id)
def test_commands_and_options_in_documents_exist(path: Path) -> None:
    for line in COMMAND.findall(path.read_text()):
        words = shlex.split(line, comments=True)
        command: click.Command | None = main
        context = click.Context(main)
        while isinstance(command, click.Group) and words:
            command = command.get_command(context, words[0])
            assert command is not None, f"`stoker {line}` in {document_id(path)}"
            words = words[1:]
        assert command is not None
        try:
            command.make_context("stoker", words)
        except click.NoSuchOption as error:
            pytest.fail(f"`stoker {line}` in {document_id(path)}: {error.message}")
        except click.UsageError:
            pass  # a file that is not here, or an argument left out in prose
