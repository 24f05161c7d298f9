"""The page's server: Gradio's queue behind a gate that lets nothing else through.

Gradio is optional, so it is imported when the page is built. Nothing is sent anywhere: analytics
are off, the page's policy (Content-Security-Policy) keeps a browser from every other address, and
there is no `share`, since its `launch` is never called.
"""

import errno
import ipaddress
import logging
import os
import re
import socket
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from importlib import import_module
from typing import Any

from forecast.browser import drawing
from forecast.browser.asking import Fields, Offer, offer, role_and_name, views
from forecast.browser.options import AppOptions
from forecast.company.choice import Chosen
from weekahead.cli import MODEL_ERRORS, describe_error
from weekahead.redaction import without_secrets

log = logging.getLogger(__name__)

_WAITING = 16
"""So many forecasts wait for their turn at most."""
_LONGEST_BODY = 100_000
"""Bytes of a request: the page sends four short fields."""
_OPEN = re.compile(
    r"/|/(?:config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)|/(?:assets|static|svelte)/.*"
    r"|/gradio_api/(?:queue/(?:join|data)|heartbeat/\w+|info|cancel|reset|startup-events|app_id)/?"
)
"""The paths that the page needs; those of files, uploads and proxies are not among them."""
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


def listen(host: str, port: int) -> socket.socket:
    """The socket of the page, before anything heavy is loaded.

    Raises OSError naming the address if it is taken or none of this machine.
    """
    try:
        return socket.create_server((host, port), family=_family(host))
    except OSError as error:
        free = port + 1 if 1023 < port < 65535 else 7860
        remedy = f'choose another port: ARGS="--port {free}"'
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            remedy = "expected an address of this machine: leave --host out"
        raise OSError(
            f"{host} port {port} cannot be listened on ({error.strerror or error}); {remedy}"
        ) from None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def build(options: AppOptions, chosen: Sequence[Chosen]) -> Any:
    """The page as Gradio's Blocks, with its queue."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    gradio: Any = import_module("gradio")
    source = str(options.records or options.prices or "providers")

    def show(symbol: str, date: str, weeks: str, both: bool) -> Iterator[tuple[str, str, str]]:  # noqa: FBT001
        yield from _shown(options, chosen, Fields(symbol or "", date or "", weeks or "", both))

    with gradio.Blocks(title="Forecast of the week", analytics_enabled=False) as page:
        gradio.HTML(drawing.heading_html([role_and_name(one) for one in chosen], source), **_PART)
        fields = _fields(gradio, offer(options), has_base=len(chosen) > 1)
        with gradio.Row():
            ask = gradio.Button("Forecast", variant="primary")
            stop = gradio.Button("Stop", scale=0, min_width=120)
        shown = [gradio.HTML(elem_id=name, **_PART) for name in ("inputs", "answers", "bins")]
        asked = gradio.on(
            [ask.click, *(field.submit for field in fields[1:3])],
            show,
            fields,
            shown,
            api_name="forecast",
            show_progress="minimal",
            trigger_mode="once",
        )
        answers = shown[1]
        stop.click(
            drawing.stopped_html,
            answers,
            answers,
            cancels=[asked],
            concurrency_limit=None,
            api_visibility="private",
        )
    return page.queue(max_size=_WAITING, default_concurrency_limit=1, api_open=False)


_PART: Mapping[str, Any] = {
    "elem_classes": ["part"],
    "js_on_load": None,
    "apply_default_css": False,
    "padding": True,
}


def _told(info: str) -> dict[str, Any]:
    return {"info": info, "max_lines": 1, "scale": 1, "min_width": 180}


def _fields(gradio: Any, first: Offer, *, has_base: bool) -> list[Any]:
    """Company, date, weeks, and whether the base is asked too."""
    with gradio.Row():
        symbol = _company_field(gradio, first)
        date = gradio.Textbox(first.day, label="Date", **_told("Any day of the week."))
        weeks = gradio.Textbox("", label="Weeks of context", **_told("1 to 4, or empty."))
    both = gradio.Checkbox(has_base, label="Ask the base beside the adapter", visible=has_base)
    return [symbol, date, weeks, both]


def _company_field(gradio: Any, first: Offer) -> Any:
    if not first.companies:
        return gradio.Textbox("", label="Company", **_told("Its symbol, such as AAPL."))
    return gradio.Dropdown(
        list(first.companies),
        value=first.company,
        label="Company",
        info="Its symbol; type to search.",
        allow_custom_value=True,
        scale=1,
        min_width=180,
    )


def _shown(
    options: AppOptions, chosen: Sequence[Chosen], typed: Fields
) -> Iterator[tuple[str, str, str]]:
    """The three parts of the page, as often as they change; an error is a sentence in the first.

    An error after the inputs takes the place of the answers alone.
    """
    inputs = bins = ""
    try:
        for view in views(options, chosen, typed):
            inputs = inputs or drawing.inputs_html(view)
            bins = drawing.bins_html(view)
            yield inputs, drawing.answers_html(view), bins
    except (*MODEL_ERRORS, TimeoutError) as error:
        message = without_secrets(describe_error(error, "ask for fewer weeks of context"))
        problem = drawing.error_html(f"forecast: {' '.join(message.split())}")
    except Exception:
        log.error("%s", without_secrets(traceback.format_exc()))
        problem = drawing.error_html("forecast: an error that nobody foresaw; the terminal has it")
    else:
        return
    yield (inputs, problem, bins) if inputs else (problem, "", "")


class Gate:
    """Lets the page's own paths through, of the names of this machine, with the page's policy."""

    def __init__(self, inner: Asgi, host: str) -> None:
        self._inner = inner
        self._only_here = is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        status = self._refusal(scope) if scope["type"] == "http" else 404
        if status:
            await _refuse(send, status)
            return

        async def send_with_policy(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self._inner(scope, receive, send_with_policy)

    def _refusal(self, scope: Scope) -> int:
        """The status of a request that may not pass; 0 if it may."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        name = re.sub(r":\d+$", "", headers.get(b"host", "")).strip("[]")
        if self._only_here and not is_loopback(name):
            return 421  # a name of somebody else's that leads here
        if not _OPEN.fullmatch(scope["path"]):
            return 404
        length = headers.get(b"content-length", "0")
        is_short = length.isdecimal() and int(length) <= _LONGEST_BODY
        return 0 if is_short and b"transfer-encoding" not in headers else 413


async def _refuse(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def server(page: Any, host: str) -> Any:
    """What serves the page: uvicorn's Server, whose `run` ends with a signal."""
    gradio: Any = import_module("gradio")
    fastapi: Any = import_module("fastapi")
    uvicorn: Any = import_module("uvicorn")
    theme = gradio.themes.Base(
        primary_hue="blue",
        font=["system-ui", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif"],
        font_mono=["ui-monospace", "DejaVu Sans Mono", "monospace"],
    )
    for name in ("body_text_color_subdued", "block_info_text_color", "block_label_text_color"):
        # Its own greys are too faint to read.
        theme.set(**{name: "*neutral_600", f"{name}_dark": "*neutral_300"})
    theme.set(button_primary_background_fill="*primary_600")
    app = gradio.mount_gradio_app(
        fastapi.FastAPI(openapi_url=None),
        page,
        path="/",
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=False,
        max_file_size=0,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme,
        css=drawing.style(),
    )
    config = uvicorn.Config(
        Gate(app, host), log_level="warning", lifespan="on", timeout_graceful_shutdown=2
    )
    return uvicorn.Server(config)
