#!/usr/bin/env bash
# Microsoft's own tests of the Rust client, which its crate carries: unit tests, tests against a vault, the README.
#   microsoft_rust.sh build CRATE COPY TARGET     copies the crate and adds stand-ins for the helpers it wants
#   microsoft_rust.sh COPY TARGET                 runs them; by with_vault.py
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

tests() { # COPY TARGET CARGO-OPTION...
  local copy=$1 target=$2
  shift 2
  (cd "$copy" && cargo test --quiet --target-dir "$target" --lib --test secret_client --test readme "$@")
}

if [ "$1" = build ]; then
  crate=$2 copy=$3 target=$4
  if [ ! -d "$copy" ]; then
    mkdir -p "$copy.new"
    cp -r "$crate/." "$copy.new"
    rm -f "$copy.new/Cargo.lock" # it names crates that were never published
    cat >>"$copy.new/Cargo.toml" <<END

[dev-dependencies.azure_core_test]
path = "$here/microsoft/rust/core"

[dev-dependencies.azure_security_keyvault_test]
path = "$here/microsoft/rust/retry"

[workspace]
END
    mv "$copy.new" "$copy"
  fi
  tests "$copy" "$target" --no-run
  exit
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
verdict=0
tests "$1" "$2" --no-fail-fast 2>&1 | tee "$log" | grep -E '^test .*FAILED|panicked|^error' || true
grep -q '^error' "$log" && verdict=1
grep '^test result: ' "$log" |
  awk '{ passed += $4; failed += $6 } END { printf "%d passed, %d failed\n", passed, failed; exit !passed || failed }' && exit $verdict
