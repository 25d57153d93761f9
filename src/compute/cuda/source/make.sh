#!/usr/bin/env bash
# Makes the PTX of the kernels: beside their source, or with `check` elsewhere, and then it fails where it differs from
# what lies here. Lists what each kernel takes on each card, and fails where one spills.
#
# It wants nvcc and ptxas of CUDA 13.0 in the PATH; other versions write other PTX.
set -euo pipefail
cd "$(dirname "$0")"
to=.
if [ "${1:-}" = check ]; then
  to=$(mktemp -d)
  trap 'rm -r "$to"' EXIT
fi
for source in *.cu; do
  ptx="$to/${source%.cu}.ptx"
  # Without -fmad a product and a sum are two operations, as on the CPU.
  nvcc --ptx -arch=compute_80 -fmad=false -o "$ptx" "$source"
  # Nothing here is newer than the version that brought sm_80 (CUDA 11.0, driver 450): older drivers may read it.
  # The first line names the source, so that a test without a compiler finds PTX that is older than it.
  hash=$(ls *.h "$source" | grep -v '^host' | LC_ALL=C sort | xargs cat | sha256sum | cut -d ' ' -f 1)
  sed -i -e 's/^\.version .*/.version 7.0/' -e "1i // source: $hash" "$ptx"
  for card in 80 86 89 90 120; do
    ptxas -v -arch="sm_$card" -o /dev/null "$ptx" 2>&1
  done | awk '
    /Compiling entry/ { match($0, /'"'"'[a-z0-9_]+'"'"' for '"'"'sm_[0-9]+/); split(substr($0, RSTART), word, "'"'"'") }
    /bytes spill/ { if ($0 !~ / 0 bytes spill stores, 0 bytes spill loads/) spilt = 1; stack = $1 }
    /Used .* registers/ {
      sub(/.*: Used /, ""); sub(/, used 0 barriers/, ""); sub(/, [0-9.]+ ms.*/, "")
      printf "%-24s %-7s %s, stack %s bytes\n", word[2], word[4], $0, stack
    }
    END { exit spilt }'
  if [ "$to" != . ]; then
    cmp "$ptx" "./${source%.cu}.ptx"
  fi
done
