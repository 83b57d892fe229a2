#include "data/store/prepare.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <filesystem>
#include <mutex>
#include <random>
#include <system_error>
#include <thread>
#include <utility>

#include "data/shards.h"
#include "data/store/dedup.h"
#include "data/store/file_writer.h"
#include "data/store/parts.h"
#include "data/store/plan.h"
#include "data/store/source_stamp.h"
#include "data/store/token_source.h"
#include "data/store/usable.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/h5.h"
#include "kernels/core/check.h"

namespace spikesink {
namespace {
namespace fs = std::filesystem;
constexpr std::chrono::milliseconds kReport{500}, kWait{200};

class Preparation {
 public:
  explicit Preparation(const PrepareOptions& options)
      : options_(options),
        shards_(find_shards(with_lists(options.inputs), "prepare", {".tar", ".bin"})),
        parts_(options.out) {
    require(options.threads > 0, "prepare: ", options.threads, " threads");
    if (options.min_bytes && options.max_bytes && *options.min_bytes > *options.max_bytes)
      throw UsageError(fmt::format("--min-bytes {} is above --max-bytes {}: no document is left; change one of them",
                                   *options.min_bytes, *options.max_bytes));
    require_one_kind();
    manifest_ = {.tokenizer = options.tokenizer.name(),
                 .vocab_size = options.tokenizer.vocab_size(),
                 .end_of_text = options.tokenizer.end_of_text(),
                 .token_bytes = options.tokenizer.vocab_size() <= 65536 ? 2 : 4,
                 .holdout = options.holdout,
                 .min_bytes = options.min_bytes,
                 .max_bytes = options.max_bytes,
                 .deduplicated = options.deduplicate,
                 .pad = options.pad};
    const std::vector<std::string> names = names_of(shards_);
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      manifest_.files.push_back(
          {.name = fmt::format("shard_{:08d}.h5", i), .source = names[i], .source_bytes = shards_[i].bytes});
      source_bytes_ += shards_[i].bytes;
    }
    for (const Shard& shard : shards_) stamps_.push_back(source_stamp(shard.path));
    all_stamps_ = stamp_of_all(stamps_);
    comparisons_ = num_comparisons(source_bytes_);
    plan_ = plan_text(manifest_, comparisons_);
  }

  Manifest run() {
    if (is_store(options_.out)) {
      Manifest manifest = finished();
      require_files(manifest);
      return manifest;
    }
    try {
      begin();
      make();
    } catch (const Failure&) {
      if (!is_store(options_.out)) throw;  // else others have finished, and cleared away what this one looked for
    }
    return finished();
  }

 private:
  using Work = std::function<void(std::int64_t)>;
  using Result = std::function<std::string(std::int64_t)>;

  void require_one_kind() const {
    const auto is_tokens = [](const Shard& shard) { return is_token_file(shard.path); };
    const auto tokens = std::ranges::count_if(shards_, is_tokens);
    if (tokens > 0 && static_cast<std::size_t>(tokens) < shards_.size())
      throw UsageError(fmt::format("{} has tokens, but {} has text; make a store of each kind and train on both",
                                   std::ranges::find_if(shards_, is_tokens)->path,
                                   std::ranges::find_if_not(shards_, is_tokens)->path));
    if (tokens > 0 && (options_.min_bytes || options_.max_bytes))
      throw UsageError(
          "--min-bytes and --max-bytes: have an effect on text only, and the input is tokens; remove them");
    if (options_.pad && !std::ranges::all_of(shards_, [](const Shard& s) { return s.path.ends_with(".tar"); }))
      throw UsageError("--pad: has an effect on .tar files of tokens only; remove it");
  }

  /// Leaves the folder with this plan in it.
  void begin() {
    std::error_code error;
    const auto has_plan = [&] { return fs::exists(parts_.plan(), error); };
    // The plan is looked for twice: another process may write it, and other files, while these are looked at.
    if (fs::exists(options_.out, error) && !has_plan() && !is_untouched() && !has_plan())
      throw UsageError(options_.out + ": is there, and no token store; choose another --out, or remove it");
    if (fs::create_directories(parts_.path(), error); error)
      throw UsageError(fmt::format("{}: cannot be made: {}; choose another --out", parts_.path(), error.message()));
    while (!has_plan()) {
      if (const auto lock = parts_.claim(parts_.plan()); lock && !has_plan())
        write_atomically(parts_.plan(), plan_);
      else if (!lock)
        std::this_thread::sleep_for(kWait);
    }
    require_plan(read_file(parts_.plan()), "was begun with");
  }
  /// Whether `out` has nothing but what comes before a plan: what is in it is removed at the end.
  bool is_untouched() const {
    std::error_code error;
    if (!fs::is_directory(options_.out, error)) return false;
    for (const auto& entry : fs::directory_iterator(options_.out, error))
      if (entry.path() != fs::path(parts_.path())) return false;
    if (!fs::exists(parts_.path(), error)) return true;
    for (const auto& entry : fs::directory_iterator(parts_.path(), error)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with("plan.json") && !name.starts_with(".unfinished.")) return false;
    }
    return !error;
  }
  /// The store keeps the name that its tokenizer's file had when it was begun.
  void require_plan(const std::string& before, const char* what) {
    if (const std::string name = tokenizer_of_plan(before); names_same_tokenizer(name, manifest_.tokenizer)) {
      manifest_.tokenizer = name;
      plan_ = plan_text(manifest_, comparisons_);
    }
    // The size of all shards, by which their number was chosen, may have changed since.
    if (const int comparisons = comparisons_of_plan(before); comparisons >= 1 && comparisons <= kBuckets) {
      comparisons_ = comparisons;
      plan_ = plan_text(manifest_, comparisons_);
    }
    if (before != plan_) refuse_plan(what, plan_difference(before, plan_));
  }
  [[noreturn]] void refuse_plan(const char* what, const std::string& difference) const {
    throw UsageError(fmt::format("{}: {} {}; repeat that command to go on with it, or choose another --out",
                                 options_.out, what, difference));
  }
  Manifest finished() {
    Manifest manifest = Manifest::read(options_.out);
    require_plan(plan_text(manifest, comparisons_), "is a store with");
    if (const std::string changed = size_difference(manifest, manifest_); !changed.empty())
      refuse_plan("is a store with", changed);
    clear_away();
    return manifest;
  }
  /// DataError if a file of a store that was made before is missing or cut off; what is in them `data verify` reads.
  void require_files(const Manifest& manifest) const {
    for (const StoreFile& file : manifest.files) try {
        H5File::open(options_.out + "/" + file.name);
      } catch (const DataError& error) {
        throw DataError(fmt::format("{} is a whole store no more: {}; or remove the folder and prepare it anew",
                                    options_.out, error.what()));
      }
  }
  /// Removes from a whole store what led to it. It first goes under another name, so that nobody who is behind makes
  /// files in it while it is being removed.
  void clear_away() const {
    std::error_code error;
    fs::rename(parts_.path(), fmt::format("{}/.unfinished.parts.{:08x}", options_.out, std::random_device()()), error);
    for (const auto& entry : fs::directory_iterator(options_.out, error))
      if (entry.path().filename().string().starts_with(".unfinished.")) fs::remove_all(entry.path(), error);
  }

  void make() {
    const auto shards = static_cast<std::int64_t>(shards_.size());
    const auto hashes = [this](std::int64_t i) { return parts_.hashes(i); };
    const auto duplicates = [this](std::int64_t c) { return parts_.duplicates(static_cast<int>(c)); };
    const auto records = [this](std::int64_t i) { return parts_.record(i); };
    if (options_.deduplicate) {
      const auto hashed = [&](std::int64_t i) { return stamp_of_hashes(hashes(i)) == stamp(i); };
      do_all("hashing", shards, true, hashes, hashed, [&](std::int64_t i) { hash(i); });
      const auto compared = [&](std::int64_t c) { return stamp_of_hashes(duplicates(c)) == all_stamps_; };
      do_all("comparing", comparisons_, false, duplicates, compared,
             [&](std::int64_t c) { write_duplicates(parts_, stamps_, static_cast<int>(c), comparisons_); });
    }
    const auto tokenised = [&](std::int64_t i) {
      std::error_code error;
      return fs::exists(records(i), error) && ShardRecord::read(records(i)).stamp == record_stamp(i);
    };
    do_all("tokenising", shards, true, records, tokenised, [&](std::int64_t i) { tokenise(i); });
    conclude();
  }

  /// Returns when all pieces of work have a result, made of what is in the sources' places now, be it by other
  /// processes, or the store is whole.
  void do_all(const char* phase, std::int64_t pieces, bool are_shards, const Result& result,
              const std::function<bool(std::int64_t)>& is_made, const Work& work) {
    {
      const std::lock_guard lock(mutex_);
      progress_ = {.phase = phase, .shards = pieces, .source_bytes = are_shards ? source_bytes_ : 0};
    }
    text_bytes_ = documents_ = tokens_ = 0;
    pieces_done_ = 0;
    source_done_ = 0;
    waits_ = false;
    const std::jthread reporter([this](const std::stop_token& stop) { report_until(stop); });
    std::vector<char> known(static_cast<std::size_t>(pieces));  // whether it has a result: that is asked of the disk
    const auto is_done = [&](std::int64_t i) {
      char& done = known[static_cast<std::size_t>(i)];
      return done || (done = static_cast<char>(is_made(i)));
    };
    const auto do_it = [&](std::int64_t i) {
      work(i);
      known[static_cast<std::size_t>(i)] = 1;  // whatever others may find in the place of its source
    };
    while (true) {
      std::int64_t done = 0;
      std::uint64_t bytes = 0;
      for (std::int64_t i = 0; i < pieces; ++i)
        if (is_done(i)) {
          ++done;
          if (are_shards) bytes += shards_[static_cast<std::size_t>(i)].bytes;
        }
      source_done_ = bytes;
      pieces_done_ = done;
      if (done == pieces || is_store(options_.out)) return;
      const std::int64_t others = do_some(pieces, is_done, result, do_it);
      waits_ = others > 0;
      if (others > 0) std::this_thread::sleep_for(kWait);
    }
  }

  /// Does what nobody has in hand; returns how many pieces are left to others.
  std::int64_t do_some(std::int64_t pieces, const std::function<bool(std::int64_t)>& is_done, const Result& result,
                       const Work& work) {
    std::atomic<std::int64_t> next = 0, others = 0;
    std::exception_ptr failure;
    const auto take = [&](std::int64_t i) {
      if (is_done(i)) return;
      const auto claim = parts_.claim(result(i));
      if (!claim) {
        ++others;
        return;
      }
      // Results vanish when the store is whole, and only then.
      if (is_done(i) || is_store(options_.out)) return;
      waits_ = false;
      work(i);
      ++pieces_done_;
    };
    {
      std::vector<std::jthread> threads;
      for (std::int64_t t = 0; t < std::min<std::int64_t>(options_.threads, pieces); ++t)
        threads.emplace_back([&] {
          try {
            for (std::int64_t i; (i = next++) < pieces;) take(i);
          } catch (...) {
            const std::lock_guard lock(mutex_);
            if (!failure) failure = std::current_exception();
            next = pieces;
          }
        });
    }
    if (failure) std::rethrow_exception(failure);
    return others;
  }

  void report_until(const std::stop_token& stop) {
    if (!options_.report) return;
    std::condition_variable_any wake;
    std::mutex mutex;
    std::unique_lock lock(mutex);
    bool ends = false;
    while (!ends) {
      ends = wake.wait_for(lock, stop, kReport, [&] { return stop.stop_requested(); });
      PrepareProgress progress;
      {
        const std::lock_guard guard(mutex_);
        progress = progress_;
      }
      progress.shards_done = pieces_done_;
      progress.source_bytes_done = std::min<std::uint64_t>(source_done_, progress.source_bytes);
      progress.text_bytes = text_bytes_;
      progress.documents = documents_;
      progress.tokens = tokens_;
      progress.waits = waits_;
      options_.report(progress);
    }
  }

  void for_usable(std::int64_t i, ShardRecord& record, const std::function<void(const UsableDocument&)>& visit) {
    for_usable_documents(shards_[static_cast<std::size_t>(i)], manifest_.files[static_cast<std::size_t>(i)].source,
                         {.tokenizer = options_.tokenizer,
                          .min_bytes = options_.min_bytes,
                          .max_bytes = options_.max_bytes,
                          .max_bad_share = options_.max_bad_share,
                          .pad = options_.pad},
                         record, source_done_, visit);
  }

  void hash(std::int64_t i) {
    std::vector<TextHash> hashes;
    ShardRecord record;
    for_usable(i, record, [&](const UsableDocument& document) {
      hashes.push_back(hash_of(document.content()));
      text_bytes_ += static_cast<std::int64_t>(document.text.size());
      ++documents_;
    });
    require_unchanged(i);
    write_hashes(parts_.hashes(i), stamp(i), hashes);
  }

  const std::string& stamp(std::int64_t shard) const { return stamps_[static_cast<std::size_t>(shard)]; }
  /// Which documents repeat others depends on all shards.
  std::string record_stamp(std::int64_t shard) const {
    return options_.deduplicate ? stamp_of_all({stamp(shard), all_stamps_}) : stamp(shard);
  }
  void require_unchanged(std::int64_t shard) const {
    if (const std::string& path = shards_[static_cast<std::size_t>(shard)].path; source_stamp(path) != stamp(shard))
      throw DataError(path +
                      ": was changed meanwhile: run again once nobody writes it, and what was made of it is made anew");
  }

  void tokenise(std::int64_t i) {
    const auto shard = static_cast<std::size_t>(i);
    const std::vector<std::uint32_t> repeats =
        options_.deduplicate ? read_duplicates(parts_, i, comparisons_) : std::vector<std::uint32_t>();
    ShardRecord record;
    StoreFileWriter writer(options_.out + "/" + manifest_.files[shard].name, manifest_.token_bytes);
    std::vector<std::int32_t> ids;
    for_usable(i, record, [&](const UsableDocument& document) {
      if (std::ranges::binary_search(repeats, document.number)) {
        ++record.duplicates;
        return;
      }
      ids.assign(document.ids.begin(), document.ids.end());
      if (!document.text.empty())
        encode_document(options_.tokenizer, document.text, shards_[shard].path, document.line, ids);
      ids.push_back(options_.tokenizer.end_of_text());
      writer.add(ids, holdout_draw(document.content()) < options_.holdout);
      record.text_bytes += static_cast<std::int64_t>(document.text.size());
      text_bytes_ += static_cast<std::int64_t>(document.text.size());
      tokens_ += static_cast<std::int64_t>(ids.size());
      ++documents_;
    });
    require_unchanged(i);
    record.stamp = record_stamp(i);
    record.file = writer.finish();
    record.file.name = manifest_.files[shard].name;
    record.file.source = manifest_.files[shard].source;
    record.file.source_bytes = manifest_.files[shard].source_bytes;
    write_atomically(parts_.record(i), record.to_json());
  }

  /// Puts the manifest in its place.
  void conclude() {
    std::unique_ptr<FileLock> lock;
    while (!is_store(options_.out) && !(lock = parts_.claim(manifest_file(parts_.path()))))
      std::this_thread::sleep_for(kWait);
    if (is_store(options_.out)) return;
    Manifest manifest = manifest_;
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      const ShardRecord record = ShardRecord::read(parts_.record(static_cast<std::int64_t>(i)));
      require_unchanged(static_cast<std::int64_t>(i));
      if (record.stamp != record_stamp(static_cast<std::int64_t>(i)))
        throw DataError(
            shards_[i].path +
            ": another process prepared another file of this name; let all see the same files, with the same "
            "times, and run again");
      manifest.files[i] = record.file;
      manifest.text_bytes += record.text_bytes;
      manifest.lines.add(record.lines);
      manifest.too_short += record.too_short;
      manifest.too_long += record.too_long;
      manifest.duplicates += record.duplicates;
    }
    if (const double broken = static_cast<double>(manifest.lines.num_broken());
        broken > options_.max_bad_share * static_cast<double>(manifest.lines.lines()))
      throw DataError(fmt::format(
          "{} of {} lines are broken, above --max-bad-share {}: {}; mend the shards and run again, or "
          "raise --max-bad-share",
          manifest.lines.num_broken(), manifest.lines.lines(), options_.max_bad_share, manifest.lines.broken_text()));
    if (std::ranges::all_of(manifest.files, [](const StoreFile& f) { return f.train.tokens + f.held_out.tokens == 0; }))
      throw DataError(fmt::format(
          "{}: no document is left of {} lines: {} are broken, {} too short, {} too long; begin in another --out, with "
          "other shards or limits",
          options_.out, manifest.lines.lines(), manifest.lines.num_broken(), manifest.too_short, manifest.too_long));
    write_atomically(manifest_file(options_.out), manifest.to_json());
  }

  const PrepareOptions& options_;
  std::vector<Shard> shards_;
  Parts parts_;
  Manifest manifest_;  // without what only the shards' texts say
  std::string plan_;
  std::uint64_t source_bytes_ = 0;
  std::vector<std::string> stamps_;  // of the shards, as found at the start
  std::string all_stamps_;
  int comparisons_ = 1;

  std::mutex mutex_;  // guards progress_ and failures
  PrepareProgress progress_;
  std::atomic<std::uint64_t> source_done_ = 0;
  std::atomic<std::int64_t> pieces_done_ = 0, text_bytes_ = 0, documents_ = 0, tokens_ = 0;
  std::atomic<bool> waits_ = false;
};

}  // namespace

Manifest prepare_store(const PrepareOptions& options) { return Preparation(options).run(); }

}  // namespace spikesink
