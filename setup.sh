#!/bin/sh
# Install what this project needs, pinned, into .venv; into the running Python if
# no venv can be made.
#   ./setup.sh          what a run needs: torch, then requirements.lock
#   ./setup.sh dev      what tests and checks add: requirements-dev.lock
# PYTHON names another interpreter than python3. `make` calls this, and skips it if nothing changed.
set -eu
python=${PYTHON:-python3}
venv_python=.venv/bin/python

fail() {
    echo "setup: $1" >&2
    exit 1
}

# A link in a folder without pyvenv.cfg is the Python it points to; only the fallback below may be
# that.
works() {
    { [ -f .venv/pyvenv.cfg ] || [ -f .venv/no-venv ]; } && "$venv_python" -c '' 2> /dev/null
}

check_version() { # check_version PYTHON REMEDY
    "$1" -c 'import sys; sys.exit(not (3, 11, 5) <= sys.version_info[:3] < (3, 15))' ||
        fail "$("$1" --version) found ($1), 3.11.5 to 3.14 needed; $2"
}

if works; then
    check_version "$venv_python" "remove .venv, then name one: make setup PYTHON=python3.12"
else
    name_one="name one: make setup PYTHON=python3.12"
    command -v "$python" > /dev/null ||
        fail "$python not found, Python 3.11.5 to 3.14 needed; $name_one"
    check_version "$python" "$name_one"
    # Colab and Debian without python3-venv have no ensurepip: then a venv without pip of its own.
    if ! "$python" -m venv .venv > /dev/null 2>&1; then
        rm -rf .venv
        if ! "$python" -m venv --without-pip .venv; then
            echo "setup: no venv can be made here; installing into $(command -v "$python") itself"
            rm -rf .venv && mkdir -p .venv/bin && touch .venv/no-venv
            ln -s "$(command -v "$python")" "$venv_python"
        fi
    fi
fi

pip_install() {
    if "$venv_python" -m pip --version > /dev/null 2>&1; then
        "$venv_python" -m pip --disable-pip-version-check install --quiet "$@"
    elif "$python" -m pip --version > /dev/null 2>&1; then
        "$python" -m pip --python "$venv_python" --disable-pip-version-check install --quiet "$@"
    elif command -v uv > /dev/null; then
        uv pip install --quiet --python "$venv_python" "$@"
    else
        fail "neither pip nor uv found; install one of them, for example: apt install python3-pip"
    fi
}

install_lock() {
    # A venv only: uv refuses the Python of a system.
    if command -v uv > /dev/null && [ -f .venv/pyvenv.cfg ]; then
        uv pip install --quiet --python "$venv_python" --require-hashes --no-deps -r "$1" && return
        echo "setup: uv failed; trying pip, whose settings may differ (mirror, certificate)" >&2
    fi
    pip_install --require-hashes --no-deps -r "$1"
}

case ${1:-run} in
    run)
        # By itself and by version alone: which build fits is this machine's business, and one that
        # is there stays.
        pip_install "$(grep '^torch==' requirements.txt)"
        install_lock requirements.lock
        ;;
    dev) install_lock requirements-dev.lock ;;
    *) fail "unknown argument $1; give none, or dev" ;;
esac
