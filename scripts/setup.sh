#!/usr/bin/env bash
# Installs what spikesink needs on Debian 12 or Ubuntu 24.04: only what is missing, and silent when nothing is.
#
#   scripts/setup.sh            what builds and runs it
#   scripts/setup.sh --tests    also what scripts/test.sh needs; Python packages that Debian lacks go into .venv
#   scripts/setup.sh --report   also what scripts/report.py needs, which --tests has; may come beside the others
#   scripts/setup.sh --all      also what scripts/test.sh --all needs
#   scripts/setup.sh --cuda     also the headers of cudnn-frontend, into .venv, for cmake --preset cuda; may come beside the others.
#                               CUDA's toolkit, cuBLAS, cuDNN and NCCL come from NVIDIA
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(
  build-essential cmake ninja-build pkg-config git
  libyaml-cpp-dev                                               # config
  libhdf5-dev                                                   # checkpoints, probes
  libsimdjson-dev libzstd-dev zlib1g-dev libxxhash-dev          # documents
  libsentencepiece-dev libpcre2-dev                             # tokens
  libdnnl-dev libopenblas-openmp-dev                            # matrix products
  libspdlog-dev libfmt-dev nlohmann-json3-dev libcli11-dev      # logs, text, JSON, command line
  libopenmpi-dev openmpi-bin                                    # several processes
  catch2                                                        # tests
  zstd python3 python3-venv                                     # scripts
)
report=(python3-matplotlib python3-jinja2 python3-h5py python3-numpy python3-yaml)
tests=(clang-format-14 python3-torch  # the formatter's version decides the format
       clang-14 libclang-rt-14-dev libomp-14-dev  # fuzzing
       libboost-context-dev           # fibers, to run CUDA kernels without a GPU
       slurm-wlm munge)               # sweeps on a cluster of one node
browser=(chromium chromium-driver)    # to look at a report's page; Ubuntu has them as snaps only, and the test says what it skips
all=(clang-tidy-14)

want=build cuda="" with_report=""
for option; do
  case $option in
    --tests) want=tests ;;
    --all) want=all ;;
    --report) with_report=1 ;;
    --cuda) cuda=1 ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "setup.sh: $option: unknown option; see scripts/setup.sh --help" >&2; exit 2 ;;
  esac
done
if [ $want != build ]; then
  packages+=("${tests[@]}")
  with_report=1
  grep -qx 'ID=ubuntu' /etc/os-release 2>/dev/null || packages+=("${browser[@]}")
fi
[ -z "$with_report" ] || packages+=("${report[@]}")
[ $want != all ] || packages+=("${all[@]}")

fail() {
  printf 'setup.sh: %s\n' "$*" >&2
  exit 1
}

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  fail "no apt-get here: install the equivalents of these Debian packages, then go on with --no-setup: ${packages[*]}"
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null || true)
  [ "${status:0:2}" = ii ] || missing+=("$package")
done

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}
apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}"
}

if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || fail "not root and no sudo: ask for  apt-get install ${missing[*]}"
    [ -t 0 ] || sudo -n true 2>/dev/null || fail "sudo wants a password, and there is no terminal to ask on: run  sudo apt-get install ${missing[*]}"
  fi
  echo "setup: installing ${#missing[@]} packages with apt-get: ${missing[*]}"
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  # A fresh system has no package lists and an old one has stale ones; either way the second try has new ones.
  if ! apt_install >"$log" 2>&1; then
    { as_root apt-get update -qq && apt_install; } >"$log" 2>&1 || {
      tail -n 15 "$log" >&2
      fail "apt-get could not install: ${missing[*]}; its last lines are above"
    }
  fi
fi

requirements=()
[ $want = build ] || requirements+=(requirements.txt)
[ -z "$cuda" ] || requirements+=(requirements-cuda.txt)
[ ${#requirements[@]} -gt 0 ] || exit 0

# The venv sees Debian's Python packages, so it must be made by Debian's Python.
python=/usr/bin/python3
if [ ! -x .venv/bin/python ]; then
  echo "setup: making .venv"
  "$python" -m venv --system-site-packages .venv
fi
for file in "${requirements[@]}"; do
  stamp=.venv/${file%.txt}.installed
  cmp -s "scripts/$file" "$stamp" && continue
  echo "setup: installing into .venv with pip: $(grep -v '^#' "scripts/$file" | tr '\n' ' ')"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "scripts/$file" ||
    fail "pip could not install scripts/$file into .venv; its last lines are above"
  cp "scripts/$file" "$stamp"
done
