#!/usr/bin/env bash
# The GPU's answers and rates on a bare machine with Python 3.11 or newer, numpy, and torch 2.11 or newer built for CUDA: nothing is installed.
#
#   bash bench/gpu.sh pack      here, with the network: wheels of lineage and of what its tests need, unpacked into build/gpu
#   bash bench/gpu.sh           there, in a copy of this folder with build/gpu: at most 8 minutes; figures go to $OUT (or build/gpu)
#   DEVICE=cpu SIZES="--models 500 --values 4096 --family 60" bash bench/gpu.sh     a rehearsal without a GPU
#
# Exit code 0: CUDA tests passed and every golden decision is the CPU's. The last line on stdout is JSON.
set -u
cd "$(dirname "$0")/.."
SITE=build/gpu/site
if [ "${1:-}" = pack ]; then
  set -e
  python=${PYTHON:-.venv/bin/python}
  rm -rf build/gpu && mkdir -p build/gpu/wheels
  "$python" -m pip wheel --quiet --no-deps --wheel-dir build/gpu/wheels .
  "$python" -m pip download --quiet --no-deps --only-binary=:all: --dest build/gpu/wheels safetensors pytest pluggy iniconfig packaging pygments threadpoolctl
  mkdir -p "$SITE"
  for wheel in build/gpu/wheels/*.whl; do "$python" -m zipfile -e "$wheel" "$SITE"; done
  du -sh build/gpu
  exit
fi
[ -d "$SITE" ] || { echo "build/gpu is missing: bash bench/gpu.sh pack" >&2; exit 2; }
python=${PYTHON:-python3}
OUT=${OUT:-build/gpu}
DEVICE=${DEVICE:-cuda}
SIZES=${SIZES:-}
mkdir -p "$OUT"
export PYTHONPATH="$SITE:." OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE=1
"$python" - "$DEVICE" <<'PY' || exit 2
import sys
import numpy, torch
if sys.argv[1] == "cuda" and not torch.cuda.is_available():
    sys.exit("there is no CUDA device here: nothing was measured")
import lineage
print(f"torch {torch.__version__}, numpy {numpy.__version__}, lineage from {lineage.__path__[0]}")
PY
status=0
timeout 120 "$python" -m pytest -q -p no:cacheprovider --noconftest -o addopts= -o timeout=0 -m gpu \
  tests/detect/test_device.py tests/detect/detector/test_scoring.py -W ignore 2>&1 | tee "$OUT/gpu_tests.txt"
code=${PIPESTATUS[0]}
[ "$code" = 0 ] || status=1
# a run that silently fell back to the CPU has not tested anything
if [ "$DEVICE" = cuda ] && grep -q "skipped" "$OUT/gpu_tests.txt"; then echo "CUDA tests were skipped" >&2; status=1; fi
# shellcheck disable=SC2086
timeout 360 "$python" -m bench.gpu --device "$DEVICE" $SIZES 2>&1 | tee "$OUT/gpu.txt"
[ "${PIPESTATUS[0]}" = 0 ] || status=1
exit $status
