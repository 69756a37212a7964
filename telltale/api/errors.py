"""Errors as JSON: a stable code and a message, never a stack, a path or the input."""

import json
import logging
import math
import traceback
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from contracts.errors import Busy, PermanentError, QueryRefused, RetryableError

log = logging.getLogger("telltale.api")

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    415: "unsupported_media_type",
    421: "misdirected",
    429: "too_many_tries",
    500: "internal",
    503: "unavailable",
}


def error_response(
    status: int, message: str, code: str = "", headers: dict[str, str] | None = None
) -> Response:
    """The JSON body of an error. `code`: "" for the word of the status."""
    word = code or CODES.get(status, "error")
    body = json.dumps({"error": {"code": word, "message": message}})
    return Response(body, status, headers, "application/json")


def log_failure(error: BaseException) -> None:
    """Log where an unexpected error came from. Its message may hold trace content, so it is not
    logged.
    """
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames))
    log.error("request failed: %s at %s", type(error).__name__, where)


def add_handlers(app: FastAPI) -> None:
    """Translate every error that leaves a route."""

    @app.exception_handler(RetryableError)
    def _retryable(_request: Request, error: Exception) -> Response:
        wait_s = error.retry_after_s if isinstance(error, Busy) else 1.0
        headers = {"Retry-After": str(max(1, math.ceil(wait_s)))}
        return error_response(503, str(error), headers=headers)

    @app.exception_handler(PermanentError)
    def _permanent(_request: Request, error: Exception) -> Response:
        code = "query_refused" if isinstance(error, QueryRefused) else ""
        return error_response(400, str(error), code)

    @app.exception_handler(RequestValidationError)
    def _invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "body"
        return error_response(400, f"{where[:100]}: {first['msg'][:200]}")

    @app.exception_handler(HTTPException)
    def _http(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers) if error.headers else None
        return error_response(error.status_code, str(error.detail), headers=headers)
