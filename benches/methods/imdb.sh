#!/usr/bin/env bash
# IMDB at one seed, with SST-2 as another source: `benches/methods/imdb.sh SEED`, from the repository root, with `bayes`
# on the PATH or in BAYES. More arguments go to `bayes compare`. Stop it and run it again to go on.
set -euo pipefail
seed=${1:?a seed}
"${BAYES:-bayes}" compare --config configs/imdb.toml --seeds 1 --set "train.seed=$seed" \
    --shift typos=0.05,truncate=64,drop=0.1 --other-data sst2 \
    --methods largest=laplace:calibration.scale=largest,one=laplace:calibration.scale=1,sngp,vbll,mc_dropout,lora_laplace,swag \
    "${@:2}"
python3 "$(dirname "$0")/table.py" "$(dirname "$0")/cells/imdb" --keep checkpoints/imdb-minilm-compare/cells
