#include "data/bench.h"

#include <fmt/format.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>

#include "data/document.h"
#include "data/line_reader.h"
#include "data/shards.h"
#include "data/store/file_writer.h"
#include "data/store/store_loader.h"
#include "data/stream_loader.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/h5.h"
#include "kernels/core/check.h"
#include "kernels/core/random.h"

namespace spikesink {
namespace {
namespace fs = std::filesystem;
constexpr double kMega = 1e6;
// Aims of the project, a core.
constexpr double kReadAim = 300 * kMega, kStreamAim = 5 * kMega / 16, kStoreAim = 20 * kMega / 2;
constexpr int kNumFiles = 28'000;  // about DCLM's shards
constexpr std::int64_t kStepTokens = std::int64_t{1} << 18;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
/// Of all threads of this process.
double cpu_now() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// Adds up the time of several stretches.
struct Timer {
  double seconds = 0, cpu_seconds = 0;
  void add(auto&& work) {
    const double begin = now(), cpu_begin = cpu_now();
    work();
    seconds += now() - begin;
    cpu_seconds += cpu_now() - cpu_begin;
  }
};

/// A line of /proc/self/status, in bytes.
std::int64_t status_bytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key + ":")) return std::stoll(line.substr(key.size() + 1)) * 1024;
  return 0;
}

/// How much more memory is resident at the most, from now on.
class Growth {
 public:
  Growth() : before_(status_bytes("VmRSS")) {
    std::ofstream("/proc/self/clear_refs") << "5";  // the peak starts anew
  }
  std::int64_t bytes() const { return std::max<std::int64_t>(0, status_bytes("VmHWM") - before_); }

 private:
  std::int64_t before_;
};

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "spikesink-bench-XXXXXX").string();
    if (!mkdtemp(name.data())) throw file_error(name, "made", errno);
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code error;
    fs::remove_all(path_, error);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// Shards in DCLM's form: some 4 MB of text each, of made words whose frequencies fall as 1 / rank.
std::vector<std::string> make_shards(const TemporaryFolder& folder) {
  constexpr int kShards = 4, kDocuments = 1000, kWords = 700;
  constexpr std::uint64_t kVocabulary = 20'000;
  const auto word = [](std::uint64_t number) {
    const Random letters{.seed = number, .stream = name_hash("bench.word")};
    std::string text;
    for (std::uint64_t i = 0, n = 2 + letters.below(0, 7); i < n; ++i)
      text += static_cast<char>('a' + letters.below(1 + i, 26));
    return text;
  };
  std::vector<std::string> words(kVocabulary);
  for (std::uint64_t w = 0; w < kVocabulary; ++w) words[w] = word(w);
  std::vector<std::string> paths;
  for (std::uint64_t s = 0; s < kShards; ++s) {
    const Random random{.seed = s, .stream = name_hash("bench.text")};
    std::string lines;
    std::uint64_t draw = 0;
    for (int d = 0; d < kDocuments; ++d) {
      lines += "{\"text\": \"";
      for (int w = 0; w < kWords; ++w) {
        const double rank = std::pow(static_cast<double>(kVocabulary), random.uniform(draw++));
        lines += words[std::min(kVocabulary - 1, static_cast<std::uint64_t>(rank))];
        lines += w % 90 == 89 ? ".\\n" : w % 13 == 12 ? ", " : " ";
      }
      lines += fmt::format("\", \"url\": \"http://made/{}/{}\", \"metadata\": {{\"words\": {}}}}}\n", s, d, kWords);
    }
    std::string packed(ZSTD_compressBound(lines.size()), '\0');
    packed.resize(ZSTD_compress(packed.data(), packed.size(), lines.data(), lines.size(), 3));
    paths.push_back(folder / fmt::format("shard_{:08d}_processed.jsonl.zst", s));
    write_atomically(paths.back(), packed);
  }
  return paths;
}

Manifest manifest_of(const Tokenizer& tokenizer) {
  return {.tokenizer = tokenizer.name(),
          .vocab_size = tokenizer.vocab_size(),
          .end_of_text = tokenizer.end_of_text(),
          .token_bytes = tokenizer.vocab_size() <= 65536 ? 2 : 4,
          .min_bytes = {},
          .max_bytes = {},
          .files = {},
          .lines = {}};
}

/// A store of drawn tokens, which the page cache still has from its writing.
std::string make_store(const TemporaryFolder& folder, const Tokenizer& tokenizer) {
  constexpr std::int64_t kFiles = 4, kDocuments = 4096, kTokens = 2048;
  const std::string path = folder / "store";
  fs::create_directories(path);
  Manifest manifest = manifest_of(tokenizer);
  std::vector<std::int32_t> ids(kTokens);
  for (std::int64_t f = 0; f < kFiles; ++f) {
    const std::string name = fmt::format("shard_{:08d}.h5", f);
    StoreFileWriter writer(path + "/" + name, manifest.token_bytes);
    const Random random{.seed = static_cast<std::uint64_t>(f), .stream = name_hash("bench.store")};
    for (std::int64_t d = 0; d < kDocuments; ++d) {
      for (std::size_t i = 0; i < ids.size(); ++i)
        ids[i] = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(d * kTokens) + i,
                                                        static_cast<std::uint64_t>(tokenizer.vocab_size())));
      ids.back() = tokenizer.end_of_text();
      writer.add(ids, false);
    }
    manifest.files.push_back(writer.finish());
    manifest.files.back().name = name;
  }
  write_atomically(manifest_file(path), manifest.to_json());
  return path;
}

/// A store of as many files as DCLM has shards. They are one file under many names: they are opened and read as others,
/// but made in a second.
std::string make_store_of_files(const TemporaryFolder& folder, const Tokenizer& tokenizer) {
  constexpr std::int64_t kTokens = std::int64_t{1} << 16;
  const std::string path = folder / "files", first = "shard_00000000.h5";
  fs::create_directories(path);
  Manifest manifest = manifest_of(tokenizer);
  StoreFileWriter writer(path + "/" + first, manifest.token_bytes);
  writer.add(std::vector<std::int32_t>(kTokens, tokenizer.end_of_text()), false);
  StoreFile file = writer.finish();
  for (int f = 0; f < kNumFiles; ++f) {
    file.name = fmt::format("shard_{:08d}.h5", f);
    if (f > 0) fs::create_hard_link(path + "/" + first, path + "/" + file.name);
    manifest.files.push_back(file);
  }
  write_atomically(manifest_file(path), manifest.to_json());
  return path;
}

/// One document of `tokens` tokens, of which only the last is written: the file has a hole in place of the others.
template <class T>
void write_sparse(const std::string& path, std::int64_t tokens, std::int32_t last) {
  H5File file = H5File::create(path);
  file.make<T>("tokens", {tokens});
  const T end = static_cast<T>(last);
  file.write_stretch<T>("tokens", tokens - 1, std::span(&end, 1));
  const std::array<std::int64_t, 2> starts{0, tokens};
  file.write<std::int64_t>("documents", starts, {2});
  file.close();
}
std::string make_sparse_store(const TemporaryFolder& folder, const Tokenizer& tokenizer, std::int64_t tokens) {
  const std::string path = folder / "synthetic", name = "shard_00000000.h5";
  fs::create_directories(path);
  Manifest manifest = manifest_of(tokenizer);
  if (manifest.token_bytes == 2)
    write_sparse<std::uint16_t>(path + "/" + name, tokens, tokenizer.end_of_text());
  else
    write_sparse<std::int32_t>(path + "/" + name, tokens, tokenizer.end_of_text());
  manifest.files.push_back({.name = name, .source = {}, .train = {.tokens = tokens, .documents = 1}, .held_out = {}});
  write_atomically(manifest_file(path), manifest.to_json());
  return path;
}

/// Bytes read and written by a core that copies what no cache holds.
double copy_rate() {
  std::vector<char> from(std::size_t{64} << 20, 1), to(from.size());
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    Timer timer;
    timer.add([&] { std::memcpy(to.data(), from.data(), from.size()); });
    best = std::max(best, 2 * static_cast<double>(from.size()) / timer.cpu_seconds);
  }
  require(to.back() == 1, "copy rate: the copy differs");
  return best;
}

class Bench {
 public:
  Bench(const DataBenchOptions& options, const std::function<void(const DataFigure&)>& report)
      : o_(options), report_(report) {}

  void run() {
    if (wants(DataBench::kRead) || wants(DataBench::kTokenise) || wants(DataBench::kStream))
      shards_ = find_shards(o_.shards.empty() ? make_shards(folder_) : o_.shards, "bench data");
    if (wants(DataBench::kRead)) read();
    if (wants(DataBench::kTokenise)) tokenise();
    if (wants(DataBench::kStream)) stream();
    if (wants(DataBench::kStore)) store();
    if (wants(DataBench::kFiles)) files();
  }

 private:
  bool wants(DataBench bench) const { return o_.only.empty() || std::ranges::find(o_.only, bench) != o_.only.end(); }

  /// Whole shards, unpacked alone and as they are read, by turns.
  void read() {
    const Growth growth;
    Timer reading, unpacking;
    double text = 0;
    std::vector<char> room(std::size_t{64} << 10);
    for (std::size_t i = 0; reading.seconds < o_.seconds; i = (i + 1) % shards_.size()) {
      unpacking.add([&] {
        const auto source = open_bytes(shards_[i].path);
        while (source->read(room.data(), room.size()) > 0) {
        }
      });
      reading.add([&] {
        DocumentTally tally(1);
        DocumentReader reader(shards_[i].path, tally);
        while (reader.next())
          if (const auto document = reader.text()) text += static_cast<double>(document->size());
      });
      if (text == 0 && i + 1 == shards_.size())
        throw DataError("bench data: " + shards_.front().path + " and the others hold no document");
    }
    read_rate_ = text / reading.cpu_seconds;
    report_({.bench = DataBench::kRead,
             .what = "unpack and parse",
             .of_text = true,
             .amount = text,
             .seconds = reading.seconds,
             .cpu_seconds = reading.cpu_seconds,
             .threads = 1,
             .aim_a_core = kReadAim,
             .limit_a_core = text / unpacking.cpu_seconds,
             .limit_of = "unpacking alone",
             .memory_growth = growth.bytes()});
  }

  /// The first documents of the shards, in memory, again and again; unpacking and parsing them is its limit.
  void tokenise() {
    constexpr std::size_t kText = std::size_t{8} << 20;
    std::vector<std::string> documents;
    std::size_t bytes = 0;
    Timer reading;
    reading.add([&] {
      DocumentTally tally(1);
      for (std::size_t i = 0; i < shards_.size() && bytes < kText; ++i) {
        DocumentReader reader(shards_[i].path, tally);
        while (bytes < kText && reader.next())
          if (const auto document = reader.text()) {
            documents.emplace_back(*document);
            bytes += document->size();
          }
      }
    });
    if (bytes == 0) throw DataError("bench data: " + shards_.front().path + " and the others hold no document");
    const Growth growth;
    Timer timer;
    double text = 0, tokens = 0;
    std::vector<std::int32_t> ids;
    for (std::size_t d = 0; timer.seconds < o_.seconds || d != 0; d = (d + 1) % documents.size())
      timer.add([&] {
        ids.clear();
        o_.tokenizer.encode(documents[d], ids);
        text += static_cast<double>(documents[d].size());
        tokens += static_cast<double>(ids.size());
      });
    tokenise_rate_ = text / timer.cpu_seconds;
    tokens_a_byte_ = tokens / text;
    report_({.bench = DataBench::kTokenise,
             .what = "tokenise",
             .of_text = true,
             .amount = text,
             .seconds = timer.seconds,
             .cpu_seconds = timer.cpu_seconds,
             .threads = 1,
             .aim_a_core = 0,
             .limit_a_core = static_cast<double>(bytes) / reading.cpu_seconds,
             .limit_of = "unpacking and parsing",
             .memory_growth = growth.bytes()});
  }

  LoaderOptions loader_options(const std::vector<std::string>& train) const {
    return {.data = {.train = train, .weights = {}, .validation = {}, .max_bad_share = 1},
            .tokenizer = o_.tokenizer,
            .context = o_.context,
            .sequences = std::max<std::int64_t>(1, kStepTokens / o_.context),
            .seed = 1,
            .threads = o_.threads};
  }
  /// Steps taken as fast as they come; the first is not counted.
  DataFigure take_batches(Loader& loader, const LoaderOptions& options) const {
    loader.next(0, 0, options.sequences);
    Timer timer;
    std::int64_t step = 1;
    for (; timer.seconds < o_.seconds; ++step) timer.add([&] { loader.next(step, 0, options.sequences); });
    return {.bench = DataBench::kStream,
            .what = {},
            .of_text = false,
            .amount = static_cast<double>((step - 1) * options.sequences * options.context),
            .seconds = timer.seconds,
            .cpu_seconds = timer.cpu_seconds,
            .threads = o_.threads,
            .aim_a_core = 0,
            .limit_a_core = 0,
            .limit_of = {},
            .memory_growth = 0};
  }

  void stream() {
    std::vector<std::string> paths;
    for (const Shard& shard : shards_) paths.push_back(shard.path);
    const Growth growth;
    LoaderOptions options = loader_options(paths);
    // With more lanes than shards each is unpacked by several; of DCLM's tens of thousands few are.
    options.data.lanes = std::min(options.data.lanes, static_cast<std::int64_t>(shards_.size()));
    StreamLoader loader(options);
    DataFigure figure = take_batches(loader, options);
    figure.what = fmt::format("stream, context {}", o_.context);
    figure.aim_a_core = kStreamAim;
    if (read_rate_ > 0 && tokens_a_byte_ > 0) {
      figure.limit_a_core = tokens_a_byte_ / (1 / read_rate_ + 1 / tokenise_rate_);
      figure.limit_of = "read, then tokenise";
    }
    figure.memory_growth = growth.bytes();
    report_(figure);
  }

  void store() {
    const std::string path = o_.synthetic > 0   ? make_sparse_store(folder_, o_.tokenizer, o_.synthetic)
                             : o_.store.empty() ? make_store(folder_, o_.tokenizer)
                                                : o_.store;
    read_store(DataBench::kStore, path, fmt::format("store, context {}", o_.context));
  }
  void files() {
    read_store(DataBench::kFiles, make_store_of_files(folder_, o_.tokenizer), fmt::format("of {} files", kNumFiles));
  }
  void read_store(DataBench bench, const std::string& path, const std::string& what) {
    const double copies = copy_rate();
    const int token_bytes = Manifest::read(path).token_bytes;
    const Growth growth;
    const LoaderOptions options = loader_options({path});
    StoreLoader loader(options);
    DataFigure figure = take_batches(loader, options);
    figure.bench = bench;
    figure.what = what;
    figure.aim_a_core = kStoreAim;
    figure.limit_a_core = copies / (token_bytes + 4);  // a token is read from the page cache and written as an i32
    figure.limit_of = "copying as many bytes";
    figure.memory_growth = growth.bytes();
    report_(figure);
  }

  const DataBenchOptions& o_;
  const std::function<void(const DataFigure&)>& report_;
  TemporaryFolder folder_;
  std::vector<Shard> shards_;
  double read_rate_ = 0, tokenise_rate_ = 0;  // bytes of text a CPU second; 0: not measured
  double tokens_a_byte_ = 0;
};

}  // namespace

std::string_view name_of(DataBench bench) {
  static constexpr std::array<std::string_view, kNumDataBenches> kNames{"read", "tokenise", "stream", "store", "files"};
  return kNames[static_cast<std::size_t>(bench)];
}

void bench_data(const DataBenchOptions& options, const std::function<void(const DataFigure&)>& report) {
  require(options.context > 0 && options.threads > 0, "bench data: context ", options.context, ", threads ",
          options.threads);
  Bench(options, report).run();
}

}  // namespace spikesink
