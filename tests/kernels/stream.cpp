#include "kernels/core/stream.h"

#include "kernels/core/dispatch.h"
#include "kernels/core/graph.h"
#include "kernels/elementwise/add.h"
#include "kernels/linear/linear.h"
#include "kernels/loss/loss_sum.h"
#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;
using Catch::Contains;

namespace {
struct Nothing {};
int calls = 0;
std::byte* given = nullptr;
void count(const Stream&, const Nothing&) { ++calls; }
void count_with_scratch(const Stream&, const Nothing&, kernels::Scratch scratch) {
  ++calls;
  given = scratch.take<std::byte>(1);
}
void never(const Stream&, const Nothing&) { FAIL("the other device's kernel"); }
void never_with_scratch(const Stream&, const Nothing&, kernels::Scratch) { FAIL("the other device's kernel"); }

std::vector<Stream> dry_streams() { return {Stream::dry_run(Device::kCpu, 2), Stream::dry_run(Device::kCuda)}; }
}  // namespace

TEST_CASE("values go to a stream's device and come back, as tensors and as plain memory", "[kernels][stream]") {
  const Stream stream = GENERATE(from_range(streams()));
  CAPTURE(name_of(stream.device));
  const std::vector<float> six{1, -0.0f, 3.5f, NAN, 5, INFINITY};
  const Tensor t = stream.empty({2, 3}, DType::kF32);
  stream.upload(t, six.data());
  std::vector<float> back(6, 7);
  stream.download(reinterpret_cast<std::byte*>(back.data()), t);
  CHECK(std::memcmp(back.data(), six.data(), sizeof(float) * 6) == 0);
  const Tensor host = stream.on_host(t);
  CHECK(host.device() == Device::kCpu);
  CHECK(std::memcmp(host.raw(), six.data(), sizeof(float) * 6) == 0);
  CHECK((host.raw() == t.raw()) == (stream.device == Device::kCpu));  // a copy only where it must be one
  // Part of it: a slice in the middle.
  const float two[2] = {8, 9};
  stream.upload(t.slice(1, {2}), two);
  CHECK(values(t.slice(0, {3})) == std::vector<double>{1, 8, 9});
  stream.clear(t.slice(0, {2}));
  CHECK(stream.on_host(t).span<float>()[1] == 0);
  CHECK(stream.on_host(t).span<float>()[2] == 9);
  const double wide = 1;
  CHECK_THROWS_WITH(stream.upload(t.slice(0, {1}), &wide), Contains("upload of f64 into f32"));
  CHECK_THROWS_WITH(stream.copy(t, stream.empty({6}, DType::kF32)), Contains("copy to"));
}

TEST_CASE("a copy to the host that is asked for between two kernels has what the first of them wrote",
          "[kernels][stream]") {
  const Stream stream = GENERATE(from_range(streams()));
  const Tensor x = on(stream, filled({4}, DType::kF32, 1));
  for (int i = 0; i < 3; ++i) {
    kernels::add(stream, {.y = x, .a = x, .b = x});
    CHECK(values(stream.on_host(x)) == std::vector<double>(4, std::pow(2.0, i + 1)));
  }
}

TEST_CASE("dispatch calls the one of its kernels that is the stream's, with the scratch of its device",
          "[kernels][stream]") {
  const Stream stream = GENERATE(from_range(streams()));
  CAPTURE(name_of(stream.device));
  calls = 0;
  if (stream.device == Device::kCpu)
    kernels::dispatch<count, never>(stream, Nothing{});
  else
    kernels::dispatch<never, count>(stream, Nothing{});
  CHECK(calls == 1);
  stream.pool->reset_peak();
  const std::int64_t before = stream.pool->live_bytes();
  if (stream.device == Device::kCpu)
    kernels::dispatch<count_with_scratch, never_with_scratch>(stream, Nothing{}, {.cpu = 1 << 20, .cuda = 3 << 20});
  else
    kernels::dispatch<never_with_scratch, count_with_scratch>(stream, Nothing{}, {.cpu = 3 << 20, .cuda = 2 << 20});
  CHECK(calls == 2);
  CHECK(given != nullptr);
  const std::int64_t taken = stream.pool->peak_bytes() - before;
  CHECK(taken == (stream.device == Device::kCpu ? 1 << 20 : 2 << 20));
  CHECK(stream.pool->live_bytes() == before);
}

TEST_CASE("a dry stream calls no kernel, counts scratch and memory, and reads as zeros", "[kernels][stream][dry]") {
  for (const Stream& stream : dry_streams()) {
    CAPTURE(name_of(stream.device));
    calls = 0;
    stream.pool->reset_peak();
    kernels::dispatch<count, count>(stream, Nothing{});
    kernels::dispatch<count_with_scratch, count_with_scratch>(stream, Nothing{}, {.cpu = 1 << 20, .cuda = 4 << 20});
    CHECK(calls == 0);
    CHECK(stream.pool->peak_bytes() == (stream.device == Device::kCpu ? 1 << 20 : 4 << 20));
    CHECK(stream.pool->live_bytes() == 0);

    const Tensor a = stream.empty({3, 5}, DType::kF32), b = stream.zeros({3, 5}, DType::kF32);
    CHECK(a.device() == stream.device);
    const std::vector<float> ones(15, 1);
    stream.upload(a, ones.data());
    stream.clear(a);
    stream.copy(b, a);
    kernels::add(stream, {.y = b, .a = a, .b = a});
    CHECK(values(stream.on_host(b)) == std::vector<double>(15, 0.0));
    stream.synchronize();
    // Its checks are those of a real one.
    CHECK_THROWS_WITH(kernels::add(stream, {.y = b, .a = a, .b = stream.empty({15}, DType::kF32)}), Contains("add b"));
  }
}

TEST_CASE("a dry stream counts the FLOPs of products, over all copies of it", "[kernels][stream][dry]") {
  for (const Stream& stream : dry_streams()) {
    const Tensor y = stream.empty({6, 4}, DType::kF32), x = stream.empty({6, 5}, DType::kF32),
                 weight = stream.empty({4, 5}, DType::kF32);
    const Stream other = stream.with_own_pool();
    for (const Stream& of : {stream, other}) kernels::linear_forward(of, {.y = y, .x = x, .weight = weight});
    CHECK(stream.dry->flops == 2 * (2 * 6 * 4 * 5));
  }
  CHECK(Stream::cpu(1).dry == nullptr);
}

TEST_CASE("a dry pool counts what a real one of its device counts", "[kernels][pool][dry]") {
  for (const Stream& real : streams()) {
    const std::shared_ptr<Pool> keep = real.with_own_pool().pool, dry = Pool::dry(real.device);
    CAPTURE(name_of(real.device));
    CHECK(dry->device() == real.device);
    std::vector<std::shared_ptr<std::byte>> of_real, of_dry;
    for (const std::int64_t bytes : {0, 1, 511, 512, 513, 100000, 2097151, 2097152, 2097153, 5000000}) {
      of_real.push_back(keep->allocate(bytes));
      of_dry.push_back(dry->allocate(bytes));
      CHECK(dry->live_bytes() == keep->live_bytes());
      CHECK(dry->live_bytes() >= bytes);
    }
    of_real.erase(of_real.begin() + 3, of_real.end());
    of_dry.erase(of_dry.begin() + 3, of_dry.end());
    CHECK(dry->live_bytes() == keep->live_bytes());
    CHECK(dry->peak_bytes() == keep->peak_bytes());
    CHECK(dry->reserved_bytes() == keep->reserved_bytes());
    keep->release_cached();
    dry->release_cached();
    CHECK(dry->reserved_bytes() == keep->reserved_bytes());
  }
  const std::shared_ptr<Pool> dry = Pool::dry(Device::kCuda);  // far more than there is
  const auto terabytes = dry->allocate(std::int64_t{1} << 43);
  CHECK(dry->peak_bytes() == std::int64_t{1} << 43);
}

TEST_CASE("a stream with a pool of its own runs in the same order and shares no memory", "[kernels][stream]") {
  std::vector<Stream> all = streams();
  for (const Stream& dry : dry_streams()) all.push_back(dry);
  for (const Stream& stream : all) {
    CAPTURE(name_of(stream.device), stream.dry != nullptr);
    const Stream own = stream.with_own_pool();
    CHECK(own.pool != stream.pool);
    CHECK(own.native == stream.native);
    CHECK(own.device == stream.device);
    CHECK(own.num_threads == stream.num_threads);
    const std::int64_t before = stream.pool->live_bytes();
    const Tensor x = own.zeros({1000}, DType::kF32);
    CHECK(stream.pool->live_bytes() == before);
    CHECK(own.pool->live_bytes() >= 4000);
    if (stream.dry) continue;
    const Tensor y = stream.zeros({1000}, DType::kF32), ones = on(stream, filled({1000}, DType::kF32, 1));
    kernels::add(own, {.y = x, .a = x, .b = ones});
    kernels::add(stream, {.y = y, .a = x, .b = ones});
    CHECK(values(stream.on_host(y)) == std::vector<double>(1000, 2.0));
  }
}

TEST_CASE("a graph runs when it is replayed and not when it is recorded, on the addresses of the recording",
          "[kernels][stream][graph]") {
  if (!has_gpu()) return skipped();
  const Stream& stream = cuda_stream();
  const Stream own = stream.with_own_pool();
  const Tensor x = on(stream, filled({500}, DType::kF32, 1)), ones = on(stream, filled({500}, DType::kF32, 1));
  const auto work = [&] {
    const Tensor between = own.empty({500}, DType::kF32);  // x += x + 1
    kernels::add(own, {.y = between, .a = x, .b = ones});
    kernels::add(own, {.y = x, .a = x, .b = between});
  };
  CHECK_FALSE(Graph());
  work();
  const std::int64_t reserved = own.pool->reserved_bytes();
  const Graph graph = Graph::record(own, work);
  CHECK(static_cast<bool>(graph));
  CHECK(own.pool->reserved_bytes() == reserved);
  CHECK(values(x)[7] == 3);
  double want = 3;
  for (int i = 0; i < 4; ++i) {
    graph.replay(stream);
    // Memory of the other pool comes and goes, and is written over, between two replays.
    const Tensor other = on(stream, filled({500}, DType::kF32, -1)), more = stream.zeros({70000}, DType::kF32);
    want += want + 1;
    CHECK(values(x) == std::vector<double>(500, want));
  }
}

TEST_CASE("an error while a graph is recorded is the caller's to see, and leaves the stream as it was",
          "[kernels][stream][graph]") {
  if (!has_gpu()) return skipped();
  const Stream& stream = cuda_stream();
  const Tensor x = on(stream, filled({5}, DType::kF32, 1));
  CHECK_THROWS_WITH(Graph::record(stream,
                                  [&] {
                                    kernels::add(stream, {.y = x, .a = x, .b = x});
                                    throw std::runtime_error("half way");
                                  }),
                    "half way");
  CHECK(values(x) == std::vector<double>(5, 1.0));
  // Errors that break the recording, so that its end fails too: the first one is what is seen.
  CHECK_THROWS_WITH(Graph::record(stream, [&] { stream.synchronize(); }), Contains("when stream is capturing"));
  if (kCudaEmulated)  // where reading a value back would wait for what does not run
    CHECK_THROWS_WITH(Graph::record(stream, [&] { stream.on_host(x); }), Contains("when stream is capturing"));
  kernels::add(stream, {.y = x, .a = x, .b = x});
  CHECK(values(x) == std::vector<double>(5, 2.0));
}

// Else the block would be memory of the graph, which the pool hands out to others while no graph runs.
TEST_CASE("no memory is taken from the GPU while a graph is recorded", "[kernels][stream][graph]") {
  if (!has_gpu()) return skipped();
  const Stream own = cuda_stream().with_own_pool();
  const Tensor x = on(own, filled({5}, DType::kF32, 1));
  const auto work = [&] {
    const Tensor y = own.empty({5}, DType::kF32);
    kernels::add(own, {.y = y, .a = x, .b = x});
    kernels::add(own, {.y = x, .a = y, .b = x});
  };
  const std::int64_t reserved = own.pool->reserved_bytes();
  CHECK_THROWS_WITH(Graph::record(own, work), Contains("while a graph is recorded"));
  CHECK(own.pool->reserved_bytes() == reserved);
  work();
  Graph::record(own, work).replay(own);  // now that the pool has the block
  CHECK(values(x) == std::vector<double>(5, 9.0));
}
