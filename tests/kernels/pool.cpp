#include "kernels/core/pool.h"

#include <omp.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

using namespace spikesink;

// Blocks that the program holds with an alignment of their own: the pool's. (What is replaced here is the whole
// program's.)
namespace {
std::atomic<int> aligned_blocks = 0;
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  const auto unit = static_cast<std::size_t>(alignment);
  void* const block = std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit);
  if (!block) throw std::bad_alloc();
  ++aligned_blocks;
  return block;
}
void operator delete(void* block, std::align_val_t) noexcept {
  if (block) --aligned_blocks;
  std::free(block);
}
void operator delete(void* block, std::size_t, std::align_val_t alignment) noexcept {
  operator delete(block, alignment);
}

TEST_CASE("the pool hands a freed block out again and counts what is live", "[kernels][pool]") {
  Pool pool;
  auto a = pool.allocate(1000);
  std::byte* const place = a.get();
  const auto bytes = pool.live_bytes();
  CHECK(bytes >= 1000);
  a.reset();
  CHECK(pool.live_bytes() == 0);
  a = pool.allocate(1000);
  CHECK(a.get() == place);
  const auto other = pool.allocate(1000);
  CHECK(other.get() != place);
  CHECK(pool.live_bytes() == 2 * bytes);
}

TEST_CASE("blocks are aligned to 64 bytes and at most an eighth too large", "[kernels][pool]") {
  for (const std::int64_t bytes : {std::int64_t{0}, std::int64_t{1}, std::int64_t{64}, std::int64_t{65},
                                   std::int64_t{1000}, std::int64_t{4097}, std::int64_t{1000003}}) {
    CAPTURE(bytes);
    Pool pool;
    const auto block = pool.allocate(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(block.get()) % 64 == 0);
    CHECK(pool.live_bytes() >= bytes);
    CHECK(pool.live_bytes() <= std::max(bytes + 64, bytes * 9 / 8));
    std::memset(block.get(), 1, static_cast<std::size_t>(bytes));
  }
}

TEST_CASE("the peak is the highest count since its reset", "[kernels][pool]") {
  Pool pool;
  auto a = pool.allocate(4096), b = pool.allocate(4096);
  b.reset();
  CHECK(pool.live_bytes() == 4096);
  CHECK(pool.peak_bytes() == 8192);
  pool.reset_peak();
  CHECK(pool.peak_bytes() == 4096);
}

TEST_CASE("release_cached gives back unused blocks and only those", "[kernels][pool]") {
  const int before = aligned_blocks;
  Pool pool;
  auto a = pool.allocate(4096), b = pool.allocate(8192);
  b.reset();
  CHECK(aligned_blocks == before + 2);
  pool.release_cached();
  CHECK(aligned_blocks == before + 1);
  a.reset();
  CHECK(aligned_blocks == before + 1);
  pool.release_cached();
  CHECK(aligned_blocks == before);
}

TEST_CASE("a block outlives its pool", "[kernels][pool]") {
  std::shared_ptr<std::byte> block;
  {
    Pool pool;
    block = pool.allocate(256);
  }
  std::memset(block.get(), 7, 256);
  CHECK(block.get()[255] == std::byte{7});
}

TEST_CASE("threads never share a live block", "[kernels][pool]") {
  Pool pool;
  bool shared = false;
#pragma omp parallel num_threads(4) reduction(|| : shared)
  {
    const auto mine = static_cast<unsigned char>(omp_get_thread_num() + 1);
    for (int i = 0; i < 2000; ++i) {
      const auto block = pool.allocate(64 + 64 * (i % 3));
      std::memset(block.get(), mine, 64);
      for (int k = 0; k < 64; ++k) shared = shared || block.get()[k] != std::byte{mine};
    }
  }
  CHECK_FALSE(shared);
  CHECK(pool.live_bytes() == 0);
}
