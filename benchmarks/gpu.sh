#!/usr/bin/env bash
# Everything that a machine with a GPU is needed for, in at most eight minutes:
#
#     benchmarks/gpu.sh [--out FOLDER] [--wheels FOLDER] [--minutes 7.5]
#
# --wheels names a folder that benchmarks/gpu_wheels.sh filled: its wheels are unpacked for this run alone.
# FOLDER gets gpu.json, gpu.txt and gpu.log; without a GPU the same runs reduced, on the CPU.
set -euo pipefail
options=()
while (($#)); do
  case $1 in
    --wheels) wheels=$(realpath "$2") && shift 2 ;;
    --out) mkdir -p "$2" && options+=(--out "$(realpath "$2")") && shift 2 ;;
    *) options+=("$1") && shift ;;
  esac
done
cd "$(dirname "$0")/.."
path=$PWD/src
if [[ -n ${wheels:-} ]]; then
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  python3 -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$wheels"/*.whl
  path+=:$site
fi
export PYTHONPATH=$path${PYTHONPATH:+:$PYTHONPATH} PYTHONDONTWRITEBYTECODE=1
python3 benchmarks/gpu "${options[@]}"
