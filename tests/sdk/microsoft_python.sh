#!/usr/bin/env bash
# Microsoft's own tests of the Python client, which its source package carries. Run by with_vault.py:
#   microsoft_python.sh PYTHON TESTS      TESTS is the folder of that name in the unpacked source package
set -euo pipefail
python=$1 tests=$2
here=$(cd "$(dirname "$0")" && pwd)
log=$(mktemp)
trap 'rm -f "$log"' EXIT

cd "$tests"
export AZURE_KEYVAULT_URL=$AKV_URL PYTHONPATH=$here/microsoft:$here:$tests PYTHONDONTWRITEBYTECODE=1
unset REQUESTS_CA_BUNDLE SSL_CERT_FILE # trust comes from connection_verify alone
"$python" -m pytest -q -p every_version -p no:cacheprovider -n 6 --tb=line --no-header -W ignore . 2>&1 |
  tee "$log" | tail -n "${SDK_LINES:-12}" || true
last=$(tail -n 1 "$log")
count() { grep -oE "[0-9]+ $1" <<<"$last" | grep -oE '[0-9]+' || echo 0; }
failed=$(($(count failed) + $(count error)))
echo "$(count passed) passed, $failed failed"
[ "$failed" = 0 ] && [ "$(count passed)" -gt 0 ]
