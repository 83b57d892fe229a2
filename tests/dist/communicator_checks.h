#pragma once
#include <array>
#include <cstring>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/core/random.h"
#include "trainer/dist/communicator.h"

// What every Communicator must do, as the names of what does not hold: for ranks that are threads, where Catch2's CHECK
// must not be called, and for ranks that are processes.
namespace spikesink::test {

/// The value of element i of what `rank` gives in operation `number`: of few bits, so that sums of bf16 differ from
/// f32's.
inline double given_value(int number, int rank, std::int64_t i) {
  return Random{.seed = 1000 + static_cast<std::uint64_t>(64 * number + rank)}.normal(static_cast<std::uint64_t>(i));
}

class CommunicatorChecks {
 public:
  explicit CommunicatorChecks(Communicator& communicator, Stream stream = Stream::cpu(1))
      : comm_(communicator), stream_(std::move(stream)) {}

  /// All operations one after another, waited for at once and later, in three sizes and the dtypes that they take.
  std::vector<std::string> run() {
    for (const std::int64_t n : {std::int64_t{1}, std::int64_t{17}, std::int64_t{70001}}) {
      for (const DType dtype : {DType::kF32, DType::kF64}) {
        sums_parts(n, dtype, dtype);
        sums_all(std::min<std::int64_t>(n, 17), dtype);
      }
      sums_parts(n, DType::kF32, DType::kBF16);
      for (const DType dtype : {DType::kF32, DType::kF64, DType::kBF16})
        for (const bool in_place : {false, true}) gathers(n, dtype, in_place);
      many_at_once(n);
      follows_the_stream(n);
      swaps_with_the_host(n);
    }
    return problems_;
  }

 private:
  void check(bool holds, const std::string& what) {
    if (!holds) problems_.push_back("rank " + std::to_string(comm_.rank()) + ": " + what);
  }
  template <class... Parts>
  static std::string text(const Parts&... parts) {
    std::ostringstream out;
    (out << ... << parts);
    return out.str();
  }
  static void set(const Tensor& t, std::int64_t i, double value) {
    with_stored_dtype(t.dtype(), [&]<class T>() { t.data<T>()[i] = static_cast<T>(static_cast<float>(value)); });
  }
  static double get(const Tensor& t, std::int64_t i) {
    return with_stored_dtype(t.dtype(), [&]<class T>() { return static_cast<double>(t.data<T>()[i]); });
  }
  Tensor on_device(const Tensor& host) const {
    if (stream_.device == Device::kCpu) return host;
    const Tensor t = stream_.empty(host.shape(), host.dtype());
    stream_.copy(t, host);
    return t;
  }
  Tensor poisoned(std::int64_t n, DType dtype) const {
    const Tensor t = host_.empty({n}, dtype);
    for (std::int64_t i = 0; i < n; ++i) set(t, i, std::numeric_limits<double>::quiet_NaN());
    return on_device(t);
  }
  Tensor host_given(int number, int rank, std::int64_t n, DType dtype) const {
    const Tensor t = host_.empty({n}, dtype);
    for (std::int64_t i = 0; i < n; ++i) set(t, i, given_value(number, rank, i));
    return t;
  }
  Tensor given(int number, std::int64_t n, DType dtype) const {
    return on_device(host_given(number, comm_.rank(), n, dtype));
  }
  /// Sums of elements [first, first + n) in the order of the ranks, rounded after each as `dtype` does.
  void check_sums(const std::string& what, int number, const Tensor& t, std::int64_t first, std::int64_t whole,
                  DType given_dtype) {
    std::vector<Tensor> all;
    for (int r = 0; r < comm_.world(); ++r) all.push_back(host_given(number, r, whole, given_dtype));
    const Tensor sums = stream_.on_host(t);
    for (std::int64_t i = 0; i < t.numel(); ++i) {
      double sum = get(all[0], first + i);
      for (std::size_t r = 1; r < all.size(); ++r) {
        sum += get(all[r], first + i);
        if (t.dtype() == DType::kF32) sum = static_cast<float>(sum);
      }
      if (get(sums, i) == sum) continue;
      return check(false, text(what, ": element ", i, " is ", get(sums, i), ", expected ", sum));
    }
  }
  void check_traffic(const std::string& what, const Traffic& before, std::int64_t bytes) {
    const Traffic now = comm_.traffic();
    const std::int64_t sent = now.sent_bytes - before.sent_bytes;
    check(now.operations == before.operations + 1 && sent == bytes, text(what, ": ", sent, " bytes, expected ", bytes));
  }

  void sums_parts(std::int64_t n, DType dtype, DType given_dtype) {
    const std::string what = text("reduce_scatter of ", n, " ", name_of(given_dtype), " into ", name_of(dtype));
    const std::int64_t W = comm_.world();
    const int number = ++number_;
    const Tensor from = given(number, W * n, given_dtype), to = poisoned(n, dtype);
    const Traffic before = comm_.traffic();
    comm_.reduce_scatter(stream_, to, from).wait(stream_);
    check_traffic(what, before, (W - 1) * n * size_of(given_dtype));
    check_sums(what, number, to, comm_.rank() * n, W * n, given_dtype);
  }

  void sums_all(std::int64_t n, DType dtype) {
    const std::string what = text("all_reduce of ", n, " ", name_of(dtype));
    const int number = ++number_;
    const Tensor t = given(number, n, dtype);
    comm_.all_reduce(stream_, t).wait(stream_);
    check_sums(what, number, t, 0, n, dtype);
  }

  void gathers(std::int64_t n, DType dtype, bool in_place) {
    const std::string what = text("all_gather of ", n, " ", name_of(dtype), in_place ? " in place" : "");
    const std::int64_t W = comm_.world();
    const int number = ++number_;
    const Tensor to = poisoned(W * n, dtype), part = to.slice(comm_.rank() * n, {n});
    const Tensor mine = given(number, n, dtype);
    if (in_place) stream_.copy(part, mine);
    const Traffic before = comm_.traffic();
    comm_.all_gather(stream_, to, in_place ? part : mine).wait(stream_);
    check_traffic(what, before, (W - 1) * n * size_of(dtype));
    const Tensor all = stream_.on_host(to);
    for (int r = 0; r < W; ++r) {
      const Tensor want = host_given(number, r, n, dtype), have = all.slice(r * n, {n});
      check(std::memcmp(have.raw(), want.raw(), static_cast<std::size_t>(want.bytes())) == 0,
            text(what, ": the part of rank ", r));
    }
  }

  /// A chain through the same memory, of which only the last is waited for, while host news overtake it.
  void many_at_once(std::int64_t n) {
    const std::string what = text("a chain of ", n);
    const std::int64_t W = comm_.world();
    const int number = ++number_;
    const Tensor whole = given(number, W * n, DType::kF32), part = poisoned(n, DType::kF32);
    const Tensor gathered = poisoned(W * n, DType::kF32), other = given(number, 3, DType::kF64);
    const Transfer first = comm_.reduce_scatter(stream_, part, whole);
    const Transfer second = comm_.all_gather(stream_, gathered, part);
    const Transfer third = comm_.all_reduce(stream_, other);
    comm_.barrier();
    third.wait(stream_);
    check_sums(what + ", gathered", number, gathered, 0, W * n, DType::kF32);
    check_sums(what + ", reduced", number, other, 0, 3, DType::kF64);
    second.wait(stream_);
    first.wait(stream_);
    check_sums(what + ", its part", number, part, comm_.rank() * n, W * n, DType::kF32);
  }

  /// On a GPU the host never waits here: each operation reads what was put into the stream just before it, and is
  /// read, written over and let go of just after its wait.
  void follows_the_stream(std::int64_t n) {
    const std::int64_t W = comm_.world();
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const std::string what = text("reduce_scatter and all_gather of ", n, " ", name_of(dtype), " between kernels");
      const int number = ++number_;
      const Tensor values = given(number, W * n, dtype), result = poisoned(W * n, DType::kF32);
      const Tensor total = given(number, 3, DType::kF64), totals = poisoned(3, DType::kF64);
      stream_.synchronize();
      for (int repeat = 0; repeat < 3; ++repeat) {
        Tensor from = stream_.empty({W * n}, dtype), part = stream_.empty({n}, DType::kF32);
        Tensor all = stream_.empty({W * n}, DType::kF32), sum = stream_.empty({3}, DType::kF64);
        stream_.copy(from, values);
        stream_.copy(sum, total);
        const Transfer reduced = comm_.reduce_scatter(stream_, part, from);
        const Transfer summed = comm_.all_reduce(stream_, sum);
        reduced.wait(stream_);
        stream_.clear(from);
        from = {};
        stream_.clear(result);
        const Transfer gathered = comm_.all_gather(stream_, all, part);
        part = {};
        summed.wait(stream_);
        stream_.copy(totals, sum);
        stream_.clear(sum);
        sum = {};
        gathered.wait(stream_);
        stream_.copy(result, all);
        stream_.clear(all);
      }
      check_sums(what, number, result, 0, W * n, dtype);
      check_sums(what + ", reduced", number, totals, 0, 3, DType::kF64);
    }
  }

  void swaps_with_the_host(std::int64_t n) {
    const auto letter = [](int rank, std::int64_t i) { return static_cast<std::byte>((7 * rank + i) % 251); };
    std::vector<std::byte> mine, want;
    for (std::int64_t i = 0; i < n; ++i) mine.push_back(letter(comm_.rank(), i));
    for (int r = 0; r < comm_.world(); ++r)
      for (std::int64_t i = 0; i < n; ++i) want.push_back(letter(r, i));
    check(comm_.exchange(mine) == want, text("exchange of ", n, " bytes"));
    want.resize(static_cast<std::size_t>(n));
    check(comm_.from_rank_0(comm_.rank() == 0 ? mine : std::vector<std::byte>(3)) == want,
          text("from_rank_0 of ", n, " bytes"));
    check(comm_.from_rank_0({}).empty(), "from_rank_0 of nothing");
    check(comm_.exchange({}).empty(), "exchange of nothing");
  }

  Communicator& comm_;
  const Stream stream_, host_ = Stream::cpu(1);
  int number_ = 0;
  std::vector<std::string> problems_;
};

}  // namespace spikesink::test
