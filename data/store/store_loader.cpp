#include "data/store/store_loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "data/store/store_order.h"
#include "data/train_data.h"
#include "data/wait_clock.h"
#include "io/failure.h"
#include "kernels/core/check.h"

namespace spikesink {
namespace {

/// The slots of one step that were asked for, or will be.
struct Batch {
  std::int64_t step, first, count;
  std::vector<std::int32_t> tokens;     // (count, T+1)
  std::int64_t begun = 0, missing = 0;  // rows that a thread has taken up; rows that are not there yet
  std::exception_ptr error;
};

std::vector<const TokenStore*> pointers(const std::vector<std::unique_ptr<TokenStore>>& stores) {
  std::vector<const TokenStore*> all;
  for (const auto& store : stores) all.push_back(store.get());
  return all;
}

Fingerprint fingerprint_of(const LoaderOptions& o) {
  Fingerprint fingerprint = fingerprint_of_settings(o);
  fingerprint["data.train"] = data_fingerprint(o.data.train, "data.train");
  fingerprint["data.weights"] = o.data.weights.empty() ? "by size" : fmt::format("{}", fmt::join(o.data.weights, ", "));
  fingerprint["data.tokenizer"] = o.tokenizer.name();
  return fingerprint;
}

}  // namespace

class StoreLoader::Reader {
 public:
  explicit Reader(const LoaderOptions& o)
      : stores_(open_stores(o.data.train, o.tokenizer, "data.train")),
        order_(pointers(stores_), o.data.weights, o.context, begin_token(o.data.begin_of_text, o.tokenizer), o.seed),
        sequences_(o.sequences),
        row_(o.context + 1),
        fingerprint_(fingerprint_of(o)) {
    require(o.sequences > 0 && o.threads > 0, "store loader: sequences ", o.sequences, ", threads ", o.threads);
    for (int i = 0; i < o.threads; ++i) threads_.emplace_back([this](const std::stop_token& stop) { work(stop); });
  }
  ~Reader() {
    for (std::jthread& thread : threads_) thread.request_stop();
    wake_.notify_all();
  }

  std::vector<std::int32_t> next(std::int64_t step, std::int64_t first, std::int64_t count) {
    require(first >= 0 && count >= 0 && first + count <= sequences_, "loader slots: ", first, " and ", count,
            " from there, of ", sequences_);
    require(step >= step_, "loader step: ", step, ", but ", step_, " was asked for");
    std::unique_lock lock(mutex_);
    step_ = step;
    taken_ = true;
    drop_other_than(step, first, count);
    read_ahead(step, first, count);
    wake_.notify_all();
    const std::shared_ptr<Batch> batch = batches_.front();
    waited_.until([&] { return batch->missing == 0; }, filled_, lock);
    batches_.pop_front();
    if (batch->error) std::rethrow_exception(batch->error);
    read_ahead(step + 1, first, count);
    wake_.notify_all();
    return std::move(batch->tokens);
  }

  Position position() const {
    const std::lock_guard lock(mutex_);
    return {.step = step_ + (taken_ ? 1 : 0), .fingerprint = fingerprint_, .lanes = {}};
  }

  double waited_seconds() const {
    const std::lock_guard lock(mutex_);
    return waited_.seconds;
  }

  void seek(const Position& position) {
    require_same_data(position.fingerprint, fingerprint_);
    require_step(position.step, sequences_);
    const std::lock_guard lock(mutex_);
    batches_.clear();
    step_ = position.step;
    taken_ = false;
  }

 private:
  std::int64_t ahead(std::int64_t count) const {
    const auto bytes = static_cast<std::int64_t>(sizeof(std::int32_t)) * row_ * std::max<std::int64_t>(count, 1);
    return std::clamp<std::int64_t>(kAheadBytes / bytes, 1, 16);
  }
  /// What was read ahead for slots that nobody wants goes away.
  void drop_other_than(std::int64_t step, std::int64_t first, std::int64_t count) {
    std::erase_if(batches_, [&](const std::shared_ptr<Batch>& b) {
      return b->step < step || b->first != first || b->count != count;
    });
    if (!batches_.empty() && batches_.front()->step != step) batches_.clear();
  }
  void read_ahead(std::int64_t step, std::int64_t first, std::int64_t count) {
    const std::int64_t end = step + ahead(count);
    for (std::int64_t s = batches_.empty() ? step : batches_.back()->step + 1; s < end; ++s) {
      auto batch = std::make_shared<Batch>(Batch{.step = s, .first = first, .count = count, .tokens = {}, .error = {}});
      batch->tokens.resize(static_cast<std::size_t>(count * row_));
      batch->missing = count;
      batches_.push_back(std::move(batch));
    }
  }

  /// A batch with a row that nobody reads yet, or null.
  std::shared_ptr<Batch> unread() const {
    const auto at = std::ranges::find_if(batches_, [](const auto& b) { return b->begun < b->count; });
    return at == batches_.end() ? nullptr : *at;
  }
  void work(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (true) {
      std::shared_ptr<Batch> batch;
      if (!wake_.wait(lock, stop, [&] { return (batch = unread()) != nullptr; })) return;
      if (stop.stop_requested()) return;
      const std::int64_t row = batch->begun++;
      const std::int64_t draw = batch->step * sequences_ + batch->first + row;
      const auto to =
          std::span(batch->tokens).subspan(static_cast<std::size_t>(row * row_), static_cast<std::size_t>(row_));
      lock.unlock();
      std::exception_ptr error;
      try {
        order_.read(order_.at(draw), to);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      if (error && !batch->error) batch->error = error;
      if (--batch->missing == 0) filled_.notify_all();
    }
  }

  std::vector<std::unique_ptr<TokenStore>> stores_;
  StoreOrder order_;
  std::int64_t sequences_, row_;
  Fingerprint fingerprint_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable_any wake_, filled_;
  std::deque<std::shared_ptr<Batch>> batches_;  // of consecutive steps and equal slots
  std::int64_t step_ = 0;                       // the last that next() was asked for, if taken_; else the one to come
  bool taken_ = false;
  WaitClock waited_;
  std::vector<std::jthread> threads_;  // last: joined first
};

StoreLoader::StoreLoader(const LoaderOptions& options) : reader_(std::make_unique<Reader>(options)) {}
StoreLoader::~StoreLoader() = default;
std::vector<std::int32_t> StoreLoader::next(std::int64_t step, std::int64_t first, std::int64_t count) {
  return reader_->next(step, first, count);
}
Position StoreLoader::position() const { return reader_->position(); }
void StoreLoader::seek(const Position& position) { reader_->seek(position); }
double StoreLoader::waited_seconds() const { return reader_->waited_seconds(); }

std::vector<std::unique_ptr<TokenStore>> open_stores(const std::vector<std::string>& paths, const Tokenizer& tokenizer,
                                                     const std::string& key, StorePart part) {
  std::vector<std::unique_ptr<TokenStore>> stores;
  for (const std::string& path : paths) {
    stores.push_back(std::make_unique<TokenStore>(path, part));
    if (const Manifest& manifest = stores.back()->manifest();
        !names_same_tokenizer(manifest.tokenizer, tokenizer.name()))
      throw DataError(
          fmt::format("{}: {}: was made with the tokenizer {}, but data.tokenizer is {}; name that one, or "
                      "prepare the store anew",
                      key, path, manifest.tokenizer, tokenizer.name()));
  }
  return stores;
}

}  // namespace spikesink
