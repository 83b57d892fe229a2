#!/usr/bin/env bash
# Everything that must hold before a change lands, in stages; stops at the first that fails. Works on a fresh Debian 12.
#
#   scripts/test.sh [--all] [--long] [--only STAGE] [--no-setup]
#
#   --all        add clang-tidy over every source file, and the CUDA kernels compiled for other GPUs
#   --long       fuzz a minute a target, not 5 seconds, and each time with other inputs
#   --only STAGE run this stage alone (may be repeated); --list prints the stages
#   --no-setup   install nothing
#
# The last line is `N passed, N failed`, with `, N skipped` where tests were skipped. Logs are in build/test-logs.
# shellcheck disable=SC2317,SC2064  # stages are called by name; the trap outlives its variable
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# stage      minutes  when
STAGES="
setup        4        setup
format       1        always
build        9        always
unit         4        always
house        3        always
reference    4        always
end_to_end   12       always
ranks        6        always
slurm        4        always
read_back    1        always
fuzz         8        always
threads      8        always
emulated     14       always
sanitized    4        always
cuda         7        always
tidy         15       all
cuda_archs   15       all
"
SPIKESINK=$PWD/build/cpu/spikesink
readonly LOGS=$PWD/build/test-logs
export SPIKESINK
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}  # threads that wait leave the cores to others

# A stage reports with these; a stage that fails without having counted a failure is one.
passed() { echo "passed $1" >>"$LOGS/counts"; }
failed() { echo "failed $1" >>"$LOGS/counts"; }
skipped() { echo "skipped $1" >>"$LOGS/counts"; }

# script FILE [ARGUMENT...]: one test; exit code 77 means skipped. Its output has a log of its own, of which the stage's has
# the last line, what is to be shown, and of one that failed its failures and its end.
script() {
  local code=0 run=bash log
  log=$LOGS/scripts/$(basename "$1").log
  mkdir -p "$LOGS/scripts"
  [[ $1 != *.py ]] || run=$(python)
  "$run" "$@" >"$log" 2>&1 || code=$?
  grep '^show: ' "$log" || true
  case $code in
    0) passed 1; echo "$1: $(tail -n 1 "$log")" ;;
    77) skipped 1; echo "$1: $(tail -n 1 "$log")" ;;
    *) failed 1; grep -a -i -A 3 '^ *fail' "$log" | head -n 40 || true; tail -n 30 "$log"; echo "$1: FAILED, exit code $code"; return 1 ;;
  esac
}
# scripts_by_two FILE...: two at a time, since many wait for one thread, and what each prints in one piece.
scripts_by_two() {
  printf '%s\n' "$@" | xargs -P 2 -n 1 bash "$0" --script
}
in_one_piece() {
  local code=0 text
  echo "$1 begins"
  text=$(script "$1") || code=$?
  printf '%s\n' "$text"
  return "$code"
}
python() {
  if [ -x .venv/bin/python ]; then echo .venv/bin/python; else echo python3; fi
}
# The newest tool by that name is another format: version 14 is Debian 12's.
tool() {
  command -v "$1-14" || { command -v "$1" >/dev/null && "$1" --version | grep -q 'version 14\.' && command -v "$1"; }
}
cpp_files() {
  find io kernels data models trainer analysis configs sweeps cli tests -regex '.*\.\(h\|cpp\|cu\|cuh\)' | sort
}

# CUDA's compiler, where cmake/Cuda.cmake looks for it.
find_nvcc() {
  local folder
  command -v nvcc && return
  for folder in "${CUDA_PATH:-}" "${CUDA_HOME:-}" /usr/local/cuda; do
    [ ! -x "$folder/bin/nvcc" ] || { echo "$folder/bin/nvcc"; return; }
  done
  return 1
}

stage_setup() {
  local cuda=()
  ! find_nvcc >/dev/null || cuda=(--cuda)
  bash scripts/setup.sh "$SETUP_FLAG" "${cuda[@]}"
}

stage_format() {
  local format
  format=$(tool clang-format) || { echo "no clang-format 14: skipped"; skipped 1; return 0; }
  cpp_files | xargs -r "$format" --dry-run -Werror && passed 1
}

stage_build() {
  cmake --preset cpu -DSPIKESINK_TESTS=ON -DSPIKESINK_WERROR=ON && cmake --build --preset cpu
}

# Counts Catch2's test cases: passed, failed, skipped (those that say so). A program that dies without its summary counts as
# one failure.
count_cases() {
  awk '
    match($0, /All tests passed \(.* in [0-9]+ test case/) { split($0, w, " in "); split(w[2], n, " "); passed += n[1] }
    /test cases: / {
      for (i = 1; i < NF; i++) { if ($(i + 1) ~ /^passed/) passed += $i; if ($(i + 1) ~ /^failed/) { failed += $i } }
    }
    /^[0-9]+: +skipped: / { skipped++ }
    /\*\*\*(Failed|Exception|Timeout|Not Run)/ { broken++ }
    END { if (failed < broken) failed = broken; print passed - skipped, failed + 0, skipped + 0 }' "$1"
}
unit_tests() {  # preset [options of ctest...]
  local log=$LOGS/cases-$1.log code=0 counts number
  ctest --preset "$1" --verbose --timeout 1500 "${@:2}" >"$log" 2>&1 || code=$?
  # Of a failure the last lines of each program that failed; of success only what was skipped.
  sed -nE 's/^\t *([0-9]+) - .*/\1/p' "$log" | while read -r number; do
    grep -E "^$number: " "$log" | tail -n 30 || true
  done
  grep -E '^[0-9]+: +skipped: ' "$log" || true
  read -r -a counts <<<"$(count_cases "$log")"
  passed "${counts[0]}"
  [ "${counts[1]}" = 0 ] || failed "${counts[1]}"
  [ "${counts[2]}" = 0 ] || skipped "${counts[2]}"
  [ "${counts[0]}" -gt 0 ] || { echo "no test case ran"; return 1; }
  return "$code"
}
stage_unit() {
  unit_tests cpu --parallel "$(nproc)"
}

stage_house() {
  local rule code=0
  for rule in include_directions text_rules one_definition cuda_versions headers_alone; do
    script tests/house/"$rule".py || code=1
  done
  return "$code"
}

# Logits, losses and gradients of every variant against PyTorch; ids against the tokenizers' own packages.
stage_reference() {
  local code=0
  script tests/reference/compare.py build/cpu/tests/reference_dump || code=1
  script tests/reference/tokenizers.py build/cpu/tests/reference_encode "$SPIKESINK" || code=1
  return "$code"
}

stage_end_to_end() {
  local test tests=()
  for test in tests/end_to_end/*_test.py; do
    case $test in
      */emulated_* | */cuda_* | */ranks_* | */slurm_*) ;;  # of another stage
      *) tests+=("$test") ;;
    esac
  done
  scripts_by_two "${tests[@]}"
}

# Several processes under mpirun.
stage_ranks() {
  scripts_by_two tests/end_to_end/ranks_*test.py
}

# Sweeps on a Slurm cluster of one node, which the test starts.
stage_slurm() {
  script tests/end_to_end/slurm_test.py
}

# A run's files must open with the libraries of others.
stage_read_back() {
  local work
  "$(python)" -c 'import h5py, tensorboard' || { echo "scripts/setup.sh --tests installs what is missing"; return 1; }
  work=$(mktemp -d)
  trap "rm -rf '$work'" EXIT
  python3 scripts/gather_text.py --out "$work/data" --max-mb 1 /usr/share/common-licenses
  "$SPIKESINK" train configs/cpu/tiny.yaml --set "data.train=[$work/data/*.jsonl.zst]" --set data.holdout=0.2 \
    --set train.steps=4 --set train.schedule.warmup_steps=2 --set metrics.sequences=4 --set metrics.every_steps=1 \
    --set "run.dir=$work" --set run.name=run
  script tests/io/read_back.py h5 "$work"/run/probes/*.h5 "$work"/run/checkpoints/step_*/*.h5
  script tests/io/read_back.py events "$work/run/tensorboard"
}

# All that reads files against inputs of libFuzzer, from tests/fuzz/corpus on, which stage unit replays.
stage_fuzz() {
  command -v clang++-14 >/dev/null || { echo "no clang 14: skipped"; skipped 1; return 0; }
  cmake --preset fuzz
  cmake --build --preset fuzz
  script tests/fuzz/fuzz.py build/fuzz/tests/fuzz/fuzz "$FUZZ_SECONDS" --seed "$FUZZ_SEED"
}

# What has threads of its own: loaders, the checkpoint writer, ranks that watch each other, the followers of loggers; less
# the test that races on purpose, and the one of memory, of which this sanitizer takes four times as much.
stage_threads() {
  local log=$LOGS/cases-threads.log code=0 counts part
  local -A running
  export OMP_NUM_THREADS=1 TSAN_OPTIONS="halt_on_error=0 suppressions=$PWD/tests/tsan.supp"
  cmake --preset tsan
  cmake --build --preset tsan --target test_threads  # the files that tests/CMakeLists.txt takes by these tags
  build/tsan/tests/test_threads '[loader],[store]' >"$log.data" 2>&1 &
  running[data]=$!
  build/tsan/tests/test_threads '[checkpoint]~[memory],[dist]~[races],a follower*' >"$log.trainer" 2>&1 &
  running[trainer]=$!
  for part in "${!running[@]}"; do
    wait "${running[$part]}" || { code=1; tail -n 30 "$log.$part"; }
  done
  sed 's/^/1: /' "$log.data" "$log.trainer" >"$log"
  read -r -a counts <<<"$(count_cases "$log")"
  passed "${counts[0]}"
  [ "$code" = 0 ] && [ "${counts[0]}" -gt 0 ] && [ "${counts[1]}" = 0 ]
}

# The CUDA code on the host, see tests/cuda_emulation/README.md: all unit tests, the CPU's and CUDA's, under the address and
# undefined-behaviour sanitizers; whole runs are held against the CPU's.
stage_emulated() {
  local ran=$LOGS/kernels-run parts=(io kernels cuda data models trainer analysis configs sweeps fuzz)
  cmake --preset emulated -DSPIKESINK_TESTS=ON -DSPIKESINK_WERROR=ON
  cmake --build --preset emulated --target spikesink dist_ranks test_cuda_faults "${parts[@]/#/test_}"
  rm -rf "$ran" && mkdir -p "$ran"
  SPIKESINK_EMULATION_KERNELS=$ran \
    unit_tests emulated --parallel "$(nproc)" --tests-regex "^($(IFS='|'; echo "${parts[*]}")|cuda_faults)\$"
  script tests/cuda_emulation/kernels_run.py build/emulated/tests/test_kernels "$ran/test_kernels"
  scripts_by_two tests/end_to_end/emulated_*_test.py
}

# Whole runs on the CPU that fail, are damaged, hostile or stopped, under the sanitizers of that build; those of leaks are
# left to the unit tests, since MPI's own are many.
stage_sanitized() {
  local tests=(faults full_disk resume_damage bad_input hostile_files import replay)
  cmake --preset emulated -DSPIKESINK_TESTS=ON -DSPIKESINK_WERROR=ON
  cmake --build --preset emulated --target spikesink failing_calls failing_reads held_calls small_disk
  export SPIKESINK_BUILT=$PWD/build/emulated/spikesink SPIKESINK_FAULTS=20
  export ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=0:verify_asan_link_order=0  # beside libraries that are preloaded
  tests=("${tests[@]/#/tests/end_to_end/}")
  SPIKESINK=$PWD/tests/end_to_end/on_cpu.sh scripts_by_two "${tests[@]/%/_test.py}"
}

# With CUDA's own compiler and libraries; what needs a GPU says that it is skipped.
stage_cuda() {
  local parts=(cuda)
  find_nvcc >/dev/null || { echo "no nvcc here: CUDA is not compiled (its toolkit comes from NVIDIA)"; skipped 1; return 0; }
  cmake --preset cuda -DSPIKESINK_TESTS=ON -DSPIKESINK_WERROR=ON
  if [[ $(cmake --build --preset cuda --target help) == *test_cudnn_plans* ]]; then parts+=(cudnn_plans); fi
  cmake --build --preset cuda --target spikesink dist_ranks "${parts[@]/#/test_}"
  unit_tests cuda --tests-regex "^($(IFS='|'; echo "${parts[*]}"))\$"
  script tests/end_to_end/cuda_without_gpu_test.py
  script tests/end_to_end/cuda_libraries_test.py
}
stage_cuda_archs() {
  find_nvcc >/dev/null || { echo "no nvcc here: CUDA is not compiled"; skipped 1; return 0; }
  cmake --preset cuda -B build/cuda-archs -DSPIKESINK_TESTS=OFF -DSPIKESINK_WERROR=ON "-DCMAKE_CUDA_ARCHITECTURES=80;100" &&
    cmake --build build/cuda-archs --target spikesink_kernels && passed 1
}

stage_tidy() {
  local tidy
  tidy=$(tool clang-tidy) || { echo "no clang-tidy 14; scripts/setup.sh --all installs it"; return 1; }
  # Not to be built: how each file is compiled.
  cmake --preset cpu -B build/tidy -DSPIKESINK_TESTS=OFF -DCMAKE_UNITY_BUILD=OFF
  cmake --build build/tidy --target spikesink_commit
  # The tests are left out: Catch2's macros set off half of the checks.
  cpp_files | grep -E '^(io|kernels|data|models|trainer|analysis|configs|sweeps|cli)/.*\.cpp$' |
    xargs -P "$(nproc)" -n 2 "$tidy" -p build/tidy --quiet && passed 1
}

summary() {
  touch "$LOGS/counts"
  awk '{ n[$1] += $2 } END { printf "%d passed, %d failed", n["passed"], n["failed"]
                             if (n["skipped"]) printf ", %d skipped", n["skipped"]; printf "\n" }' "$LOGS/counts"
}

# Three times a stage's budget is taken as hanging; above the budget is only said.
run_stage() {  # name minutes
  local log=$LOGS/$1.log start=$SECONDS code=0 before note=""
  before=$(grep -c ^failed "$LOGS/counts" || true)
  printf '%-12s' "$1"
  timeout --foreground $(($2 * 180)) bash "$0" --stage "$1" >"$log" 2>&1 || code=$?
  local took=$((SECONDS - start))
  [ $took -le $(($2 * 60)) ] || note="   (over its budget of $2 min)"
  if [ $code = 0 ]; then
    printf 'ok     %4d s%s\n' $took "$note"
    sed -n 's/^show: /  /p' "$log"
    return 0
  fi
  printf 'FAILED %4d s%s\n' $took "$note"
  [ $code != 124 ] || echo "stopped after three times its budget of $2 min" >>"$log"
  [ "$(grep -c ^failed "$LOGS/counts" || true)" -gt "$before" ] || failed 1
  printf -- '---- the end of %s\n' "${log#"$PWD"/}"
  tail -n 80 "$log"
  grep -a ': FAILED, exit code' "$log" || true  # again, where all see it
  printf -- '----\n'
  return 1
}

usage_error() {
  echo "test.sh: $1; see scripts/test.sh --help" >&2
  exit 2
}

want=" always setup "
only=" "
SETUP_FLAG=--tests
FUZZ_SECONDS=5
FUZZ_SEED=1
while [ $# -gt 0 ]; do
  case $1 in
    --all) want+="all "; SETUP_FLAG=--all ;;
    --long) FUZZ_SECONDS=60 FUZZ_SEED=0 ;;
    --only) only+="${2:?--only needs a stage} "; shift ;;
    --no-setup) want=${want/ setup / } ;;
    --list) echo "$STAGES" | awk 'NF { printf "%-12s %3d min  %s\n", $1, $2, $3 }'; exit 0 ;;
    --stage) "stage_$2"; exit ;;
    --script) in_one_piece "$2"; exit ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) usage_error "$1: unknown option" ;;
  esac
  shift
done
export SETUP_FLAG FUZZ_SECONDS FUZZ_SEED
for name in $only; do
  grep -q "^$name " <<<"$STAGES" || usage_error "--only $name: no such stage"
done

mkdir -p "$LOGS"
: >"$LOGS/counts"
code=0
while read -r name minutes when; do
  [ -n "$name" ] || continue
  if [ "$only" != " " ]; then [[ $only == *" $name "* ]] || continue
  else [[ $want == *" $when "* ]] || continue; fi
  run_stage "$name" "$minutes" </dev/null || { code=1; break; }
done <<<"$STAGES"
summary
exit $code
