#!/usr/bin/env bash
# Fuzzes the block coder under AddressSanitizer and UndefinedBehaviorSanitizer: tests/fuzz/run.sh SECONDS [SEED]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source=$here/../../src/onevision_encoder/codec/csrc
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
"${CC:-cc}" -std=c11 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
  -Wall -Wextra -Werror -I"$source" "$here/blockcoder_fuzz.c" "$source"/bc_*.c -lm -o "$build/fuzz"
"$build/fuzz" "${1:-10}" "${2:-1}"
