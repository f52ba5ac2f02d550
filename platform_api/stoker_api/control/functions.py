"""``/v1/functions``: register, list, describe, delete."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from starlette.datastructures import UploadFile

from stoker.errors import InvalidInput
from stoker.spec import options_from_json
from stoker_api.control.documents import Json, function_document, function_rows, scaling_in_force, url_of
from stoker_api.control.edge import (
    AnyGrant,
    DeployableFunction,
    Document,
    PlatformDep,
    ReadableFunction,
    checked_namespace,
    grant_for,
    parse_document,
    read_document,
    takes,
)
from stoker_api.control.forecast import forecast_document
from stoker_api.registration import Upload, with_namespace
from stoker_api.route_table import schema_of
from stoker_api.stores.records import Scope
from stoker_runtime.environment_build import digest_of

router = APIRouter(prefix="/v1/functions", tags=["functions"])
_MAX_SPEC_BYTES = 16 * 1024 * 1024


class _Spec(Document):
    name: str
    namespace: str | None = None
    handler: str
    options: dict[str, Any] = Field(default_factory=dict)


class SourceSpec(_Spec):
    """A function as Python source."""

    source: str
    public_key: str | None = None


class BundleSpec(_Spec):
    """What goes with a bundle."""

    public_key: str
    signature: str


@router.post(
    "",
    status_code=201,
    responses={200: {"description": "Nothing changed"}},
    openapi_extra=takes(SourceSpec),
    summary="Register a function",
)
async def register(request: Request, response: Response, platform: PlatformDep, dry_run: bool = True) -> Json:
    """JSON with ``source``, or multipart with ``spec`` and ``bundle``. 200: nothing changed."""
    grant_for(request, Scope.DEPLOY)  # before a byte of the body is read
    content_type = request.headers.get("content-type", "")
    if content_type.lower().startswith("multipart/form-data"):
        upload = await _bundle_upload(request)
    else:
        upload = _source_upload(await read_document(request, SourceSpec))
    request.state.function = f"{upload.options.namespace}/{upload.options.name}"
    grant = grant_for(request, Scope.DEPLOY, upload.options.namespace)
    await platform.schedules.check_deploy(upload.options)
    done = await platform.registration.register(upload, grant, dry_run=dry_run)
    await platform.schedules.sync(upload.options)
    revision = done.revision
    if not done.is_created:
        response.status_code = 200
    return {
        "name": revision.key.name,
        "namespace": revision.key.namespace,
        "revision": revision.number,
        "url": url_of(str(request.base_url), revision.key),
        "created": done.is_created,
        "schema": schema_of(revision.schema_json),
        "environment": {"digest": digest_of(upload.options.environment)},
        "warnings": [{"code": item.code, "message": item.message, "fix": item.fix} for item in done.warnings],
    }


@router.get("", summary="List functions")
async def list_functions(
    request: Request, platform: PlatformDep, grant: AnyGrant, namespace: Annotated[str | None, Query()] = None
) -> Json:
    """All that the token covers, of one namespace where given."""
    if namespace is not None:
        grant_for(request, Scope.INVOKE, checked_namespace(namespace))
    base_url = str(request.base_url)
    entries = [
        entry
        for entry in platform.registry.functions(namespace)
        if grant.namespaces is None or entry.record.key.namespace in grant.namespaces
    ]
    return {"functions": function_rows(platform, entries, base_url)}


@router.get("/{name}", summary="Describe a function")
async def describe(request: Request, platform: PlatformDep, key: ReadableFunction) -> Json:
    """All about one function."""
    is_owner = Scope.DEPLOY in request.state.grant.scopes
    entry = platform.registry.function(key)
    document = function_document(platform, entry, str(request.base_url), is_owner=is_owner)
    return {**document, "forecast": forecast_document(platform, key, scaling_in_force(entry))}


@router.delete("/{name}", summary="Delete a function")
async def delete(platform: PlatformDep, key: DeployableFunction, force: bool = False) -> Json:
    """With all its revisions; 409 while an alias points at it or calls are in flight."""
    await platform.delete_function(key, force=force)
    return {"deleted": True, "name": key.name, "namespace": key.namespace}


@router.delete("/{name}/revisions/{number}", summary="Delete a revision")
async def delete_revision(platform: PlatformDep, key: DeployableFunction, number: int, force: bool = False) -> Json:
    """409 while an alias points at it or calls are in flight."""
    await platform.delete_revision(key, number, force=force)
    return {"deleted": True, "name": key.name, "namespace": key.namespace, "revision": number}


def _source_upload(spec: SourceSpec) -> Upload:
    options = with_namespace(options_from_json(spec.name, spec.options), spec.namespace)
    return Upload(options=options, handler=spec.handler, source=spec.source)


async def _bundle_upload(request: Request) -> Upload:
    async with request.form(max_files=1, max_fields=4, max_part_size=_MAX_SPEC_BYTES) as form:
        text, bundle = form.get("spec"), form.get("bundle")
        if not isinstance(text, str) or not isinstance(bundle, UploadFile):
            raise InvalidInput("a multipart registration needs the field `spec` and the file `bundle`")
        spec = parse_document(text.encode("utf-8", "surrogatepass"), BundleSpec)
        data = await bundle.read()
    return Upload(
        options=with_namespace(options_from_json(spec.name, spec.options), spec.namespace),
        handler=spec.handler,
        bundle=data,
        signature=_from_base64("signature", spec.signature),
        public_key=_from_base64("public_key", spec.public_key),
    )


def _from_base64(field: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(f"{field} must be base64, got {text[:32]!r}") from error
