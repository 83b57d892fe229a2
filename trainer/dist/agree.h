#pragma once
#include <algorithm>
#include <cstring>
#include <exception>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "io/failure.h"
#include "trainer/dist/communicator.h"

// What ranks tell each other on the host. All of them call, and each waits for all.
namespace spikesink {

/// What each rank gives, by rank: equally many of T.
template <class T>
std::vector<std::vector<T>> gather_lists(Communicator& communicator, const std::vector<T>& mine) {
  static_assert(std::is_trivially_copyable_v<T>);
  const std::span<const std::byte> given = std::as_bytes(std::span(mine));
  const std::vector<std::byte> bytes = communicator.exchange(given);
  std::vector<std::vector<T>> all(static_cast<std::size_t>(communicator.world()), mine);
  for (std::size_t rank = 0; rank < all.size() && !given.empty(); ++rank)
    std::memcpy(all[rank].data(), bytes.data() + rank * given.size(), given.size());
  return all;
}

/// What each rank gives, by rank.
template <class T>
std::vector<T> gather(Communicator& communicator, const T& mine) {
  static_assert(std::is_trivially_copyable_v<T>);
  const std::vector<std::byte> bytes = communicator.exchange(std::as_bytes(std::span(&mine, 1)));
  std::vector<T> all(bytes.size() / sizeof(T));
  std::memcpy(all.data(), bytes.data(), bytes.size());
  return all;
}

inline bool all_true(Communicator& communicator, bool mine) {
  const auto all = gather(communicator, static_cast<char>(mine));
  return std::ranges::count(all, 0) == 0;
}

template <class T>
T maximum(Communicator& communicator, const T& mine) {
  return std::ranges::max(gather(communicator, mine));
}

/// Texts of any size, by rank.
inline std::vector<std::string> gather_texts(Communicator& communicator, const std::string& mine) {
  const std::vector<std::size_t> sizes = gather(communicator, mine.size());
  const std::size_t size = std::ranges::max(sizes);
  std::string padded = mine;
  padded.resize(size);
  const std::vector<std::byte> bytes = communicator.exchange(std::as_bytes(std::span(padded)));
  std::vector<std::string> texts;
  for (std::size_t r = 0; r < sizes.size(); ++r)
    texts.emplace_back(reinterpret_cast<const char*>(bytes.data()) + r * size, sizes[r]);
  return texts;
}

/// Rank 0's text, on all ranks.
inline std::string text_from_rank_0(Communicator& communicator, const std::string& text) {
  const auto heard = communicator.from_rank_0(std::as_bytes(std::span(text)));
  return {reinterpret_cast<const char*>(heard.data()), heard.size()};
}

/// Throws an Error, the same on all ranks, of the first rank's `problem` that is not empty.
template <class Error>
void throw_problem(Communicator& communicator, const std::string& problem) {
  for (const std::string& first : gather_texts(communicator, problem))
    if (!first.empty()) throw Error(first);
}

/// After some ranks have found that they cannot go on: all throw the failure of the first of them. `mine`: a Failure,
/// or none.
[[noreturn]] inline void throw_first(Communicator& communicator, const std::exception_ptr& mine) {
  std::string news;
  try {
    if (mine) std::rethrow_exception(mine);
  } catch (const Failure& failure) {
    news = std::string(1, static_cast<char>(failure.code)) + failure.what();
  }
  const std::vector<std::string> all = gather_texts(communicator, news);
  const auto first = std::ranges::find_if_not(all, &std::string::empty);
  const std::string who =
      all.size() > 1 ? "rank " + std::to_string(first - all.begin()) + " of " + std::to_string(all.size()) + ": " : "";
  throw Failure(static_cast<ExitCode>(first->front()), who + first->substr(1));
}

/// Rank 0 runs f(), and the others wait for it. What it throws all throw: a Failure as it is; of other exceptions the
/// others throw the words.
template <class F>
void rank_0_does(Communicator& communicator, F f) {
  std::exception_ptr error;
  std::string news(1, static_cast<char>(ExitCode::kOk));
  if (communicator.rank() == 0) {
    const auto failed = [&](ExitCode code, const char* text) {
      error = std::current_exception();
      news = std::string(1, static_cast<char>(code)) + text;
    };
    try {
      f();
    } catch (const Failure& failure) {
      failed(failure.code, failure.what());
    } catch (const std::exception& other) {
      failed(ExitCode::kInternal, other.what());
    }
  }
  const std::vector<std::byte> heard = communicator.from_rank_0(std::as_bytes(std::span(news)));
  if (error) std::rethrow_exception(error);
  const auto code = static_cast<ExitCode>(heard[0]);
  if (code != ExitCode::kOk)
    throw Failure(code, std::string(reinterpret_cast<const char*>(heard.data()) + 1, heard.size() - 1));
}

}  // namespace spikesink
