#!/usr/bin/env bash
# Microsoft's own tests of the Python client, which its source package carries. Run by with_vault.py:
#   microsoft_python.sh PYTHON DIR      DIR keeps the unpacked source package
set -euo pipefail
python=$1 dir=$2
here=$(cd "$(dirname "$0")" && pwd)
version=4.12.0
tests=$dir/azure_keyvault_secrets-$version/tests

if [ ! -d "$tests" ]; then
  mkdir -p "$dir"
  "$python" -m pip download -q --no-deps --no-binary azure-keyvault-secrets -d "$dir" "azure-keyvault-secrets==$version"
  tar xzf "$dir/azure_keyvault_secrets-$version.tar.gz" -C "$dir"
fi
cd "$tests"
export AZURE_KEYVAULT_URL=$AKV_URL PYTHONPATH=$here/microsoft:$here:$tests PYTHONDONTWRITEBYTECODE=1
trust=$AKV_CA
unset REQUESTS_CA_BUNDLE SSL_CERT_FILE
AKV_CA=$trust "$python" -m pytest -q -p every_version -p no:cacheprovider -n 6 --tb=line --no-header -W ignore . 2>&1 |
  tee "$dir/pytest.log" | tail -n "${SDK_LINES:-25}" || true
last=$(tail -n 1 "$dir/pytest.log")
count() { grep -oE "[0-9]+ $1" <<<"$last" | grep -oE '[0-9]+' || echo 0; }
failed=$(($(count failed) + $(count error)))
echo "$(count passed) passed, $failed failed"
[ "$failed" = 0 ] && [ "$(count passed)" -gt 0 ]
