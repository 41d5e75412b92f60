"""Where the token is shown, and a session begins or ends."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from taskqueue.web import answers
from taskqueue.web.access import COOKIE, LASTS
from taskqueue.web.answers import site


def closed(request: Request) -> Response:
    """Ask for the token."""
    answer = answers.page(request, "login.html", 401, wrong=False, back=answers.address(request))
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


async def login(request: Request) -> Response:
    """Begin a session for who has the token: in a form, or in the link that was made for this run."""
    access, place = site(request).access, site(request).place
    fields = await answers.form(request) if request.method == "POST" else request.query_params
    back = place.back(fields.get("back"))
    # A token of somebody's own never comes in an address, which logs and histories keep.
    readable = request.method == "POST" or access.open_counts
    if not readable or not access.knows(fields.get("token", "")):
        asked = request.method == "POST" or bool(fields.get("token"))
        return answers.page(request, "login.html", 401 if asked else 200, wrong=asked, back=back)
    answer = RedirectResponse(back, 303)
    _set(request, answer, access.begin(fields.get("name", ""), time.time()), LASTS)
    return answer


async def logout(request: Request) -> Response:
    """End the session of this browser."""
    answer = answers.other(request)
    _set(request, answer, "", 0)
    return answer


def _set(request: Request, answer: Response, value: str, seconds: int) -> None:
    answer.set_cookie(
        COOKIE,
        value,
        max_age=seconds,
        path=f"{site(request).place.prefix}/",
        secure=request.scope["scheme"] == "https",
        httponly=True,
        samesite="lax",
    )
