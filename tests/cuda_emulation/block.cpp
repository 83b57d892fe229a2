#include "tests/cuda_emulation/block.h"

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

#include <algorithm>
#include <array>
#include <bit>
#include <boost/context/fiber.hpp>
#include <boost/context/preallocated.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <vector>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

// The bounds of all __shared__ variables; absent in a program that has none.
extern "C" {
extern char __start_cuda_shared[] __attribute__((weak));
extern char __stop_cuda_shared[] __attribute__((weak));
}

namespace cuda_emulation {
namespace {

constexpr std::size_t kStackBytes = 256 * 1024;

/// Unwinds a thread of a kernel that ends early.
struct Abandoned {};

enum class State { kReady, kBarrier, kWarp, kDone };

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes, valid;
};

/// A fiber that takes the part of one thread after another. AddressSanitizer is told of each change of stacks.
class Thread {
 public:
  Thread() {
    boost::context::protected_fixedsize_stack stacks(kStackBytes);
    const auto stack = stacks.allocate();
    stack_ = static_cast<char*>(stack.sp) - stack.size;
    stack_bytes_ = stack.size;
    fiber_ =
        boost::context::fiber(std::allocator_arg, boost::context::preallocated(stack.sp, stack.size, stack), stacks,
                              [this](boost::context::fiber&& scheduler) { return loop(std::move(scheduler)); });
  }

  /// Runs until the thread waits or is done.
  void resume() {
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, stack_, stack_bytes_);
    fiber_ = std::move(fiber_).resume();
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
  }

  /// Back to the scheduler; called on the fiber.
  void yield() {
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, scheduler_stack_, scheduler_bytes_);
    scheduler_ = std::move(scheduler_).resume();
    __sanitizer_finish_switch_fiber(fake, &scheduler_stack_, &scheduler_bytes_);
  }

  const std::function<void()>* work = nullptr;
  uint3 index{};
  unsigned flat = 0;
  State state = State::kDone;
  Place at{};
  unsigned mask = 0, source = 0;  // of a warp function
  std::uint64_t value = 0, result = 0;
  bool holds = false;
  WarpFunction all = nullptr;
  void* given = nullptr;
  std::vector<Copy> uncommitted;
  std::deque<std::vector<Copy>> groups;  ///< of copies not waited for, the oldest first

 private:
  boost::context::fiber loop(boost::context::fiber&& scheduler) {
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack_, &scheduler_bytes_);
    scheduler_ = std::move(scheduler);
    for (;;) {
      try {
        (*work)();
      } catch (const Abandoned&) {
      }
      state = State::kDone;
      yield();
    }
  }

  const void* scheduler_stack_ = nullptr;
  std::size_t scheduler_bytes_ = 0;
  const void* stack_ = nullptr;
  std::size_t stack_bytes_ = 0;
  boost::context::fiber scheduler_, fiber_;
};

std::string text(const uint3& i) {
  return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
}
bool same(const Place& a, const Place& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}
std::string text(const Place& at) { return std::string(at.file_name()) + ":" + std::to_string(at.line()); }

struct Scheduler {
  Order order = Order::kAscending;
  std::mt19937_64 random;

  std::vector<std::unique_ptr<Thread>> threads;  // fibers, kept from block to block
  std::size_t num_threads = 0, num_waiting = 0;
  std::array<int, 32> waiting_lanes{};  // in warp functions, by warp
  Thread* current = nullptr;
  std::string fault;
  bool abandoning = false;
  void* shared = nullptr;

  Scheduler() {
    const char* name = std::getenv("SPIKESINK_EMULATION_ORDER");
    const std::string_view word = name ? name : "ascending";
    order = word == "random" ? Order::kRandom : word == "descending" ? Order::kDescending : Order::kAscending;
    const char* seed = std::getenv("SPIKESINK_EMULATION_SEED");
    random.seed(seed ? std::strtoull(seed, nullptr, 10) : 0);
  }

  template <class T>
  void arrange(std::vector<T>& items) {
    if (order == Order::kDescending) std::reverse(items.begin(), items.end());
    if (order == Order::kRandom) std::shuffle(items.begin(), items.end(), random);
  }

  void resume(Thread& thread) {
    current = &thread;
    threadIdx = thread.index;
    thread.resume();
    current = nullptr;
  }

  void wait(State state, Place at) {
    Thread& self = *current;
    self.state = state;
    self.at = at;
    if (state == State::kBarrier) arrive_at_barrier();
    if (state == State::kWarp) arrive_in_warp(self);
    if (self.state != State::kReady) {
      self.yield();
      if (abandoning) throw Abandoned{};
    }
  }

  void arrive_at_barrier() {
    if (++num_waiting < num_threads) return;
    num_waiting = 0;
    for (std::size_t i = 0; i < num_threads; ++i)
      if (!same(threads[i]->at, threads[0]->at))
        return;  // nobody goes on: reported as a deadlock that names both places
    for (std::size_t i = 0; i < num_threads; ++i) threads[i]->state = State::kReady;
  }

  void arrive_in_warp(const Thread& last) {
    const std::size_t first = last.flat / 32 * 32;
    const auto lane_of = [&](unsigned l) { return first + l < num_threads ? threads[first + l].get() : nullptr; };
    if (!(last.mask >> (last.flat % 32) & 1)) trap("a warp function whose mask leaves out its caller", last.at);
    int& waiting = waiting_lanes[last.flat / 32];
    if (++waiting < std::popcount(last.mask)) return;
    unsigned votes = 0;
    for (unsigned l = 0; l < 32; ++l) {
      if (!(last.mask >> l & 1)) continue;
      const Thread* t = lane_of(l);
      if (!t || t->state != State::kWarp || t->mask != last.mask || t->all != last.all || !same(t->at, last.at)) return;
      if (t->holds) votes |= 1u << l;
    }
    waiting -= std::popcount(last.mask);
    const WarpFunction all = last.all;
    if (all) {
      void* given[32];
      for (unsigned l = 0; l < 32; ++l) given[l] = lane_of(l)->given;
      all(given);
    }
    for (unsigned l = 0; l < 32; ++l) {
      if (!(last.mask >> l & 1)) continue;
      Thread& t = *lane_of(l);
      if (all) {
        t.all = nullptr;
      } else if (t.source < 32) {
        if (!(last.mask >> t.source & 1)) trap("a shuffle from a lane outside of the mask", last.at);
        t.result = lane_of(t.source)->value;
      } else {
        t.result = votes;
      }
      t.state = State::kReady;
    }
  }

  /// Who waits where, in groups of the same answer.
  std::string standstill() const {
    std::map<std::string, std::pair<int, uint3>> groups;
    for (std::size_t i = 0; i < num_threads; ++i) {
      const Thread& t = *threads[i];
      const std::string what = t.state == State::kDone      ? "has ended"
                               : t.state == State::kBarrier ? "waits at __syncthreads() in " + text(t.at)
                                                            : "waits in a warp function in " + text(t.at);
      auto [it, is_new] = groups.try_emplace(what, 0, t.index);
      ++it->second.first;
    }
    std::string out = "divergent threads in block " + text(blockIdx) + ":";
    for (const auto& [what, who] : groups)
      out += (out.back() == ':' ? " thread " : "; thread ") + text(who.second) +
             (who.first > 1 ? " and " + std::to_string(who.first - 1) + " more " : " ") + what;
    return out;
  }

  void run_block(const std::function<void()>& kernel) {
    std::vector<Thread*> turn;
    for (std::size_t i = 0; i < num_threads; ++i) {
      Thread& t = *threads[i];
      t.work = &kernel;
      t.flat = static_cast<unsigned>(i);
      t.index = {t.flat % blockDim.x, t.flat / blockDim.x % blockDim.y, t.flat / blockDim.x / blockDim.y};
      t.state = State::kReady;
      t.all = nullptr;
      t.uncommitted.clear();
      t.groups.clear();
      turn.push_back(&t);
    }
    num_waiting = 0;
    waiting_lanes = {};
    arrange(turn);
    std::uint32_t resting = 0;  // warps, a bit each
    while (std::any_of(turn.begin(), turn.end(), [](const Thread* t) { return t->state != State::kDone; })) {
      const bool moved = order == Order::kRandom ? step_at_random(turn, resting) : step_eagerly(turn);
      if (!moved && fault.empty()) fault = standstill();
      if (!fault.empty()) {
        abandon();
        throw Fault(std::exchange(fault, {}));
      }
    }
  }

  /// Resumes those of the threads that can go on. Did any?
  bool resume_ready(std::span<Thread* const> some) {
    bool moved = false;
    for (Thread* t : some) {
      if (t->state != State::kReady || !fault.empty()) continue;
      moved = true;
      resume(*t);
    }
    return moved;
  }

  /// Each warp in turn goes on as far as it can without the others: it overtakes those that no barrier holds it back
  /// from, as a warp on a GPU may.
  bool step_eagerly(std::span<Thread* const> turn) {
    bool moved = false;
    // Reversed, the warp that is not full comes first.
    const std::size_t odd = order == Order::kDescending ? turn.size() % 32 : 0;
    for (std::size_t at = 0, next = odd ? odd : 32; at < turn.size(); at = next, next += 32)
      while (resume_ready(turn.subspan(at, std::min(next, turn.size()) - at))) moved = true;
    return moved;
  }

  /// All threads in an order drawn anew, but for warps that are drawn to rest for a while, so that others get far
  /// ahead.
  bool step_at_random(std::vector<Thread*>& turn, std::uint32_t& resting) {
    arrange(turn);
    if (random() % 8 == 0) resting = static_cast<std::uint32_t>(random());
    std::vector<Thread*> awake;
    for (Thread* t : turn)
      if (!(resting >> (t->flat / 32) & 1)) awake.push_back(t);
    if (resume_ready(awake)) return true;
    resting = 0;
    return resume_ready(turn);
  }

  /// Lets the threads that still wait unwind.
  void abandon() {
    abandoning = true;
    for (std::size_t i = 0; i < num_threads; ++i) {
      Thread& t = *threads[i];
      if (t.state == State::kDone) continue;
      static const std::function<void()> nothing = [] {};
      if (t.state == State::kReady) t.work = &nothing;  // may not have begun
      resume(t);
    }
    abandoning = false;
  }
};

Scheduler& scheduler() {
  static Scheduler* const the = new Scheduler;  // its fibers are never unwound
  return *the;
}

/// 0xff is NaN in f32, f64 and bf16 and -1 in integers: what nobody wrote does not go unseen.
void spoil_shared() {
  static const std::vector<std::span<char>> variables = [] {  // what lies between AddressSanitizer's red zones
    std::vector<std::span<char>> found;
    if (__start_cuda_shared == nullptr) return found;
    for (char* p = __start_cuda_shared; p < __stop_cuda_shared; ++p) {
      if (__asan_address_is_poisoned(p)) continue;
      if (found.empty() || found.back().data() + found.back().size() != p) found.push_back({p, 0});
      found.back() = {found.back().data(), found.back().size() + 1};
    }
    return found;
  }();
  for (const std::span<char> variable : variables) std::memset(variable.data(), 0xff, variable.size());
}
}  // namespace

void run(const Grid& grid) {
  Scheduler& s = scheduler();
  blockDim = grid.threads;
  gridDim = grid.blocks;
  s.num_threads = std::size_t{blockDim.x} * blockDim.y * blockDim.z;
  while (s.threads.size() < s.num_threads) s.threads.push_back(std::make_unique<Thread>());
  std::vector<std::size_t> blocks(std::size_t{gridDim.x} * gridDim.y * gridDim.z);
  std::iota(blocks.begin(), blocks.end(), std::size_t{0});
  s.arrange(blocks);
  for (const std::size_t b : blocks) {
    blockIdx = {static_cast<unsigned>(b % gridDim.x), static_cast<unsigned>(b / gridDim.x % gridDim.y),
                static_cast<unsigned>(b / gridDim.x / gridDim.y)};
    // A block of memory of its own: an access past its end is AddressSanitizer's to find.
    const std::unique_ptr<void, void (*)(void*)> shared(std::malloc(std::max<std::size_t>(grid.shared_bytes, 1)),
                                                        std::free);
    std::memset(shared.get(), 0xff, grid.shared_bytes);
    s.shared = shared.get();
    spoil_shared();
    s.run_block(grid.kernel);
  }
}

void* dynamic_shared() { return scheduler().shared; }
void barrier(Place at) { scheduler().wait(State::kBarrier, at); }
unsigned lane() { return scheduler().current->flat % 32; }

void trap(const std::string& what, Place at) {
  scheduler().fault = what + " by thread " + text(threadIdx) + " of block " + text(blockIdx) + " in " + text(at);
  throw Abandoned{};
}

std::uint64_t shuffle(unsigned mask, std::uint64_t value, unsigned source, Place at) {
  Thread& self = *scheduler().current;
  self.mask = mask;
  self.value = value;
  self.source = source;
  scheduler().wait(State::kWarp, at);
  return self.result;
}

unsigned ballot(unsigned mask, bool holds, Place at) {
  Thread& self = *scheduler().current;
  self.mask = mask;
  self.holds = holds;
  self.source = 32;  // none
  scheduler().wait(State::kWarp, at);
  return static_cast<unsigned>(self.result);
}

void together(WarpFunction all, void* given, Place at) {
  Thread& self = *scheduler().current;
  self.mask = 0xffffffffu;
  self.holds = false;
  self.source = 32;
  self.all = all;
  self.given = given;
  scheduler().wait(State::kWarp, at);
}

void copy_later(void* to, const void* from, std::size_t bytes, std::size_t valid) {
  scheduler().current->uncommitted.push_back({to, from, bytes, valid});
}

void commit_copies() {
  Thread& self = *scheduler().current;
  self.groups.push_back(std::exchange(self.uncommitted, {}));
}

void wait_for_copies(std::size_t groups_left) {
  Thread& self = *scheduler().current;
  for (; self.groups.size() > groups_left; self.groups.pop_front())
    for (const Copy& copy : self.groups.front()) {
      std::memcpy(copy.to, copy.from, copy.valid);
      std::memset(static_cast<char*>(copy.to) + copy.valid, 0, copy.bytes - copy.valid);
    }
}

void set_order(Order order, std::uint64_t seed) {
  scheduler().order = order;
  scheduler().random.seed(seed);
}

}  // namespace cuda_emulation
