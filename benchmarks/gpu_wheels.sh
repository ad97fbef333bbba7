#!/usr/bin/env bash
# Fills a folder with wheels for a machine that has torch, Python 3.12 and no network, under 60 MB in all:
# what `snakemake`, the commands and the CUDA tests need beside torch's usual company (NumPy, pandas, timm,
# pytest and so on). Versions are those of constraints.txt. There:
#
#     python3 -m pip install --no-index --no-deps --target /tmp/site FOLDER/*.whl
#     PYTHONPATH=/tmp/site bash benchmarks/gpu.sh
set -euo pipefail
folder=${1:?usage: benchmarks/gpu_wheels.sh FOLDER}
cd "$(dirname "$0")/.."
packages=(
  # params, commands and tests
  annotated-types beartype cyclopts docstring_parser nbformat pydantic pydantic_core rich-rst
  ruamel.yaml typing-inspection
  # of nbformat
  fastjsonschema jsonschema jsonschema-specifications jupyter_core platformdirs referencing rpds-py traitlets
  # snakemake
  argparse-dataclass conda-inject ConfigArgParse docutils dpath gitdb GitPython greenlet
  humanfriendly immutables PuLP smart_open smmap snakemake snakemake-interface-common
  snakemake-interface-executor-plugins snakemake-interface-logger-plugins snakemake-interface-report-plugins
  snakemake-interface-scheduler-plugins snakemake-interface-storage-plugins SQLAlchemy sqlmodel tenacity
  throttler yte
)
built=(connection_pool) # pure Python, published as source only
pin() { # print NAME==VERSION of constraints.txt
  grep -ix "$1==.*" constraints.txt || { echo "constraints.txt has no $1" >&2; exit 1; }
}
pins=()
for package in "${packages[@]}"; do
  pins+=("$(pin "$package")")
done
platforms=()
for version in manylinux1 manylinux2010 manylinux2014 manylinux_2_12 manylinux_2_17 manylinux_2_24 \
  manylinux_2_27 manylinux_2_28 manylinux_2_34; do
  platforms+=(--platform "${version}_x86_64")
done
mkdir -p "$folder"
python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
  "${platforms[@]}" --dest "$folder" "${pins[@]}"
for package in "${built[@]}"; do
  python3 -m pip wheel --quiet --no-deps --wheel-dir "$folder" "$(pin "$package")"
done
du -sh "$folder"
