#!/usr/bin/env bash
# Builds the CUDA program and puts it, with all that a bare GPU node lacks, into one tree that runs from anywhere:
#
#   scripts/package.sh [--build DIR] [--out PATH] [--arch LIST] [--data FILE]... [--limit MIB]
#
#   --build DIR   where to build (build/package); a CUDA, an emulated or a CPU build that is there is taken as it is configured
#   --out PATH    a folder, or a file *.tar.zst, *.tar.xz, *.tar.gz (build/spikesink-gpu.tar.zst)
#   --arch LIST   compute capabilities of a new build, as CMake has them: 90, or "80;90" (90)
#   --data FILE   goes into data/, e.g. a small shard to train on; may be repeated
#   --limit MIB   fail if the result is larger (64; 0: no limit)
#
# In it: bin/ (spikesink, test_kernels, test_models, test_trainer, test_cuda, reference_dump), lib/ (shared libraries that they need), configs/,
# scripts/gpu_check.sh and what it calls, scripts/wandb_follow.py. glibc, the driver, cuBLASLt and cuDNN are the node's, the last two from its PyTorch or
# CUDA; they are opened when they are needed, so `spikesink plan` works without.
# lib/gcc has the compiler's own libraries, for a node whose are older: gpu_check.sh takes them there, since they in turn ask for
# the glibc of the machine that they are from. CPU code is for x86-64-v3, without MPI. On the node: scripts/gpu_check.sh
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
  echo "package.sh: $1" >&2
  exit "${2:-1}"
}
build=$root/build/package out=$root/build/spikesink-gpu.tar.zst arch=90 limit=64 data=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,17s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    --build | --out | --arch | --data | --limit)
      [ $# -gt 1 ] || fail "$1 needs a value; see scripts/package.sh --help" 2
      case $1 in
        --build) build=$(realpath -m "$2") ;;
        --out) out=$(realpath -m "$2") ;;
        --arch) arch=$2 ;;
        --limit) limit=$2 ;;
        --data) [ -f "$2" ] || fail "--data $2: no such file" 2; data+=("$(realpath "$2")") ;;
      esac
      shift ;;
    *) fail "$1: unknown option; see scripts/package.sh --help" 2 ;;
  esac
  shift
done
[[ $limit =~ ^[0-9]+$ ]] || fail "--limit $limit: not a whole number of MiB" 2
cd "$root"

if [ ! -f "$build/CMakeCache.txt" ]; then
  echo "configuring ${build#"$root"/} (CUDA, sm_$arch; the build takes some ten minutes on two cores)"
  # An old-style run path, so that it serves the libraries' own needs too.
  mkdir -p "$(dirname "$build")"
  cmake --preset cuda -B "$build" -DCMAKE_CUDA_ARCHITECTURES="$arch" -DSPIKESINK_CPU_ARCH=x86-64-v3 -DSPIKESINK_MPI=OFF \
    -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags >"$build.log" 2>&1 ||
    { tail -n 20 "$build.log"; fail "cmake failed: the end of $build.log is above"; }
fi
cached() { sed -n "s/^$1:[^=]*=//p" "$build/CMakeCache.txt"; }
targets=(spikesink test_kernels test_models test_trainer reference_dump)
[ "$(cached SPIKESINK_CUDA)" = OFF ] || targets+=(test_cuda)
cmake --build "$build" --target "${targets[@]}"

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/spikesink/"{bin,lib/gcc,data}
tree=$tree/spikesink
for target in "${targets[@]}"; do
  program=$build/tests/$target
  [ "$target" != spikesink ] || program=$build/spikesink
  cp "$program" "$tree/bin/"
done

# Libraries of every program, but for those of the node: glibc, the driver. Which OpenBLAS the name stands for depends on
# the machine's alternatives, so it is taken from where the build found it.
openblas=$(cached SPIKESINK_OPENBLAS)
theirs='^(linux-vdso|ld-linux.*|libc|libm|libdl|librt|libpthread|libresolv|libcuda|libnvidia.*)\.so'
for program in "$tree"/bin/*; do
  LD_LIBRARY_PATH=$(dirname "$openblas"):$build/tests ldd "$program" | while read -r name arrow path _; do
    [[ ! $name =~ $theirs ]] && [ "$arrow" = "=>" ] || continue
    [ "$path" != not ] || fail "$(basename "$program") needs $name, which this machine does not have"
    [[ ! $name =~ ^(libstdc\+\+|libgcc_s)\. ]] || name=gcc/$name
    [ -f "$tree/lib/$name" ] || cp -L "$path" "$tree/lib/$name"
  done
done
find "$tree/bin" "$tree/lib" -type f -exec strip --strip-unneeded {} +

cp -r --parents configs/benchmark configs/llama configs/cpu scripts/gpu_check.sh scripts/gpu_check.py scripts/gpu_check_table.py \
  scripts/wandb_follow.py benchmarks/vs_pytorch.py tests/reference/model.py tests/reference/compare_cuda.py tests/end_to_end/harness.py "$tree"
for file in "${data[@]}"; do cp "$file" "$tree/data/"; done
rmdir --ignore-fail-on-non-empty "$tree/data"
git -c safe.directory='*' rev-parse HEAD >"$tree/revision" 2>/dev/null || echo unknown >"$tree/revision"

# It must start from here with nothing but what it carries.
if ! why=$(LD_LIBRARY_PATH='' "$tree/bin/spikesink" --version 2>&1); then fail "the packaged program does not start: $why"; fi
while read -r name arrow path _; do
  [ "$arrow" = "=>" ] && [[ ! $name =~ $theirs ]] && [ ! -f "$tree/lib/gcc/$name" ] || continue
  [[ $path == "$tree"/lib/* ]] || [[ $path == "$tree"/bin/../lib/* ]] ||
    fail "the packaged program takes $name from $path, not from lib/: was $build configured without CMAKE_BUILD_WITH_INSTALL_RPATH?"
done < <(LD_LIBRARY_PATH='' ldd "$tree/bin/spikesink")

mkdir -p "$(dirname "$out")"
case $(basename "$out") in
  *.tar.zst) tar -C "$(dirname "$tree")" -c spikesink | zstd -q -15 -T0 -f -o "$out" ;;
  *.tar.xz | *.tar.gz) tar -C "$(dirname "$tree")" -caf "$out" spikesink ;;
  *.*) fail "--out $out: a folder, *.tar.zst, *.tar.xz or *.tar.gz" 2 ;;
  *)
    [ ! -e "$out" ] || [ -x "$out/bin/spikesink" ] || [ -z "$(ls -A "$out")" ] || fail "--out $out: is there, and is no package" 2
    rm -rf "$out" && mkdir -p "$out" && cp -r "$tree/." "$out/" ;;
esac
bytes=$(du -sb "$out" | cut -f1)
echo "$out: $((bytes / 1048576)) MiB ($(find "$tree/lib" -name "*.so*" | wc -l) libraries); $(du -sb "$tree" | cut -f1 | awk '{printf "%.0f", $1 / 1048576}') MiB unpacked"
[ "$limit" = 0 ] || [ "$bytes" -le $((limit * 1048576)) ] || fail "larger than --limit $limit MiB"
