#!/bin/sh
# Builds the engine's tests for 64-bit ARM and runs them under an emulator: `sh crates/engine/tests/arm.sh [test names]`.
#
# Needs a Rust compiler with the standard library of aarch64-unknown-linux-gnu, a linker for that target and qemu-user:
#   rustup target add aarch64-unknown-linux-gnu; apt-get install gcc-aarch64-linux-gnu qemu-user
# (Debian also has compiler and library: rustc-web and libstd-rust-web-dev:arm64, chosen by RUSTC=/usr/bin/rustc.)
# ARM_LINKER, ARM_QEMU and ARM_ROOT name other places of linker, emulator and the target's C library.
# Where one of them is missing the script says so and ends with status 0: nothing was checked.
set -eu
target=aarch64-unknown-linux-gnu
linker=${ARM_LINKER:-aarch64-linux-gnu-gcc}
qemu=${ARM_QEMU:-qemu-aarch64}
root=${ARM_ROOT:-/usr/aarch64-linux-gnu}
cd "$(dirname "$0")/../../.."

skip() {
    echo "skipped: $1"
    exit 0
}
command -v "$linker" >/dev/null || skip "no linker $linker"
command -v "$qemu" >/dev/null || skip "no emulator $qemu"
std=$("${RUSTC:-rustc}" --print target-libdir --target $target)
[ -d "$std" ] || skip "the compiler has no library for $target"

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER="$linker"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C linker-flavor=gcc"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$qemu -L $root"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/arm"
exec cargo test --target $target -p openledger-engine --lib --test main -- "$@"
