"""Bundles from strangers: refused before anything in them is unpacked, loaded or run."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Mapping

import httpx
import pytest

from stoker.bundle import build_source_bundle
from stoker.signing import new_private_key, public_key_of, sign
from tests.bad_input.canary import CANARY, PICKLES
from tests.support.running_platform import RunningPlatform

KEY = new_private_key()
SOUND = build_source_bundle("def packed(x):\n    return x\n")
PICKLE_MANIFEST = {"format_version": 1, "kind": "pickle", "python": "2.7", "implementation": "cpython"}
SOURCE_MANIFEST = {"format_version": 1, "kind": "source", "python": "3.11", "implementation": "cpython"}


def archive(members: Mapping[str, bytes | str], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as zip_file:
        for name, content in members.items():
            zip_file.writestr(name, content)
    return out.getvalue()


def sourced(**members: bytes) -> bytes:
    return archive({"manifest.json": json.dumps(SOURCE_MANIFEST), "source.py": b"def packed(x): return x", **members})


def with_manifest(manifest: object) -> bytes:
    return archive({"manifest.json": json.dumps(manifest), "source.py": b"def packed(x): return x"})


def linked() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zip_file:
        info = zipfile.ZipInfo("files/link")
        info.external_attr = 0o120777 << 16
        zip_file.writestr(info, "/etc/passwd")
    return out.getvalue()


BUNDLES = {
    "empty": b"",
    "garbage": b"\xff" * 1000,
    "cut": SOUND[: len(SOUND) // 2],
    "bit-flipped": SOUND[:60] + bytes([SOUND[60] ^ 0xFF]) + SOUND[61:],
    "end-record-alone": b"PK\x05\x06" + b"\x00" * 18,
    "lying-directory": b"PK\x05\x06" + b"\xff" * 18,
    "no-manifest": archive({"source.py": "x"}),
    "manifest-no-json": archive({"manifest.json": b"\xff{"}),
    "manifest-deep": archive({"manifest.json": b"[" * 100_000}),
    "manifest-list": with_manifest([]),
    "manifest-version": with_manifest(SOURCE_MANIFEST | {"format_version": 10**40}),
    "manifest-kind": with_manifest(SOURCE_MANIFEST | {"kind": "exe"}),
    "manifest-modules": with_manifest(SOURCE_MANIFEST | {"modules": [1]}),
    "manifest-captured": with_manifest(SOURCE_MANIFEST | {"captured": [{"size_bytes": "x"}]}),
    "no-source": archive({"manifest.json": json.dumps(SOURCE_MANIFEST)}),
    "source-no-text": archive({"manifest.json": json.dumps(SOURCE_MANIFEST), "source.py": b"\xff\xfe\x00"}),
    "climbs-out": sourced(**{"files/../../../tmp/evil": b"x"}),
    "absolute": sourced(**{"/etc/evil": b"x"}),
    "drive": sourced(**{"C:\\evil": b"x"}),
    "link": linked(),
    "bomb": sourced(**{"files/bomb": b"\0" * (64 * 1024 * 1024)}),
    "many-files": sourced(**{f"files/{number}": b"" for number in range(10_001)}),
    "foreign-pickle": archive({"manifest.json": json.dumps(PICKLE_MANIFEST), "payload.pkl": PICKLES[2]}),
}  # fmt: skip


def upload(platform: RunningPlatform, bundle: bytes, **changes: object) -> httpx.Response:
    spec = {
        "name": "packed",
        "handler": "packed",
        "public_key": base64.b64encode(public_key_of(KEY)).decode(),
        "signature": base64.b64encode(sign(bundle, KEY)).decode(),
    } | changes
    with platform.client() as client:
        return client.post("/v1/functions", data={"spec": json.dumps(spec)}, files={"bundle": bundle})


def assert_refused(answer: httpx.Response) -> None:
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["hint"], answer.text
    assert not CANARY.exists()


@pytest.mark.parametrize("name", BUNDLES)
def test_unsound_bundles_are_refused(platform: RunningPlatform, name: str) -> None:
    assert_refused(upload(platform, BUNDLES[name]))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"signature": ""}, id="no-signature"),
        pytest.param({"signature": "???"}, id="no-base64"),
        pytest.param({"signature": base64.b64encode(b"x" * 64).decode()}, id="wrong-signature"),
        pytest.param({"public_key": base64.b64encode(b"x").decode()}, id="short-key"),
        pytest.param({"public_key": base64.b64encode(public_key_of(new_private_key())).decode()}, id="other-key"),
        pytest.param({"signature": base64.b64encode(sign(b"other", KEY)).decode()}, id="of-other-content"),
        pytest.param({"name": "../x"}, id="name"),
        pytest.param({"handler": "os.system"}, id="handler"),
    ],
)
def test_bundles_that_do_not_fit_their_spec_are_refused(platform: RunningPlatform, changes: dict[str, str]) -> None:
    assert_refused(upload(platform, SOUND, **changes))


FORM_TYPE = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param("multipart/form-data", b"--b", id="no-boundary"),
        pytest.param(FORM_TYPE, b"", id="empty"),
        pytest.param(FORM_TYPE, b"\x00\xff" * 500, id="garbage"),
        pytest.param(FORM_TYPE, b"--b\r\nbroken header\r\n\r\n\r\n--b--", id="broken-header"),
        pytest.param(FORM_TYPE, PART % (b"spec", b"", b"{}") + b"--b--\r\n", id="no-bundle"),
        pytest.param(FORM_TYPE, PART % (b"bundle", b'; filename="x"', b"x") + b"--b--\r\n", id="no-spec"),
        pytest.param(FORM_TYPE, PART % (b"spec", b'; filename="x"', b"{}") * 3 + b"--b--\r\n", id="too-many-files"),
        pytest.param(FORM_TYPE, PART % (b"a", b"", b"1") * 50 + b"--b--\r\n", id="too-many-fields"),
        pytest.param(FORM_TYPE, PART % (b"spec", b"", b"\xff") + b"--b--\r\n", id="spec-no-text"),
        pytest.param(
            FORM_TYPE,
            PART % (b"spec", b"", b"[" * 100_000) + PART % (b"bundle", b'; filename="x"', b"x") + b"--b--\r\n",
            id="deep-spec",
        ),
        pytest.param("multipart/form-data; boundary=" + "b" * 1000, b"--b", id="long-boundary"),
        pytest.param("multipart/mixed; boundary=b", b"--b--", id="other-multipart"),
    ],
)
def test_garbage_forms_are_refused(platform: RunningPlatform, content_type: str, body: bytes) -> None:
    with platform.client() as client:
        assert_refused(client.post("/v1/functions", content=body, headers={"content-type": content_type}))


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"modules": ["", "..", "a\0b", "\ud800"], "module_packages": {"": "x"}}, id="modules"),
        pytest.param({"python": "x.y.z", "packages": {"": "!"}, "platform": "\0"}, id="versions"),
        pytest.param({"captured": [{"name": {}, "size_bytes": 10**30}], "handler_kind": "x"}, id="captured"),
    ],
)
def test_odd_claims_of_a_manifest_do_no_harm(platform: RunningPlatform, claims: dict[str, object]) -> None:
    answer = upload(platform, with_manifest(SOURCE_MANIFEST | claims))
    assert answer.status_code < 500, answer.text


def test_a_bundle_changed_on_disk_never_runs(platform: RunningPlatform) -> None:
    options = {"scaling": {"keep_alive_s": 0}}
    platform.deploy("changed", "def changed():\n    return 'as deployed'\n", **options)
    with platform.client() as client:
        revision = client.get("/v1/functions/changed").json()["revisions"][-1]
        (path,) = (platform.data_dir / "blobs").glob(f"??/{revision['bundle_sha256']}")
        sound = path.read_bytes()
        path.write_bytes(build_source_bundle(f"open({str(CANARY)!r}, 'w')\ndef changed():\n    return 'evil'\n"))
        answer = client.post("/f/changed", json={})
        path.write_bytes(sound)
        client.post("/v1/functions/changed/retry")
        again = client.post("/f/changed", json={})
    assert answer.json()["code"] in ("bundle_tampered", "start_failed", "crash_looping"), answer.text
    assert not CANARY.exists()
    assert again.json() == "as deployed", again.text
