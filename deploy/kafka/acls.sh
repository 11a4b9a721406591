#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Grants a user of Kafka what `broker-plugin` needs, and nothing else. Needs kafka-acls.sh, which comes with Kafka, on
# the PATH, and someone who may alter ACLs.
set -eu

usage() {
    cat >&2 <<'TEXT'
usage: acls.sh source --bootstrap-server HOST:PORT --user NAME --group GROUP --topic TOPIC [--topic TOPIC ...]
       acls.sh sink   --bootstrap-server HOST:PORT --user NAME --topic TOPIC [--topic TOPIC ...] [--transactions GROUP]
       acls.sh reader --bootstrap-server HOST:PORT --user NAME --topic TOPIC [--group GROUP]

  source   the cluster of the alerts, for `run`: READ on the topics and on the group
  sink     the cluster of the verdicts, for `run`: WRITE on every topic that it writes, the dead letters among them;
           with --transactions (exactly-once) WRITE on the transactional ids that begin with "GROUP-"
  reader   the cluster of the verdicts, for `subscribe`: READ on the topic, and on the group where one is used

A topic that ends in * is a prefix, for inputs that are patterns: --topic 'ztf_*' for --input '^ztf_.*'. READ and WRITE
bring DESCRIBE with them. --host ADDRESS binds the rights to an address, --command-config FILE is the login of someone
who may alter ACLs, as for kafka-acls.sh, and --dry-run only shows the commands.
TEXT
    exit 2
}

[ $# -gt 0 ] || usage
role=$1
shift
case $role in source | sink | reader) ;; *) usage ;; esac

bootstrap='' user='' group='' transactions='' host='*' dry_run='' topics='' config=''
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry_run=yes && shift && continue ;;
        --help | -h) usage ;;
    esac
    [ $# -ge 2 ] || usage
    case $1 in
        --bootstrap-server) bootstrap=$2 ;;
        --user) user=$2 ;;
        --group) group=$2 ;;
        --transactions) transactions=$2 ;;
        --topic) topics="$topics $2" ;; # names of topics hold no spaces
        --host) host=$2 ;;
        --command-config) config=$2 ;;
        *) usage ;;
    esac
    shift 2
done
[ -n "$bootstrap" ] && [ -n "$user" ] && [ -n "$topics" ] || usage
[ "$role" != source ] || [ -n "$group" ] || usage
[ "$role" = sink ] || [ -z "$transactions" ] || usage

grant() {
    set -- --bootstrap-server "$bootstrap" --add --allow-principal "User:$user" --allow-host "$host" "$@"
    [ -z "$config" ] || set -- --command-config "$config" "$@"
    if [ -n "$dry_run" ]; then
        echo "kafka-acls.sh $*"
    else
        kafka-acls.sh "$@"
    fi
}

on_topics() {
    operation=$1
    set --
    set -f # a trailing * is ours to read
    for topic in $topics; do
        case $topic in
            *'*') grant --operation "$operation" --topic "${topic%?}" --resource-pattern-type prefixed ;;
            *) set -- "$@" --topic "$topic" ;;
        esac
    done
    set +f
    [ $# -eq 0 ] || grant --operation "$operation" "$@"
}

case $role in
    sink)
        on_topics WRITE
        [ -z "$transactions" ] || grant --operation WRITE --transactional-id "$transactions-" \
            --resource-pattern-type prefixed
        ;;
    *)
        on_topics READ
        [ -z "$group" ] || grant --operation READ --group "$group"
        ;;
esac
