"""A page in the browser over the code of `python -m forecast`, for one company at a time:

    python -m forecast.app --config recipes/smollm2.yaml --adapter outputs/demo \\
        --records data/records/demo.jsonl

It shows the price, the inputs with their dates and links, the answers of adapter and base while
they are written, the probabilities beside the company's own past weeks, and the measured record.
Only this machine reaches it. It needs Gradio, and writes nothing but the providers' answers.
"""

import importlib.util
import sys
from collections.abc import Sequence

from forecast.browser.options import AppOptions
from weekahead.cli import new_parser, run_with_options

GRADIO = "gradio==6.31.0"


def check_gradio() -> None:
    """Raise ValueError with the command that installs Gradio if it is not there."""
    if importlib.util.find_spec("gradio") is None:
        raise ValueError(
            "the page needs a package that is not installed; install it: "
            f".venv/bin/python -m pip install {GRADIO}"
        )


def run(options: AppOptions) -> int:
    """Check everything that the flags name, then serve until a signal."""
    options.check()
    check_gradio()
    # They import torch: what is refused is by now.
    from forecast.browser import serving
    from forecast.browser.asking import models

    with serving.listen(options.host, options.port) as sock:
        page = serving.build(options, models(options))
        if not serving.is_loopback(options.host):
            print(f"WARNING: --host {options.host} lets other machines in, without a password")
        host, port = sock.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"Open http://{shown}:{port} in a browser; Ctrl-C ends it", flush=True)
        serving.server(page, options.host).run(sockets=[sock])
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 130 or 143 ended by a signal, 2 an error whose message has the remedy."""
    parser = new_parser(__doc__, "forecast.app")
    return run_with_options("app", parser, AppOptions, run, argv)


if __name__ == "__main__":
    sys.exit(main())
