#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Makes the passwords that compose.yaml reads, each once: random, in files for their owner alone.
set -eu
umask 077
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"

random() {
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

[ -e "$folder/store-password" ] || random >"$folder/store-password"
printf 'redis://:%s@store:6379/0' "$(cat "$folder/store-password")" >"$folder/store-url"
[ -e "$folder/grafana-password" ] || random >"$folder/grafana-password"
# Compose mounts these files as they are, and the service is not their owner.
chmod 644 "$folder"/store-password "$folder"/store-url "$folder"/grafana-password
echo "in $folder; Grafana's login is admin with the password in grafana-password"
