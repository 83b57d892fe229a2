#!/usr/bin/env bash
# A program that was built with CUDA, on the CPU all the same: SPIKESINK_BUILT names it. What would take a GPU by default is
# told not to; a checkpoint's own config says so later.
case $1 in
  train | sweep | plan) exec "$SPIKESINK_BUILT" "$@" --set system.device=cpu ;;
  *) exec "$SPIKESINK_BUILT" "$@" ;;
esac
