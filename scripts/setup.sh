#!/usr/bin/env bash
# Installs what building and testing gcomp needs on Debian 12: packages (as root or through sudo) and a
# Python environment in .venv. Looks first and installs only what is missing, so that a second call takes
# well under a second. Nothing here is needed by gcomp or by its artifacts once they are built.
#
#   scripts/setup.sh build   compiler, LLVM, libraries
#   scripts/setup.sh demo    build + Python with what the demo needs
#   scripts/setup.sh test    build + checkers + Python with what the tests need (the default)
#   scripts/setup.sh bench   test + a second environment with Theano 1.0.5, in .venv-theano
#
# GCOMP_VENV and GCOMP_THEANO_VENV name other places for the Python environments.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tier=${1:-test}

packages=(
  cmake ninja-build g++ ccache git ca-certificates
  llvm-19-dev liblld-19-dev clang-19 libclang-rt-19-dev
  libcli11-dev nlohmann-json3-dev libspdlog-dev doctest-dev
  libzstd-dev libxml2-dev libboost-math-dev libmpfr-dev
)
case $tier in
  build) requirements="" ;;
  demo) requirements=scripts/requirements-demo.txt ;;
  test | bench) requirements=scripts/requirements-test.txt; packages+=(clang-tidy-19 clang-format-19 lld-19 make dpkg-dev chromium slurm-wlm munge) ;;
  *) echo "setup.sh: unknown tier '$tier'; one of build, demo, test, bench" >&2; exit 2 ;;
esac

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"
  else echo "setup.sh: run as root, or install sudo, to install: ${missing[*]}" >&2; exit 1; fi
}

install_packages() {
  local missing=() name
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | sed -n 's/^ii *//p')
  for name in "${packages[@]}"; do
    grep -qxF "$name" <<<"$installed" || missing+=("$name")
  done
  [ ${#missing[@]} = 0 ] && return
  echo "setup.sh: installing ${missing[*]}" >&2
  local log; log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  # The package lists may be old or absent, so they are read again before anything is asked of them.
  if ! { as_root apt-get -qq update && as_root apt-get -qq install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    cat "$log" >&2; rm -f "$log"; exit 1
  fi
  rm -f "$log"
}

# CPython 3.11 is what Debian 12 ships and what the pinned packages are for.
find_python() {
  local name
  for name in python3.11 /usr/bin/python3.11 python3; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      echo "$name"; return
    fi
  done
}

# The Python package's extension and PyTensor's C backend, which the tests compare with, compile against them.
has_headers() {
  "$1" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
}

# install_python VENV REQUIREMENTS
install_python() {
  local venv=$1 requirements=$2 stamp python
  stamp="$venv/.gcomp-$(cat scripts/requirements-demo.txt "$requirements" | sha256sum | cut -c1-12)"
  [ -f "$stamp" ] && return
  python=$(find_python)
  if [ -z "$python" ]; then
    packages=(python3 python3-venv); install_packages
    python=$(find_python)
  fi
  [ -n "$python" ] || { echo "setup.sh: no Python 3.11 with venv found" >&2; exit 1; }
  if ! has_headers "$python"; then
    packages=(python3-dev); install_packages
  fi
  echo "setup.sh: installing Python packages of $requirements into $venv" >&2
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" ||
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
  touch "$stamp"
}

# The C extension of the Python package (scripts/python/setup.py), in place; without it calls are slower.
build_extension() {
  local folder=scripts/python/gcomp made python log
  made=$(find $folder -name '_call.*.so' -newer $folder/_call.c -newer include/gcomp/runtime.h)
  [ -n "$made" ] && return
  python=$(realpath "${GCOMP_VENV:-.venv}")/bin/python
  log=$(mktemp -d)
  (cd scripts/python && "$python" setup.py -q build_ext --inplace --force --build-temp "$log") >"$log/text" 2>&1 ||
    cat "$log/text" >&2
  rm -r "$log"
}

# NVRTC, which compiles CUDA kernels in the tests (no GPU needed): from NVIDIA's wheel, 110 MB, where there is no toolkit.
install_nvrtc() {
  local venv=$1
  compgen -G '/usr/local/cuda/lib64/libnvrtc.so.*' >/dev/null && return
  compgen -G "$venv/lib/python*/site-packages/nvidia/*/lib/libnvrtc.so.*" >/dev/null && return
  echo "setup.sh: installing NVRTC into $venv" >&2
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check nvidia-cuda-nvrtc==13.0.88
}

install_packages
[ -z "$requirements" ] || { install_python "${GCOMP_VENV:-.venv}" "$requirements"; build_extension; }
case $tier in test | bench) install_nvrtc "${GCOMP_VENV:-.venv}" ;; esac
[ "$tier" != bench ] || install_python "${GCOMP_THEANO_VENV:-.venv-theano}" scripts/requirements-theano.txt
