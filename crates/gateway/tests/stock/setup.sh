#!/bin/sh
# Installs the stock clients at their pinned versions into target/stock (or the folder given), where the tests of
# `openledger-gateway` find them. What is there already is left as it is.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
to=${1:-$here/../../../../target/stock}
mkdir -p "$to/npm"
to=$(cd "$to" && pwd)

if ! cmp -s "$here/python/requirements.txt" "$to/python/.installed"; then
    python3 -m venv "$to/python"
    "$to/python/bin/pip" install --quiet --requirement "$here/python/requirements.txt"
    cp "$here/python/requirements.txt" "$to/python/.installed"
fi
if ! cmp -s "$here/npm/package-lock.json" "$to/npm/.installed"; then
    cp "$here/npm/package.json" "$here/npm/package-lock.json" "$to/npm/"
    (cd "$to/npm" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    cp "$here/npm/package-lock.json" "$to/npm/.installed"
fi
cargo build --quiet --locked --manifest-path "$here/async-openai/Cargo.toml" --target-dir "$to/async-openai"
