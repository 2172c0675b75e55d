"""What is handed to a server of applications: mistakes are told at once, with their mend."""

from __future__ import annotations

from typing import Any

import pytest

from trioservice.integrations.applications import require_application, require_root_path


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


def create_app() -> Any: ...


class Framework:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize("app", [asgi, Framework(), Framework().__call__, lambda *args: asgi(*args), print])
def test_what_can_be_called_so_is_an_application(app: Any) -> None:
    require_application(app, 3)


@pytest.mark.parametrize(
    ("app", "arguments", "said"),
    [
        (None, 3, "app takes scope, receive and send, and None cannot be called"),
        ("shop:app", 2, "and 'shop:app' cannot be called; import the application, and give it itself"),
        (wsgi, 3, "wsgi does not; it takes environ and start_response, so write WSGIServer(wsgi, ...)"),
        (asgi, 2, "asgi does not; it takes scope, receive and send, so write ASGIServer(asgi, ...)"),
        (Framework(), 2, "Framework does not; it takes scope, receive and send, so write ASGIServer"),
        (create_app, 3, "create_app does not; if it makes the application, write create_app()"),
        (Framework, 3, "app is an application, and Framework is a class of them; write Framework() for one"),
        (lambda scope: None, 3, "app takes scope, receive and send, and <lambda> does not"),
    ],
)
def test_what_cannot_is_told_with_its_mend(app: Any, arguments: int, said: str) -> None:
    with pytest.raises(TypeError) as caught:
        require_application(app, arguments)
    assert said in str(caught.value)


@pytest.mark.parametrize("root_path", ["", "/shop", "/a/b"])
def test_a_root_path_stands_before_a_path(root_path: str) -> None:
    assert require_root_path(root_path) == root_path


@pytest.mark.parametrize("root_path", [None, b"/shop", "shop", "/shop/", "/", "/é"])
def test_what_cannot_stand_there_is_refused(root_path: Any) -> None:
    with pytest.raises(ValueError, match='root_path is like "/shop"'):
        require_root_path(root_path)
