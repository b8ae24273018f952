"""How the API is described in OpenAPI, whatever the site has set for its own views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.reverse import reverse

# Before the names of operations and components, of which a site's own schema may have the like.
_PREFIX: Final = "Perfsee"


def address_of(request: Request, name: str, **kwargs: Any) -> str:
    """Return the address of a view of this API, where the site has mounted it."""
    match = request.resolver_match
    namespace = match.namespace if match else ""
    return reverse(f"{namespace}:{name}" if namespace else name, kwargs=kwargs, request=request)


class ApiSchema(AutoSchema):
    """Names operations after what is done to what."""

    view: Any

    def get_operation_id(self) -> str:
        """Return the name that generated clients know the operation by."""
        return f"{_PREFIX.lower()}_{self.view.basename}_{self.view.action}"

    def get_tags(self) -> list[str]:
        """Return the noun that the operation belongs to."""
        return [self.view.basename]

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        """Return the name of a component."""
        return _PREFIX + super().get_serializer_name(serializer, direction)


class NamedChoice(serializers.ChoiceField):
    """One of a few values, which the schema has a name for."""

    def __init__(self, name: str, choices: Any, **kwargs: Any) -> None:
        self.component = name
        # What was given is not said again: it may be what no JSON can hold.
        known = ", ".join(value for value, _label in choices)
        kwargs["error_messages"] = {"invalid_choice": f"Not one of {known}."}
        super().__init__(choices, **kwargs)


class NamedChoiceExtension(OpenApiSerializerFieldExtension):
    """Describes `NamedChoice`."""

    target_class = NamedChoice

    def get_name(self) -> str:
        """Return the name of the component."""
        return f"{_PREFIX}{self.target.component}"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        """Return the values."""
        return {"type": "string", "enum": list(self.target.choices)}


class ErrorSerializer(serializers.Serializer[Any]):
    """Why a request was not done."""

    detail = serializers.CharField(help_text="The reason, for a person to read.")


# What is wrong with which field; with a body that cannot be read at all, it is under `detail`.
_PROBLEMS: Final = {
    "type": "object",
    "additionalProperties": {},
    "example": {"page_size": ["From 1 to 500."]},
}
_DESCRIPTIONS: Final = {
    304: "The body is the one that `If-None-Match` names.",
    401: "It is not known who asks.",
    403: "Who asks has not got all the permissions that this needs.",
    404: "There is no such row, or no such format as `format` names.",
    406: "The site answers in none of the formats that `Accept` names.",
    412: "The body is not the one that `If-Match` names.",
    415: "The site reads no such `Content-Type`.",
}
_ALWAYS: Final = (401, 403, 404, 406)


def documented(
    summary: str,
    response: Any,
    *errors: int,
    status: int = 200,
    reasons: dict[int, str] | None = None,
    body: Any = None,
    **described: Any,
) -> Callable[[Any], Any]:
    """Describe an action: what it answers when all is well, and with which errors.

    `response` may also be a dict by status and media type. `body` is what is read of a request,
    and `reasons` describes errors that are particular to the action. It does not matter with
    which class the site describes its own views.
    """
    responses: dict[Any, Any] = dict(response) if isinstance(response, dict) else {status: response}
    told = {**_DESCRIPTIONS, **(reasons or {})}
    for code in sorted({*_ALWAYS, *errors, *(reasons or {})}):
        if code == 400:
            responses[code] = OpenApiResponse(_PROBLEMS, "What is wrong with which value.")
        elif code in (304, 412):
            responses[code] = OpenApiResponse(None, told[code])
        else:
            responses[code] = OpenApiResponse(ErrorSerializer, told[code])

    def describe(method: Any) -> Any:
        method.schema = ApiSchema
        # A form can be posted as well, which is for REST framework's own pages.
        request = {"application/json": body} if body else None
        described_as = extend_schema(
            summary=summary, request=request, responses=responses, **described
        )
        return described_as(method)

    return describe
