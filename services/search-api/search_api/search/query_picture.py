"""The picture of a call, as a file, as the id of an upload or as the body: how it is described and how it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from starlette.requests import Request

from search_api.openapi import FILTER_PARAMETER, UPLOAD_SCHEMA, filter_form, form_body, picture_schema, query_parameters
from search_api.search.uploads import Uploads
from vitrine.errors import ImageRejected, ParameterInvalid
from vitrine.web import is_picture, read_form, read_picture_body

PICTURE_FIELD: Final = "image"
UPLOAD_FIELD: Final = "upload"


def picture_call(
    description: str,
    *,
    options: type[BaseModel],
    filters: bool = False,
    more: Mapping[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The parameters and the body of a call with one picture, for OpenAPI.

    The options, and the filters if there are any, may be fields of the form or query parameters. `more` are fields
    that must be given.
    """
    fields = {PICTURE_FIELD: picture_schema(description), UPLOAD_FIELD: UPLOAD_SCHEMA, **(more or {})}
    form = (filter_form if filters else form_body)(fields, required=list(more or ()), options=options)
    own: Sequence[dict[str, Any]] = [FILTER_PARAMETER] if filters else []
    return {
        "parameters": [*query_parameters(options), *own],
        "requestBody": {"required": True, "content": {"multipart/form-data": form}},
    }


async def read_picture(
    request: Request, uploads: Uploads, *, with_query: bool = True
) -> tuple[bytes, list[tuple[str, str]]]:
    """(the picture, query parameters and other form fields). The picture is the file `image`, the upload `upload`, or
    with the query's parameters alone the whole body.

    Raises ImageMissing, ImageRejected for an empty file, UploadNotFound, MediaTypeUnsupported and ParameterInvalid.
    """
    given = request.query_params.multi_items() if with_query else []
    if with_query and is_picture(request) and not any(name == UPLOAD_FIELD for name, _ in given):
        return await read_picture_body(request), given
    form = await read_form(request, may_be_absent=any(name == UPLOAD_FIELD for name, _ in given))
    pairs = [*given, *form.fields(except_for=frozenset({PICTURE_FIELD}))]
    ids = [value for name, value in pairs if name == UPLOAD_FIELD]
    if ids:
        if len(ids) > 1 or form.pictures(PICTURE_FIELD):
            raise ParameterInvalid(f"give one picture, as the file {PICTURE_FIELD!r} or as {UPLOAD_FIELD!r}")
        return await uploads.get(ids[0]), [pair for pair in pairs if pair[0] != UPLOAD_FIELD]
    picture = form.one_picture(PICTURE_FIELD)
    if not picture:
        raise ImageRejected("empty", "the picture file is empty")
    return picture, pairs
