#include "kernels/core/staging.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

TEST_CASE("ids staged step after step arrive as they were, though nobody waits for the stream", "[kernels][cuda]") {
  if (!has_gpu()) return skipped();
  const Stream stream = cuda_stream();
  std::vector<Tensor> arrived;
  std::vector<std::int32_t> wanted;
  {
    // A block that is written again, or freed, before its copy has run would lose what was staged first.
    Staging staging(stream);
    for (std::int32_t step = 0; step < 7; ++step) {
      const std::int32_t count = step < 4 ? 50 : 300;  // blocks grow
      const auto ids = staging.next(2 * count);
      for (std::int32_t i = 0; i < 2 * count; ++i) ids[static_cast<std::size_t>(i)] = 10'000 * step + i;
      for (const auto& part : {ids.first(static_cast<std::size_t>(count)), ids.last(static_cast<std::size_t>(count))}) {
        wanted.insert(wanted.end(), part.begin(), part.end());
        arrived.push_back(staging.upload(part));
      }
    }
    const std::vector<std::int32_t> other(4);
    CHECK_THROWS_AS(staging.upload(other), ContractError);
  }
  std::vector<std::int32_t> got;
  for (const Tensor& t : arrived) {
    const Tensor host = stream.on_host(t);
    got.insert(got.end(), host.data<std::int32_t>(), host.data<std::int32_t>() + host.numel());
  }
  CHECK(got == wanted);
}
