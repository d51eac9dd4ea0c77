#!/usr/bin/env bash
# The trainings and numbers behind analysis/fidelity.ipynb. In a folder with the prepared UTD-MHAD
# (`python -m nas_skeleton.data prepare utdmhad`) and a copy of search_spaces/ beside this file.
# Some 12 hours of one core; what is done is not done again.
set -euo pipefail

study() { # RECIPE SEEDS
    python -m nas_skeleton.search --space nb201-study --dataset utdmhad --recipe "$1" \
        --seeds "$2" --trials 64
    runs+=("nb201-study_utdmhad_thesis_$1_random_777")
}

runs=()
for recipe in c8-n5-e15 c8-n3-e15 c16-n3-e15 c8-n5-e30 c8-n3-e30 c8-n5-e15-lr04 c8-n5-e15-lr25 \
    c8-n5-e15-b16 c8-n5-e15-t32 c8-n5-e15-wd3 c8-n5-e15-rot c8-n5-e8 c8-n5-e15-b16-lr04 \
    c8-n3-e30-b16; do
    study "$recipe" 777,888
done
study c8-n3-e30-lr04 777,888,999,1111

# The notebook's numbers are from 31 cells of these: stopped after four hours of one core.
python -m nas_skeleton.search --space nb201 --dataset utdmhad --recipe standard --seeds 777,888 \
    --trials 64

python -m nas_skeleton.compare recipes "${runs[@]}" -o fidelity \
    --against nb201_utdmhad_thesis_standard_random_777
