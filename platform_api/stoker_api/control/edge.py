"""Where requests of the control API are parsed and let in: tokens, bodies, names.

The rule that must not break: a route's code sees checked values only, and whatever bytes a peer sends, the answer is a
problem document of the 4xx kind.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import msgspec
from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, ValidationError

from stoker.errors import InvalidInput, InvalidOption
from stoker.options import check_name
from stoker_api.gateway.problems import PROBLEM_TYPE
from stoker_api.gateway.refusals import BadRequest
from stoker_api.gateway.target import DEFAULT_NAMESPACE
from stoker_api.platform import Platform
from stoker_api.refusals import InvalidDocument
from stoker_api.stores.records import FunctionKey, Scope
from stoker_api.tokens import Grant

M = TypeVar("M", bound=BaseModel)
_BEARER: Final = "bearer "
_LONGEST_TOKEN: Final = 512


class Document(BaseModel):
    """A body of ours: a field that is not known is refused by name."""

    model_config = ConfigDict(extra="forbid", strict=True)


def platform_of(request: Request) -> Platform:
    """The platform that this app serves."""
    platform = request.app.state.platform
    assert isinstance(platform, Platform)
    return platform


def grant_for(request: Request, scope: Scope, namespace: str | None = None) -> Grant:
    """Who asks; raises ``AccessDenied`` or ``Forbidden``."""
    presented = token_of(request.headers.get("authorization", ""))
    grant = platform_of(request).tokens.require(presented, scope, namespace)
    request.state.grant = grant
    return grant


def token_of(header: str) -> bytes | None:
    """What follows ``Bearer``; None without one."""
    token = header[len(_BEARER) :].strip() if header[: len(_BEARER)].lower() == _BEARER else ""
    return token[:_LONGEST_TOKEN].encode("utf-8", "replace") if token else None


def checked_namespace(namespace: str = DEFAULT_NAMESPACE) -> str:
    """The ``namespace`` of the query."""
    _check("namespace", namespace)
    return namespace


def _readable(request: Request, name: str, namespace: Annotated[str, Depends(checked_namespace)]) -> FunctionKey:
    return _function(request, name, namespace, Scope.INVOKE)


def _deployable(request: Request, name: str, namespace: Annotated[str, Depends(checked_namespace)]) -> FunctionKey:
    return _function(request, name, namespace, Scope.DEPLOY)


def _function(request: Request, name: str, namespace: str, scope: Scope) -> FunctionKey:
    grant_for(request, scope, namespace)
    _check("name", name)
    key = FunctionKey(namespace, name)
    request.state.function = str(key)
    return key


def _admin(request: Request) -> Grant:
    return grant_for(request, Scope.ADMIN)


def _anyone(request: Request) -> Grant:
    return grant_for(request, Scope.INVOKE)


def _deployer(request: Request, namespace: Annotated[str, Depends(checked_namespace)]) -> str:
    grant_for(request, Scope.DEPLOY, namespace)
    return namespace


PlatformDep = Annotated[Platform, Depends(platform_of)]
ReadableFunction = Annotated[FunctionKey, Depends(_readable)]
"""The function in the path, for a token that may invoke it."""
DeployableFunction = Annotated[FunctionKey, Depends(_deployable)]
"""The function in the path, for a token that may change it."""
AdminGrant = Annotated[Grant, Depends(_admin)]
AnyGrant = Annotated[Grant, Depends(_anyone)]
DeployNamespace = Annotated[str, Depends(_deployer)]
"""The namespace of the query, for a token that may deploy there."""


async def read_document(request: Request, model: type[M]) -> M:
    """The JSON body, whatever its content type says (curl's default says form); raises ``InvalidInput``."""
    return parse_document(await request.body(), model)


def parse_document(data: bytes, model: type[M]) -> M:
    """JSON as a document; raises ``BadRequest`` for what is no JSON, ``InvalidDocument`` with the paths otherwise."""
    try:
        return model.model_validate(msgspec.json.decode(data or b"{}"))
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is no JSON: {error}") from error
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        errors = tuple((".".join(map(str, item["loc"])), item["msg"]) for item in found)
        raise InvalidDocument(f"{errors[0][0] or 'body'}: {errors[0][1]}", errors=errors) from error


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """``openapi_extra`` of a route that reads its body by ``read_document``."""
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"description": "A problem document says what to change", "content": {PROBLEM_TYPE: {}}},
    "5XX": {"description": "A problem document says whether to try again", "content": {PROBLEM_TYPE: {}}},
}


def _check(option: str, value: str) -> None:
    try:
        check_name(option, value)
    except InvalidOption as error:
        raise InvalidInput(error.detail) from error
