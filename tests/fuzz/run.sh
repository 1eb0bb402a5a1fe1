#!/bin/sh
# Runs each libFuzzer target for FUZZ_SECONDS (600) and prints its executions. The inputs found stay in target/fuzz, and so
# does one that fails, with the command to try it again.
#
# usage: tests/fuzz/run.sh [TARGET]...
set -eu
cd "$(dirname "$0")/../.."
seconds=${FUZZ_SECONDS:-600}
host=$(rustc -vV | sed -n 's/^host: //p')
[ $# -gt 0 ] || set -- model console

(cd tests/fuzz && CARGO_TARGET_DIR=../../target/fuzz/build cargo build --release --target "$host")
status=0
for target in "$@"; do
    found=target/fuzz/$target
    mkdir -p "$found" "$found.failures"
    case $target in
        # Every kind of model, as the reference tests have them.
        model) cp tests/golden/*.pip "$found" ;;
        *) cp "tests/fuzz/seeds/$target"/* "$found" ;;
    esac
    program=target/fuzz/build/$host/release/$target
    log=target/fuzz/$target.log
    echo "fuzz: $target for $seconds s, from $(find "$found" -type f | wc -l) inputs"
    "$program" "$found" -max_total_time="$seconds" -max_len=65536 -timeout=20 -print_final_stats=1 \
        -artifact_prefix="$found.failures/" 2> "$log" || {
        status=1
        grep -A 12 -m 1 'panicked at\|ERROR: libFuzzer' "$log" || tail -n 20 "$log"
        echo "fuzz: $target FAILED; to try the input again: $program $found.failures/FILE"
    }
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    failures=$(find "$found.failures" -type f -newer "$program" | wc -l)
    echo "fuzz: $target: ${executions:-0} executions, $failures failures, $(find "$found" -type f | wc -l) inputs kept"
done
exit $status
