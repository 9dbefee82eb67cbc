#!/bin/sh
# Regenerates the checked-in bindings from wit/, whose deps/plugin is a copy of schemas/wit/v0.1 (a test compares), so that authors' builds need no macro stack.
# Needs once: cargo install wit-bindgen-cli --version 0.61.1 --no-default-features --features rust
# (the version of the `wit-bindgen` dependency in Cargo.toml; WIT_BINDGEN may name another path to the tool).
set -eu
cd "$(dirname "$0")"
tool="${WIT_BINDGEN:-wit-bindgen}"
wit=wit
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
mkdir -p src/bindings

generate() {
    world="$1"
    shift
    "$tool" rust --world "affluent:sdk/$world" --out-dir "$out" --format --generate-all \
        --type-section-suffix="-affluent-sdk" "$@" "$wit"
    mv "$out/$(echo "$world" | tr - _).rs" "src/bindings/$(echo "$world" | tr - _).rs"
}

types="affluent:plugin/types@0.1.0=crate::bindings::imports::affluent::plugin::types"
generate imports --additional-derive-attributes PartialEq --generate-unused-types
for interface in plugin source destination transform; do
    generate "$interface-exports" --with "$types" --additional-derive-attributes PartialEq \
        --pub-export-macro --export-macro-name "__export_$interface" \
        --default-bindings-module "\$crate::bindings::${interface}_exports"
done
