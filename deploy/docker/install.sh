#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Installs the plug-in from this checkout into an environment of its own, as the images have it: pinned, without what
# is only of use to developers, its kernels compiled. Works anywhere; needs Python 3.11 or later with venv.
set -eu

usage() {
    cat >&2 <<'TEXT'
usage: install.sh dependencies DIR EXTRA[,EXTRA...]   what it needs, by pyproject.toml and constraints.txt alone
       install.sh package DIR                         the plug-in itself, into the same DIR

  EXTRA   cpu or gpu, never both; further ones after a comma, such as lsst-schemas
TEXT
    exit 2
}

[ $# -ge 2 ] || usage
step=$1 target=$2
cd "$(dirname "$0")/../.."

uv() {
    "$target/bin/uv" pip "$@" --quiet --python "$target/bin/python"
}

dependencies() {
    python3 -m venv "$target"
    # The installer is in the environment while it is being made, and leaves with pip at the end.
    PIP_CONSTRAINT=constraints.txt "$target/bin/python" -m pip install --quiet --disable-pip-version-check uv
    set --
    for extra in $(echo "$extras" | tr ',' ' '); do
        set -- "$@" --extra "$extra"
    done
    uv install --constraint constraints.txt --requirements pyproject.toml "$@"
}

package() {
    uv install --no-deps --build-constraint constraints.txt .
    # Libraries bring their tests and headers along, a tenth of the whole.
    find "$target"/lib/python3*/site-packages -type d \( -name tests -o -path '*/pyarrow/include' \) -prune \
        -exec rm -rf {} +
    "$target/bin/python" -m compileall -q "$target/lib" || true # some libraries hold templates that are no Python
    "$target/bin/broker-plugin" doctor --warm
    uv uninstall pip setuptools uv
}

case $step in
    dependencies)
        [ $# -eq 3 ] || usage
        extras=$3
        dependencies
        ;;
    package) package ;;
    *) usage ;;
esac
