#!/usr/bin/env bash
# CLINC150 at one seed: `benches/methods/clinc.sh SEED`, from the repository root, with `bayes` on the PATH or in BAYES.
# Stop it and run it again to go on. Its cells are copied here; `table.py` joins those of all seeds.
set -euo pipefail
seed=${1:?a seed}
"${BAYES:-bayes}" compare --config configs/clinc.toml --seeds 1 --set "train.seed=$seed" \
    --shift typos=0.05,truncate=8,drop=0.1 \
    --methods largest=laplace:calibration.scale=largest,one=laplace:calibration.scale=1,mc_dropout,swag,sngp,vbll,lora_laplace,ensemble
mkdir -p "$(dirname "$0")/cells/clinc150"
cp checkpoints/*-compare/cells/seed"$seed"-*.json "$(dirname "$0")/cells/clinc150/"
