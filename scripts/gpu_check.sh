#!/usr/bin/env bash
# What only a GPU can show, in sections, each under ten minutes: tests, kernels, mfu, memory, pytorch, metrics, sanitizer.
#
#   scripts/gpu_check.sh [--only SECTION] [--budget SECONDS] [--out FILE]        more: --help
#
# Runs from a package (scripts/package.sh) on a bare node, or from a checkout with build/cuda. Needs Python 3.8 and nothing else;
# takes CUDA's libraries from the node's PyTorch. The JSON is rewritten after each result and lists what is unfinished; a later call
# with the same --out adds to it. Without a GPU: one line, exit code 2.
exec "${PYTHON:-python3}" "$(dirname "${BASH_SOURCE[0]}")/gpu_check.py" "$@"
