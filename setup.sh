#!/bin/sh
# Install what this project needs, pinned, into .venv; into the running Python if no venv can be made.
#   ./setup.sh            what a run needs: torch, then requirements.lock
#   ./setup.sh dev        what tests and checks add: requirements-dev.lock
#   ./setup.sh --dry-run  say which build of torch this machine would get and why; install nothing
# PYTHON names another interpreter than python3. TORCH chooses the build: auto (the default), cpu,
# cu126 (CUDA 12.6, for drivers 525 to 579), keep (the one that is installed, whatever its version).
set -eu
python=${PYTHON:-python3}
name_one="name one: make setup PYTHON=python3.12"
venv_python=.venv/bin/python
torch=$(grep '^torch==' requirements.txt)
pytorch_index=https://download.pytorch.org/whl

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

installed_torch() { # its version; nothing if there is none
    [ -x "$venv_python" ] || return 0
    "$venv_python" -c 'from importlib.metadata import version; print(version("torch"))' 2> /dev/null || :
}

# Which build of torch, and why: choose sets `build` (default, cpu, cu126, keep) and `reason`.
choose() {
    present=$(installed_torch)
    case ${TORCH:-auto} in
        auto)
            if [ "${present%%+*}" = "${torch#torch==}" ]; then
                build=keep reason="$present is installed"
            else
                choose_for_system "$(uname -s) $(uname -m)"
            fi
            ;;
        cpu | cu126) build=$TORCH reason="TORCH=$TORCH asks for it" ;;
        keep)
            [ -n "$present" ] || fail "TORCH=keep, but .venv has no torch; leave TORCH out"
            build=keep reason="TORCH=keep, and $present is installed"
            ;;
        *) fail "TORCH is $TORCH; expected auto, cpu, cu126 or keep" ;;
    esac
}

choose_for_system() { # choose_for_system "SYSTEM MACHINE"
    case $1 in
        "Darwin x86_64") fail "torch and bitsandbytes have no builds for Macs with an Intel processor any more.
    Take Docker, with 6 GiB of memory:  docker build -t weekahead . && docker run --rm -it weekahead make demo
    or a free GPU in the browser:       jobs/colab_t4.ipynb" ;;
        Darwin*) build=default reason="macOS on Apple silicon" ;;
        Linux*) choose_for_linux ;;
        *) fail "$1 is not supported; on Windows take WSL: https://learn.microsoft.com/windows/wsl/install" ;;
    esac
}

choose_for_linux() {
    gpus=$(ask_driver driver_version,compute_cap)
    # Drivers before 495 do not tell the capability; they are too old anyway.
    [ -n "$gpus" ] || gpus=$(ask_driver driver_version)
    if [ -n "$gpus" ]; then
        choose_for_driver "$gpus"
    elif command -v sbatch > /dev/null || [ -n "${SLURM_JOB_ID:-}" ]; then
        build=default reason="no NVIDIA driver here, but SLURM: its nodes are taken to have GPUs; else TORCH=cpu"
    elif promises_gpu; then
        build=default reason="no NVIDIA driver here, but the environment promises a GPU; else TORCH=cpu"
    else
        build=cpu reason="no NVIDIA driver"
    fi
}

# An image built for GPUs has one of these; where it is built, no driver may be there.
promises_gpu() {
    case ${NVIDIA_VISIBLE_DEVICES:-} in
        none | void) return 1 ;;
        ?*) return 0 ;;
    esac
    [ -n "${CUDA_VERSION:-}" ]
}

ask_driver() { # ask_driver FIELDS: one line per GPU; nothing if no driver answers
    smi=$(command -v nvidia-smi || echo /usr/lib/wsl/lib/nvidia-smi)
    [ -x "$smi" ] || return 0
    lines=$("$smi" "--query-gpu=$1" --format=csv,noheader 2> /dev/null) || return 0
    case $lines in [0-9]*) echo "$lines" ;; esac
}

choose_for_driver() { # choose_for_driver "DRIVER, CAPABILITY of each GPU, one per line"
    oldest=999
    while IFS=', ' read -r driver capability; do
        digits=${capability%%.*}${capability#*.}
        case $digits in '' | *[!0-9]*) digits=999 ;; esac
        [ "$digits" -ge "$oldest" ] || { oldest=$digits && weakest=$capability; }
    done << END
$1
END
    driver=${1%%,*}
    driver=${driver%%[!0-9.]*}
    [ "${driver%%.*}" -ge 525 ] || fail "NVIDIA driver $driver is too old, 525 or newer needed; install 580 or newer \
(https://www.nvidia.com/drivers), or take TORCH=cpu"
    if [ "$oldest" -lt 50 ]; then
        fail "the GPU has compute capability $weakest, 5.0 or newer needed; take TORCH=cpu"
    elif [ "$oldest" -lt 75 ]; then
        build=cu126 reason="NVIDIA driver $driver; a GPU of capability $weakest has no CUDA 13"
    elif [ "${driver%%.*}" -lt 580 ]; then
        build=cu126 reason="NVIDIA driver $driver; CUDA 13 needs 580"
    else
        build=default reason="NVIDIA driver $driver"
    fi
}

build_in_words() {
    case $build in
        keep) echo "stays" ;;
        cpu) echo "CPU build" ;;
        cu126) echo "CUDA 12.6 build" ;;
        default) [ "$(uname -s)" = Darwin ] && echo "macOS build" || echo "CUDA 13 build" ;;
    esac
}

check_disk() { # before anything is downloaded
    case $build in keep) needed=2 ;; cpu) needed=3 ;; *) needed=8 ;; esac
    free=$(df -Pk . | { read -r _ && read -r _ _ _ kibibytes _ && echo $((kibibytes / 1048576)); })
    [ "$free" -ge "$needed" ] || fail "$free GiB free on this disk, $needed GiB needed; make room"
    echo "setup: takes up to $needed GiB of disk and, on a fast network, about two minutes"
}

check_venv() {
    check_version "$venv_python" "remove .venv, then $name_one"
    if [ -n "${PYTHON:-}" ]; then
        check_found
        [ "$("$python" --version)" = "$("$venv_python" --version)" ] ||
            fail "PYTHON=$python is $("$python" --version), and .venv has $("$venv_python" --version); remove .venv, or leave PYTHON out"
    fi
}

check_found() {
    command -v "$python" > /dev/null || fail "$python not found, Python 3.11.5 to 3.14 needed; $name_one"
}

make_venv() {
    if works; then
        check_venv
        return
    fi
    check_found
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
}

pip_install() {
    if "$venv_python" -m pip --version > /dev/null 2>&1; then
        "$venv_python" -m pip --disable-pip-version-check install --quiet "$@"
    elif "$python" -m pip --version > /dev/null 2>&1; then
        "$python" -m pip --python "$venv_python" --disable-pip-version-check install --quiet "$@"
    elif command -v uv > /dev/null; then
        uv pip install --python "$venv_python" "$@"
    else
        fail "neither pip nor uv found; install one of them, for example: apt install python3-pip"
    fi
}

install_torch() {
    case $build in
        keep) ;;
        default) pip_install "$torch" ;;
        cu126) pip_install "$torch" --index-url "$pytorch_index/cu126" ||
            fail "no CUDA 12.6 build from $pytorch_index/cu126; install $torch into .venv by other means, then TORCH=keep" ;;
        cpu)
            # A closed network should not cost minutes.
            (export PIP_RETRIES=0 PIP_TIMEOUT=15 UV_HTTP_TIMEOUT=15 &&
                pip_install "$torch" --index-url "$pytorch_index/cpu") || {
                echo "setup: $pytorch_index/cpu cannot be used; taking the default index, whose build may bring 3 GB of CUDA" >&2
                pip_install "$torch"
            }
            ;;
    esac
}

install_lock() {
    # A venv only: uv refuses the Python of a system.
    if command -v uv > /dev/null && [ -f .venv/pyvenv.cfg ]; then
        uv pip install --python "$venv_python" --require-hashes --no-deps -r "$1" && return
        echo "setup: uv failed; trying pip, whose settings may differ (mirror, certificate)" >&2
    fi
    pip_install --require-hashes --no-deps -r "$1"
}

is_newer() { # is_newer STAMP FILE...
    stamp=$1 && shift
    [ -f "$stamp" ] && [ -z "$(find "$@" -newer "$stamp")" ]
}

install_run() {
    choose
    echo "setup: $torch $(build_in_words) ($reason)"
    [ "${1:-}" != --dry-run ] || return 0
    check_disk
    make_venv
    echo "setup: 1 of 2, torch ..."
    install_torch
    echo "setup: 2 of 2, $(grep -c '^[a-z]' requirements.lock) other packages ..."
    install_lock requirements.lock
    touch .venv/ready
    echo "setup: done"
}

[ $# -le 1 ] || fail "expected at most one argument, not: $*"
case ${1:-run} in
    run)
        if [ -z "${TORCH:-}" ] && works && is_newer .venv/ready setup.sh requirements.txt requirements.lock; then
            check_venv
            echo "setup: .venv is up to date"
        else
            install_run
        fi
        ;;
    --dry-run) install_run --dry-run ;;
    dev)
        echo "setup: what tests and checks add ..."
        make_venv
        install_lock requirements-dev.lock
        ;;
    *) fail "unknown argument $1; give none, dev or --dry-run" ;;
esac
