#!/usr/bin/env bash
# The paper's contrasts from scratch, at a reduced scale: scripts/reproduce.sh --scale cpu --data 'shards/*.jsonl.zst'. All options: --help.
set -euo pipefail
export CALLED_FROM=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=
for candidate in .venv/bin/python python3 /usr/bin/python3; do  # the last is the one that setup.sh installs packages for
  [ -n "$python" ] || ! "$candidate" -c 'import h5py, jinja2, matplotlib, numpy, yaml' 2>/dev/null || python=$candidate
done
[ -n "$python" ] || {
  echo "reproduce.sh: no python3 here has h5py, jinja2, matplotlib, numpy and yaml; scripts/setup.sh --report installs them" >&2
  exit 2
}
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}  # threads that wait leave the cores to others
PYTHONPATH=scripts exec "$python" -m reproduction "$@"
