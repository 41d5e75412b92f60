"""A decorator for views of Django: 401 for a request that is not genuine, 200 for a task done before.

Such a view needs no CSRF token, as a signature is more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, cast

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from taskqueue.receiver import DUPLICATE, AsyncStore, NotDone, NotGenuine, Store, Verifier, check_done

View = Callable[..., HttpResponseBase]
AsyncView = Callable[..., Awaitable[HttpResponseBase]]


def task_view(verifier: Verifier, store: Store | AsyncStore | None = None) -> Callable[[Any], Any]:
    """Have a view get genuine tasks only, each done once where there is a `store`; async ones too."""

    def decorate(view: View | AsyncView) -> Callable[..., Any]:
        received: Callable[..., Any]
        if iscoroutinefunction(view):
            received = _async(view, verifier, cast("AsyncStore | None", store))
        else:
            received = _sync(cast("View", view), verifier, cast("Store | None", store))
        # What Django's own decorator sets, which is not typed.
        received.csrf_exempt = True  # type: ignore[attr-defined]
        return received

    return decorate


def _sync(view: View, verifier: Verifier, store: Store | None) -> Callable[..., Any]:
    @wraps(view)
    def received(request: HttpRequest, *given: Any, **named: Any) -> HttpResponseBase:
        try:
            task_id = verifier.verify(request.headers, request.body)
        except NotGenuine as error:
            return _refused(error)
        if store is None:
            return view(request, *given, **named)
        response: HttpResponseBase = HttpResponse(DUPLICATE, content_type="text/plain")
        try:
            with store.once(task_id) as new:
                if new:
                    response = view(request, *given, **named)
                    check_done(response.status_code)
        except NotDone:
            pass
        return response

    return received


def _async(view: AsyncView, verifier: Verifier, store: AsyncStore | None) -> Callable[..., Any]:
    @wraps(view)
    async def received(request: HttpRequest, *given: Any, **named: Any) -> HttpResponseBase:
        try:
            task_id = verifier.verify(request.headers, request.body)
        except NotGenuine as error:
            return _refused(error)
        if store is None:
            return await view(request, *given, **named)
        response: HttpResponseBase = HttpResponse(DUPLICATE, content_type="text/plain")
        try:
            async with store.once(task_id) as new:
                if new:
                    response = await view(request, *given, **named)
                    check_done(response.status_code)
        except NotDone:
            pass
        return response

    return received


def _refused(error: NotGenuine) -> HttpResponse:
    return HttpResponse(str(error), status=401, content_type="text/plain")
