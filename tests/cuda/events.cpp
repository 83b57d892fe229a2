#include "kernels/core/graph.h"
#include "kernels/elementwise/add.h"
#include "tests/kernels/support.h"
#include "trainer/bench/clock.h"

using namespace spikesink;
using namespace spikesink::test;

// Would catch a clock that stands still, counts in another unit or does not add up.
TEST_CASE("events give the seconds of what lies between them in the stream", "[kernels][cuda]") {
  if (!has_gpu()) return skipped();
  const Stream& stream = cuda_stream();
  const Tensor x = on(stream, filled({kCudaEmulated ? 2000 : 50'000'000}, DType::kF32, 1));
  const auto sums = [&](int n) {
    for (int i = 0; i < n; ++i) kernels::add(stream, {.y = x, .a = x, .b = x});
  };
  sums(1);
  stream.synchronize();
  const auto begin = std::chrono::steady_clock::now();
  const double few = device_seconds(stream, [&] { sums(2); });
  const double many = device_seconds(stream, [&] { sums(20); });
  const double host = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  CHECK(few > 0);
  CHECK(many > 0);
  CHECK(few + many <= host);
  CHECK(few + many > host / 1000);  // the same unit

  const gpu::Event first = gpu::record_event(stream.native.get());
  sums(1);
  const gpu::Event second = gpu::record_event(stream.native.get());
  sums(1);
  const gpu::Event third = gpu::record_event(stream.native.get());
  const double whole = gpu::seconds_between(first, third);
  CHECK(gpu::seconds_between(first, second) + gpu::seconds_between(second, third) ==
        Approx(whole).epsilon(1e-3).margin(2e-6));
}

TEST_CASE("a stream counts its graphs' replays", "[kernels][cuda]") {
  if (!has_gpu()) return skipped();
  const Stream stream = Stream::cuda(), own = stream.with_own_pool();
  const Tensor x = on(stream, filled({100}, DType::kF32, 1));
  const Graph graph = Graph::record(own, [&] { kernels::add(own, {.y = x, .a = x, .b = x}); });
  CHECK(Graph::num_replays(stream) == 0);
  for (int i = 0; i < 3; ++i) graph.replay(own);
  CHECK(Graph::num_replays(stream) == 3);
  own.synchronize();
  CHECK(values(x) == std::vector<double>(100, 8));
}
