#!/bin/sh
# Runs one part of `make test`, prints how long it took, and writes that to target/test-times.
#
# usage: tests/part.sh NAME COMMAND...
#        tests/part.sh --summary
set -eu
cd "$(dirname "$0")/.."
times=target/test-times
if [ "$1" = --summary ]; then
    echo "The parts of make test, slowest first:"
    sort -rn $times | awk '{ total += $1; printf "%7d s  %s\n", $1, substr($0, length($1) + 2) }
        END { printf "%7d s  together\n", total }'
    exit
fi
name=$1
shift
mkdir -p target
begin=$(date +%s)
status=0
"$@" || status=$?
seconds=$(($(date +%s) - begin))
echo "$seconds $name" >> $times
echo "make test: $name took $seconds s"
exit $status
