#!/usr/bin/env bash
# CLINC150 at one seed: `benches/methods/clinc.sh SEED`, from the repository root, with `bayes` on the PATH or in BAYES.
# More arguments go to `bayes compare`. Stop it and run it again to go on. Its cells are copied here; `table.py` joins
# those of all seeds.
set -euo pipefail
seed=${1:?a seed}
"${BAYES:-bayes}" compare --config configs/clinc.toml --seeds 1 --set "train.seed=$seed" \
    --shift typos=0.05,truncate=8,drop=0.1 \
    --methods largest=laplace:calibration.scale=largest,one=laplace:calibration.scale=1,mc_dropout,swag,sngp,vbll,lora_laplace,ensemble,distil \
    "${@:2}"
here=$(dirname "$0")
keep() { python3 "$here/table.py" "$here/cells/clinc150" --keep checkpoints/clinc-minilm-compare/cells; }
# Before the next comparison, which leaves out damaged rows, replaces the cell of `map`.
keep > /dev/null
# The same weights with other scores of novelty.
novelty() { echo "$1=laplace:calibration.scale=largest:calibration.novelty=$2"; }
"${BAYES:-bayes}" compare --config configs/clinc.toml --seeds 1 --set "train.seed=$seed" "${@:2}" \
    --methods "$(novelty rmd relative_mahalanobis),$(novelty rmd_pp relative_mahalanobis_pp),$(novelty md mahalanobis),$(novelty md_pp mahalanobis_pp),$(novelty knn knn),$(novelty ddu ddu),$(novelty energy energy)"
keep
