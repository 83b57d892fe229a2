#include <algorithm>
#include <type_traits>

#include "kernels/core/launch.cuh"
#include "kernels/core/vec.cuh"
#include "kernels/optim/adamw.h"
#include "kernels/optim/adamw_math.h"

namespace spikesink::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kGroups = 2;  // that a thread loads before it stores one, so that enough bytes are on their way
constexpr std::int64_t kBlock = 8192;
constexpr int kWide = 4;

/// A segment as the kernel sees it. A weight that is not of the moments' type has a master.
template <class Weight, class State>
struct Segment {
  Weight* weight;
  const float* grad;
  State *m, *v;
  float* master;
  std::int64_t numel, first;
  std::int64_t first_block;  ///< of the launch
  float keep;
};

/// Passed by value: a kernel's parameters take 4 KB at most.
template <class Weight, class State>
struct Table {
  static constexpr int kSegments = 48;
  Segment<Weight, State> at[kSegments];
  int size = 0;
};

struct Step {
  math::AdamWFactors<float> factors;
  const double *grad_squares, *loss;  ///< or null
  double clip;
  Random rounding;
};

/// W neighbouring elements in registers.
template <int W>
struct Group {
  Floats<W> weight, grad, m, v;
};

template <int W, class Weight, class State>
__device__ Group<W> read(const Segment<Weight, State>& s, std::int64_t i) {
  Group<W> x;
  if constexpr (std::is_same_v<Weight, State>)
    x.weight = load<W>(s.weight + i);
  else
    x.weight = load<W>(s.master + i);
  x.grad = load<W>(s.grad + i);
  x.m = load<W>(s.m + i);
  x.v = load<W>(s.v + i);
  return x;
}

template <int W>
__device__ void round_at_random(Group<W>& x, const Random& rounding, std::int64_t element) {
  Random::Bits pair{};
#pragma unroll
  for (int j = 0; j < W; ++j) {
    const auto at = static_cast<std::uint64_t>(element + j);
    if (j % 2 == 0) pair = rounding.bits(at / 2);  // wide groups begin at even elements
    const auto draws = math::rounding_draws(pair, at % 2 != 0);
    x.weight.at[j] = math::round_at_random(x.weight.at[j], draws.weight);
    x.m.at[j] = math::round_at_random(x.m.at[j], draws.m);
    x.v.at[j] = math::round_at_random(x.v.at[j], draws.v);
  }
}

template <int W, class Weight, class State>
__device__ void update(const Segment<Weight, State>& s, std::int64_t i, Group<W> x,
                       const math::AdamWFactors<float>& factors, const Random& rounding) {
#pragma unroll
  for (int j = 0; j < W; ++j) math::adamw_update(x.weight.at[j], x.m.at[j], x.v.at[j], x.grad.at[j], factors);
  if constexpr (!std::is_same_v<State, float>) round_at_random(x, rounding, s.first + i);
  if constexpr (!std::is_same_v<Weight, State>) store(s.master + i, x.weight);
  store(s.weight + i, x.weight);
  store(s.m + i, x.m);
  store(s.v + i, x.v);
}

/// A run of kBlock elements of one segment a block.
template <int W, class Weight, class State>
__global__ void __launch_bounds__(kThreads, 3) adamw_kernel(const Table<Weight, State> table, Step step) {
  const std::int64_t block = blockIdx.x;
  int low = 0;
  for (int high = table.size; high - low > 1;) {  // the last segment that begins at or before the block
    const int middle = (low + high) / 2;
    if (table.at[middle].first_block <= block)
      low = middle;
    else
      high = middle;
  }
  const Segment<Weight, State> s = table.at[low];
  step.factors.keep = s.keep;
  if (step.grad_squares) step.factors.grad_scale = static_cast<float>(math::clip_factor(*step.grad_squares, step.clip));
  if (step.factors.grad_scale != step.factors.grad_scale) return;
  if (step.loss && !math::is_finite(*step.loss)) return;
  const std::int64_t begin = (block - s.first_block) * kBlock, left = s.numel - begin,
                     end = begin + (left < kBlock ? left : kBlock), whole = begin + (end - begin) / W * W;
  constexpr int kStride = kThreads * W;
  for (std::int64_t i = begin + threadIdx.x * W; i < whole; i += kGroups * kStride) {
    Group<W> groups[kGroups];
#pragma unroll
    for (int g = 0; g < kGroups; ++g)
      if (i + g * kStride < whole) groups[g] = read<W>(s, i + g * kStride);
#pragma unroll
    for (int g = 0; g < kGroups; ++g)
      if (i + g * kStride < whole) update<W>(s, i + g * kStride, groups[g], step.factors, step.rounding);
  }
  for (std::int64_t i = whole + threadIdx.x; i < end; i += kThreads)
    update<1>(s, i, read<1>(s, i), step.factors, step.rounding);
}

/// All segments of one way of storing that are aligned alike, as many at a time as the table holds.
template <int W, class Weight, class State>
void run(const Stream& stream, const AdamW& a, const Step& step, auto&& is_ours) {
  Table<Weight, State> table{};
  std::int64_t blocks = 0;
  const auto flush = [&] {
    launch(stream, adamw_kernel<W, Weight, State>, blocks, kThreads, 0, table, step);
    table.size = 0;
    blocks = 0;
  };
  for (const AdamWSegment& s : a.segments) {
    if (s.weight.numel() == 0 || !is_ours(s)) continue;
    table.at[table.size++] = {.weight = s.weight.data<Weight>(),
                              .grad = s.grad.data<float>(),
                              .m = s.m.data<State>(),
                              .v = s.v.data<State>(),
                              .master = s.master ? s.master.data<float>() : nullptr,
                              .numel = s.weight.numel(),
                              .first = s.first,
                              .first_block = blocks,
                              .keep = static_cast<float>(1 - a.lr * s.weight_decay)};
    blocks += (s.weight.numel() + kBlock - 1) / kBlock;
    if (table.size == table.kSegments) flush();
  }
  flush();
}

template <class Weight, class State>
void run(const Stream& stream, const AdamW& a, const Step& step) {
  const auto wide = [](const AdamWSegment& s) {
    return aligned_16({s.weight.raw(), s.grad.raw(), s.m.raw(), s.v.raw(), s.master.raw()}) && s.first % 2 == 0;
  };
  const auto stored_so = [](const AdamWSegment& s) {
    return s.weight.dtype() == dtype_of<Weight>() && s.m.dtype() == dtype_of<State>();
  };
  run<kWide, Weight, State>(stream, a, step, [&](const AdamWSegment& s) { return stored_so(s) && wide(s); });
  run<1, Weight, State>(stream, a, step, [&](const AdamWSegment& s) { return stored_so(s) && !wide(s); });
}
}  // namespace

void adamw(const Stream& stream, const AdamW& a) {
  const Step step{.factors = math::adamw_factors<float>(a),
                  .grad_squares = a.grad_squares ? a.grad_squares.data<double>() : nullptr,
                  .loss = a.loss ? a.loss.data<double>() : nullptr,
                  .clip = a.clip,
                  .rounding = {.seed = a.seed, .stream = static_cast<std::uint64_t>(a.step)}};
  run<float, float>(stream, a, step);
  run<__nv_bfloat16, float>(stream, a, step);
  run<__nv_bfloat16, __nv_bfloat16>(stream, a, step);
}

}  // namespace spikesink::kernels::cuda
