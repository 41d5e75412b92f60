"""A decorator for views of Flask: 401 for a request that is not genuine, 200 for a task done before."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, current_app, make_response, request

from taskqueue.receiver import DUPLICATE, NotDone, NotGenuine, Store, Verifier, check_done, check_size

View = Callable[..., Any]


def task_view(verifier: Verifier, store: Store | None = None) -> Callable[[View], Callable[..., Response]]:
    """Have a view get genuine tasks only, each done once where there is a `store`; beneath the route."""

    def decorate(view: View) -> Callable[..., Response]:
        @wraps(view)
        def received(*given: Any, **named: Any) -> Response:
            try:
                check_size(request.content_length or 0)
                task_id = verifier.verify(dict(request.headers), request.get_data())
            except NotGenuine as error:
                return Response(str(error), 401, mimetype="text/plain")
            if store is None:
                return _called(view, given, named)
            response = Response(DUPLICATE, 200, mimetype="text/plain")
            try:
                with store.once(task_id) as new:
                    if new:
                        response = _called(view, given, named)
                        check_done(response.status_code)
            except NotDone:
                pass
            return response

        return received

    return decorate


def _called(view: View, given: tuple[Any, ...], named: dict[str, Any]) -> Response:
    response: Response = make_response(current_app.ensure_sync(view)(*given, **named))
    return response
