#!/usr/bin/env bash
# The paper's contrasts from scratch, at a reduced scale: scripts/reproduce.sh --scale cpu --data 'shards/*.jsonl.zst'. All options: --help.
set -euo pipefail
export CALLED_FROM=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=python3
[ ! -x .venv/bin/python ] || python=.venv/bin/python
for module in yaml numpy h5py matplotlib jinja2; do
  "$python" -c "import $module" 2>/dev/null || {
    echo "reproduce.sh: $python has no $module; scripts/setup.sh --report installs it" >&2
    exit 2
  }
done
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}  # threads that wait leave the cores to others
PYTHONPATH=scripts exec "$python" -m reproduction "$@"
