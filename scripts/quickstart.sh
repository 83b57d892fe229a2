#!/usr/bin/env bash
# From a fresh Debian 12 or Ubuntu 24.04 to a trained model and its sinks and spikes, in three to ten minutes on two cores: installs
# what is missing, builds, gathers text, trains a tokenizer and a small model, and prints what was measured along the way.
#
#   scripts/quickstart.sh [--data PATH]... [--fresh] [--no-setup]
#
#   --data PATH   a folder of DCLM shards (*.jsonl, .jsonl.zst, .jsonl.gz) or such a file, instead of text from this
#                 machine's own documentation; may be repeated
#   --fresh       start over; else what is done stays done, and a run that was stopped goes on
#   --no-setup    install nothing
#
# Everything it makes is in quickstart/ and build/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}  # threads that wait leave the cores to others
readonly HERE=quickstart RUN=quickstart/runs/quickstart BINARY=build/cpu/spikesink
data=() fresh=false setup=true
while [ $# -gt 0 ]; do
  case $1 in
    --data)
      [ $# -gt 1 ] || { echo "quickstart.sh: --data: no PATH behind it; name a folder or a file of shards" >&2; exit 2; }
      data+=("$2")
      shift
      ;;
    --fresh) fresh=true ;;
    --no-setup) setup=false ;;
    -h | --help) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "quickstart.sh: $1: unknown option; see scripts/quickstart.sh --help" >&2; exit 2 ;;
  esac
  shift
done

say() { printf '\n== %s\n' "$*"; }
fail() {
  printf 'quickstart.sh: %s\n' "$*" >&2
  exit 1
}

# The shards to train on, as absolute names.
shards_in() {
  local path=$1
  if [ -d "$path" ]; then
    find -L "$(realpath "$path")" -maxdepth 1 \( -name '*.jsonl' -o -name '*.jsonl.zst' -o -name '*.jsonl.gz' \) | sort
  elif [ -f "$path" ]; then
    realpath "$path"
  else
    fail "--data $path: no such file or folder"
  fi
}
shards=()
for path in "${data[@]}"; do
  found=$(shards_in "$path")
  [ -n "$found" ] || fail "--data $path: no .jsonl, .jsonl.zst or .jsonl.gz in it"
  mapfile -t -O ${#shards[@]} shards <<<"$found"
done

if $fresh; then
  for shard in "${shards[@]}"; do
    [[ $shard != "$(realpath -m "$HERE")"/* ]] ||
      fail "--fresh would remove $shard, which --data names; move your shards out of $HERE/"
  done
  rm -rf "$HERE"
fi
mkdir -p "$HERE"

if $setup; then
  say "1/5 Packages"
  bash scripts/setup.sh
fi

say "2/5 Build (build/cpu; the first time takes minutes)"
[ -f build/cpu/build.ninja ] || cmake --preset cpu -DSPIKESINK_TESTS=OFF >"$HERE/build.log" 2>&1 ||
  { tail -n 20 "$HERE/build.log"; fail "cmake --preset cpu failed: the end of $HERE/build.log is above"; }
NINJA_STATUS='[%f/%t, %e s] ' cmake --build --preset cpu --target spikesink |
  if [ -t 1 ]; then cat; else tee "$HERE/build.log" | awk 'NR % 20 == 0 || /error|FAILED|no work/ { print; fflush() }'; fi

say "3/5 Text"
if [ ${#shards[@]} = 0 ]; then
  if [ ! -f "$HERE/data/done" ]; then
    echo "gathering prose from this machine's documentation ..."
    python3 scripts/gather_text.py --out "$HERE/data"
    touch "$HERE/data/done"
  fi
  mapfile -t shards < <(shards_in "$HERE/data")
fi
printf '%s\n' "${shards[@]}" >"$HERE/shards.now"
if [ -f "$HERE/shards" ] && ! cmp -s "$HERE/shards" "$HERE/shards.now"; then
  rm "$HERE/shards.now"
  fail "the data is not that of the run in $HERE; give the same --data, or --fresh to start over"
fi
mv "$HERE/shards.now" "$HERE/shards"
du -ch "${shards[@]}" | awk -v n=${#shards[@]} 'END { print n " shards, " $1 " on disk" }'

say "4/5 Tokenizer"
if [ ! -f "$HERE/tokenizer.model" ]; then
  "$BINARY" tokenizer train "${shards[@]}" --vocab 2048 --out "$HERE/tokenizer.model" ||
    fail "no tokenizer of 2048 tokens: the line above says why; with --data, give more text"
fi
echo "$HERE/tokenizer.model: 2048 tokens"

say "5/5 Training (configs/cpu/quickstart.yaml; one to four minutes on two cores)"
list=$(python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "${shards[@]}")
options=(--set "data.train=$list" --set "data.tokenizer=$HERE/tokenizer.model" --set "run.dir=$HERE/runs")
if [ -f "$HERE/run.done" ]; then
  echo "done before; --fresh trains again"
elif [ -f "$RUN/metrics.jsonl" ]; then
  "$BINARY" train configs/cpu/quickstart.yaml "${options[@]}" --resume
else
  rm -rf "$RUN"
  "$BINARY" train configs/cpu/quickstart.yaml "${options[@]}"
fi
touch "$HERE/run.done"

say "The run, probe by probe"
python3 scripts/run_table.py "$RUN"
cat <<END

perplexity        on text that was held out of training
sink_ratio        share of heads with a sink, over heads and sequences: a token that gets more than 30 % of the attention
first_token_mass  mean share of attention that the first token gets
spike_max         largest magnitude in the residual stream; spike_ratio: over the median of its block

What next:
END
next() {
  if [ ${#1} -le 58 ]; then printf '  %-58s %s\n' "$1" "$2"; else printf '  %s\n  %-58s %s\n' "$1" "" "$2"; fi
}
next "$BINARY eval $RUN" "measures the last checkpoint"
next "$BINARY config" "every key of a config, with its meaning"
next "$BINARY train configs/paper_cpu/table7_conditional_head.yaml --set 'data.train=$list' \
--set data.tokenizer=$HERE/tokenizer.model --set model.vocab_size=2048" \
  "a row of the paper at 1M parameters"
next "scripts/quickstart.sh --fresh --data FOLDER" "the same on your own DCLM shards"
next "tensorboard --logdir $HERE/runs" "curves, where TensorBoard is installed"
