#!/bin/bash
# One search as a Slurm job array: every task trains its part (shard) of the plan.
#
#     sbatch job-array.sh --space nb201 --dataset utdmhad --strategy exhaustive
#     python -m nas_skeleton.runs show RUN
#     sbatch $(python -m nas_skeleton.runs missing RUN --format slurm) job-array.sh --space nb201 ...
#
# The last line runs what is left. Submit where `runs/` shall be, a folder that all nodes see, with the
# Python environment active and the data prepared (python -m nas_skeleton.data prepare NAME). Any size
# of array will do, also another one later: what is done is not done again, and two arrays at a time
# share the work. (`search ... --executor slurm` writes and submits such an array by itself.)
#
# Arrays of PBS, SGE and LSF are understood too. PBS does not tell how large an array is: say it in
# the script, as the array is written, with `export NAS_SKELETON_SHARDS=0-99`.
#
#SBATCH --job-name=nas_skeleton
#SBATCH --array=0-99
#SBATCH --time=04:00:00
#SBATCH --cpus-per-task=4
#SBATCH --output=%x-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120

# In the background, because the shell hears signals only while it waits.
python -m nas_skeleton.search "$@" &
search=$!
out_of_time=
trap 'out_of_time=yes; kill -USR1 $search' USR1 # two minutes are left: save all
trap 'kill -TERM $search' TERM                  # scancel, preemption: the same, and Slurm goes on
while kill -0 $search 2>/dev/null; do
    wait $search # a signal ends it early
done
wait $search
code=$?

# 75: stopped, all is saved. Not $SLURM_JOB_ID: for one of the tasks it means the whole array.
if [ $code = 75 ] && [ $out_of_time ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit $code
