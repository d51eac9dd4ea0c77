#!/usr/bin/env bash
# The trainings and numbers behind analysis/fidelity.ipynb. In a folder with the prepared UTD-MHAD
# (`python -m nas_skeleton.data prepare utdmhad`) and a copy of search_spaces/ beside this file.
# What is done is not done again.
set -euo pipefail

study() { # RECIPE SEEDS [SPACE]
    local space=${3:-nb201-study}
    python -m nas_skeleton.search --space "$space" --dataset utdmhad --recipe "$1" \
        --seeds "$2" --trials 64
    runs+=("${space}_utdmhad_thesis_$1_random_777")
}

runs=()
for recipe in c8-n5-e15 c16-n3-e15 c8-n5-e30 c8-n3-e30 c8-n5-e15-lr04 c8-n5-e15-lr25 c8-n5-e15-b16 \
    c8-n5-e15-t32 c8-n5-e15-wd3 c8-n5-e15-rot c8-n5-e8 c8-n5-e15-b16-lr04 c8-n3-e30-b16 \
    c8-n3-e60-lr04 c8-n5-e30-lr04 c8-n3-e30-lr04-swa; do
    study "$recipe" 777,888
done
study c8-n3-e15 777,888,999,1111
study c8-n3-e30-lr04 777,888,999,1111
study c8-n3-e30-lr04-2blocks 777,888 nb201-study-b2
study table 777,888 nb201-image

# The notebook's numbers are from 31 connected cells of these: stopped after four hours of one core.
python -m nas_skeleton.search --space nb201 --dataset utdmhad --recipe standard --seeds 777,888 \
    --trials 64

for fold in 1 2 3 4 5 6 7 8; do
    python -m nas_skeleton.search --space nb201-study --dataset utdmhad --recipe c8-n3-e30-lr04 \
        --protocol "loso-$fold" --seeds 777,888 --trials 24
done

python -m nas_skeleton.compare recipes "${runs[@]}" -o fidelity \
    --against nb201_utdmhad_thesis_standard_random_777
python -m nas_skeleton.compare recipes nb201-study_utdmhad_thesis_c8-n3-e30-lr04_random_777 \
    'nb201-study_utdmhad_loso-*_c8-n3-e30-lr04_random_777' -o fidelity/folds
