#!/usr/bin/env bash
# What a binary with CUDA says where CUDA cannot be used, and that it computes on a CPU as the plain one does.
# It needs no card, and cc for the doubles of CUDA's libraries.
#
#   tests/cuda/check.sh target/cuda/release/bayes [target/release/bayes]
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
cuda="$(realpath "$1")"
plain="${2:+$(realpath "$2")}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
unset "${!DOUBLE_@}" LD_LIBRARY_PATH
export RUST_BACKTRACE=1

failures=0
fail() { echo "FAILED $*" >&2; failures=$((failures + 1)); }

# The name of a case, the clause that `auto` gives, the end of the sentence, and settings of the doubles.
refused() {
    local name="$1" clause="$2" advice="$3"; shift 3
    local sentence="device \`cuda:0\` cannot be used: $clause; $advice, or use \`--device cpu\`" code=0 found before=$failures
    env "$@" "$cuda" info --device cuda > out 2> err || code=$?
    [ $code = 2 ] || fail "$name: --device cuda exits $code"
    [ "$(wc -l < err)" = 1 ] && grep -qF -- "$sentence" err && [ ! -s out ] ||
        fail "$name: --device cuda says: $(cat out err)"
    found="$(env "$@" "$cuda" info --json | python3 -c 'import json,sys; d = json.load(sys.stdin); print(d["device"], d["reason"])')" || true
    [ "$found" = "cpu $clause" ] || fail "$name: --device auto --json says: $found"
    env "$@" "$cuda" info | grep -qxF "device        cpu ($clause)" || fail "$name: --device auto says something else"
    # Before anything is loaded: the model does not even exist.
    code=0; env "$@" "$cuda" predict --model nowhere --device cuda text > out 2> err || code=$?
    [ $code = 2 ] && grep -qF -- "$sentence" err || fail "$name: predict says: $(cat out err)"
    [ $failures != $before ] || echo "ok  $name: $clause"
}

linked="$(readelf -d "$cuda" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | tr '\n' ' ')"
case "$linked" in *libcu* | *libnv* | *stdc++*) fail "it links $linked" ;; *) echo "ok  it links $linked" ;; esac

if ! ldconfig -p | grep -q libcuda.so.1; then
    refused "clean machine" 'no CUDA driver: `libcuda.so.1` is not on this machine' \
        "install NVIDIA's driver, or start the container with \`--gpus all\`"
fi

mkdir driver blas
# With our kernels as C, as src/compute/cuda/kernels/host.rs compiles them.
source="$here/../../src/compute/cuda/source"
cc -std=gnu11 -O2 -ffp-contract=off -shared -fPIC -Wl,-soname,libcuda.so.1 -o driver/libcuda.so.1 \
    "$here/driver.c" "$source/host.c" -x c "$source"/*.cu -lm
cc -shared -fPIC -O1 -Wl,-soname,libcublas.so.13 -o blas/libcublas.so.13 "$here/blas.c"
both="LD_LIBRARY_PATH=$work/driver:$work/blas"
smi='look at `nvidia-smi`'
busy='stop the processes that `nvidia-smi` lists, or name another card'
log="$smi and at the system's log"

refused "no card" 'no CUDA device: the driver finds no card' \
    "install NVIDIA's driver, or start the container with \`--gpus all\`" "$both" DOUBLE_INIT=100
refused "no card is counted" 'no CUDA device: the driver finds no card' \
    "install NVIDIA's driver, or start the container with \`--gpus all\`" "$both" DOUBLE_CARDS=0
refused "stub of the toolkit" "no CUDA driver: \`libcuda.so.1\` is the toolkit's stub" \
    'take the folder `stubs` off `LD_LIBRARY_PATH`' "$both" DOUBLE_INIT=34
refused "driver mismatch" "the CUDA driver's library and its kernel module have different versions" \
    'restart the machine or load the kernel module again' "$both" DOUBLE_INIT=803
refused "compatibility package" "the CUDA driver's compatibility package does not support this card" \
    'take the package `cuda-compat` away, or install a newer driver' "$both" DOUBLE_INIT=804
refused "driver too old for the runtime" \
    'the CUDA driver is too old for this build or for the card (`code 35`)' \
    'install a newer driver' "$both" DOUBLE_INIT=35
refused "driver too old for the kernels" \
    'the CUDA driver is too old for this build or for the card (`CUDA_ERROR_UNSUPPORTED_PTX_VERSION`)' \
    'install a newer driver' "$both" DOUBLE_LOAD=222
built="$(env "$both" "$cuda" info --device cuda --json |
    python3 -c 'import json,sys; print(json.load(sys.stdin)["card"]["toolkit"])')"
refused "driver of CUDA 12.0" "the CUDA driver is too old: it supports CUDA 12.0, and this build needs $built" \
    'install a newer driver' "$both" DOUBLE_CUDA=12000
refused "no memory for a context" 'there is no free memory on the card' "$busy" "$both" DOUBLE_RETAIN=2
refused "no memory for a tensor" 'there is no free memory on the card' "$busy" "$both" DOUBLE_ALLOC=2
refused "little memory" 'there is too little free memory on the card: 100 MiB, and 256 MiB are needed to start' "$busy" \
    "$both" DOUBLE_FREE_MIB=100
refused "old card" 'Double 0 is too old: it has compute capability 7.5, and 8.0 is needed' \
    'use a card of the Ampere generation or later' "$both" DOUBLE_CAPABILITY=75
refused "taken" 'another process has the card for itself, or it is switched off for computing' \
    "$smi, or name another card" "$both" DOUBLE_RETAIN=46
refused "fabric manager" 'the card is there but not ready (`CUDA_ERROR_SYSTEM_NOT_READY`)' \
    "look whether NVIDIA's Fabric Manager runs" "$both" DOUBLE_INIT=802
refused "unknown" 'CUDA says `CUDA_ERROR_UNKNOWN`' "$log" "$both" DOUBLE_INIT=999
if ! ldconfig -p | grep -q libcublas.so && [ ! -e /usr/local/cuda/lib64/libcublas.so ]; then
    refused "no cuBLAS" 'no cuBLAS: `libcublas.so.13` or `libcublas.so.12` is not on this machine' \
        "install CUDA's libraries, or name their folder in \`LD_LIBRARY_PATH\`" "LD_LIBRARY_PATH=$work/driver"
fi
refused "cuBLAS does not start" 'cuBLAS does not start on the card (`CUBLAS_STATUS_ALLOC_FAILED`)' "$log" "$both" \
    DOUBLE_BLAS=3
# Memory of the double begins as zeros.
refused "wrong kernel" 'the card computes `binary` wrongly: [0.0, 0.0, 0.0] instead of [-2.0, 2.0, 8.0]' "$log" "$both" \
    DOUBLE_WRONG=bsub_f32
before=$failures ours=0
for kernel in $(sed -n 's/.*\.entry \(.*\)($/\1/p' "$source"/*.ptx); do
    code=0 ours=$((ours + 1))
    env "$both" DOUBLE_WRONG="$kernel" "$cuda" info --device cuda > out 2> err || code=$?
    [ $code = 2 ] && grep -qE 'the try-out of `.*` fails: value .* is expected' err ||
        fail "$kernel of ours computes nothing, and exit $code: $(cat err)"
done
[ $failures != $before ] || echo "ok  $ours kernels of ours: each is run, and found if it computes nothing"

code=0; env "$both" "$cuda" info --device cuda:1 > out 2> err || code=$?
[ $code = 2 ] && grep -qF 'device `cuda:1` cannot be used: there is no card 1: the driver finds 1, counted from 0' err ||
    fail "second card: $(cat err)"

env "$both" "$cuda" info --device cuda > out 2> err || fail "a card that works: $(cat err)"
[ ! -s err ] && grep -qx 'device        cuda (asked for)' out && grep -qx 'card          Double 0, compute capability 9.0' out &&
    grep -qx 'card memory   80.0 GiB, 78.1 GiB free' out &&
    grep -qE "^CUDA driver   .*, supports CUDA 13.0; built with $built\$" out || fail "a card that works: $(cat out)"
env "$both" "$cuda" info | grep -qx 'device        cuda (a CUDA device was found)' || fail "auto does not find a card"
env "$both" "$cuda" info --json | python3 -c '
import json, sys
card = json.load(sys.stdin)["card"]
wanted = {"name": "Double 0", "compute_capability": "9.0", "memory_bytes": 81920 << 20, "free_bytes": 80000 << 20,
          "driver_cuda": "13.0"}
assert {key: card[key] for key in wanted} == wanted, card' || fail "--json of a card that works"
echo "ok  a card that works, and one that is not there"

if [ -n "$plain" ]; then
    export CUDA_VISIBLE_DEVICES=""
    for one in cuda plain; do
        mkdir "$one-run"
        (cd "$one-run" && "${!one}" train --device cpu --quiet --set train.max_steps=12 > /dev/null &&
            "${!one}" predict --device cpu --json "A dull first act, but the ending was moving." > answer.json)
        (cd "$one-run" && sha256sum checkpoints/*/model/model.safetensors answer.json) > "$one.sums"
    done
    diff cuda.sums plain.sums || fail "12 steps on the CPU differ from those of the plain build"
    cat cuda.sums
    echo "ok  12 steps of the quick start and a prediction: the same SHA-256"
fi

[ $failures = 0 ] || { echo "$failures failed" >&2; exit 1; }
