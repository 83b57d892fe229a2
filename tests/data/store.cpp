#include "store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "data/held_out.h"
#include "data/store/store_loader.h"
#include "data/store/store_order.h"
#include "data/store/token_store.h"
#include "io/file_descriptor.h"
#include "io/h5.h"
#include "kernels/core/random.h"

using namespace spikesink;
using Catch::Matchers::Contains;
using test::failure_of;
namespace fs = std::filesystem;

namespace {
using Tokens = std::vector<std::int32_t>;

Tokens counted(std::int64_t first, std::int64_t count) {
  Tokens ids(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i)
    ids[static_cast<std::size_t>(i)] = static_cast<std::int32_t>((first + i) % 256);
  return ids;
}
}  // namespace

TEST_CASE("a store reads as one row of tokens, across files, in both widths", "[data][store]") {
  const test::Scratch folder;
  const int token_bytes = GENERATE(2, 4);
  const Manifest written = test::write_store(folder / "s", {1000, 1, 0, 5000, 313}, token_bytes);
  const TokenStore store(folder / "s");
  REQUIRE(store.tokens() == 6314);
  CHECK(store.manifest().files == written.files);
  for (const auto& [first, count] : {std::pair{0, 6314},
                                     {0, 1},
                                     {999, 1},
                                     {999, 2},
                                     {999, 3},
                                     {1000, 1},
                                     {1001, 1},
                                     {6313, 1},
                                     {6314, 0},
                                     {77, 0}}) {
    Tokens got(static_cast<std::size_t>(count), -1);
    store.read(first, got);
    CHECK(got == counted(first, count));
  }
  const TokenStore held_out(folder / "s", StorePart::kHeldOut);
  CHECK(held_out.tokens() > 0);
  Tokens ids(static_cast<std::size_t>(held_out.tokens()));
  held_out.read(0, ids);
  CHECK(ids == Tokens(ids.size(), 255));

  const auto starts = store.document_starts(0, store.tokens());
  CHECK(static_cast<std::int64_t>(starts.size()) == store.documents());
  CHECK(starts.front() == 0);
  CHECK(std::ranges::is_sorted(starts));
  const auto some = store.document_starts(990, 40);
  CHECK(std::ranges::includes(starts, some));
  CHECK(std::ranges::find(some, 1000) != some.end());  // a file begins with a document
}

namespace {
std::int64_t num_open() {
  const fs::directory_iterator begin("/proc/self/fd");
  return std::distance(fs::begin(begin), fs::end(begin));
}

/// Whether `work` returns true in a process that may have `soft` files open, and raise that to `hard`.
bool holds_under_limit(rlim_t soft, rlim_t hard, const std::function<bool()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit{.rlim_cur = soft, .rlim_max = hard};
    bool holds = false;
    try {
      holds = setrlimit(RLIMIT_NOFILE, &limit) == 0 && work();
    } catch (const std::exception& error) {
      fmt::print(stderr, "{}\n", error.what());
    }
    _exit(holds ? 0 : 1);
  }
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/// Whether four threads that read samples from all over the stores, each of tokens from 0 on, get the right ones.
bool reads_right(const std::vector<const TokenStore*>& stores) {
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        try {
          const Random random{.seed = static_cast<std::uint64_t>(t)};
          for (std::uint64_t i = 0; i < 2000; ++i) {
            const TokenStore& store = *stores[i % stores.size()];
            const auto choices = static_cast<std::uint64_t>(store.tokens() - 100);
            const auto first = static_cast<std::int64_t>(random.bits(i).first % choices);
            Tokens got(100);
            store.read(first, got);
            wrong += got != counted(first, 100);
          }
        } catch (const std::exception& error) {
          fmt::print(stderr, "{}\n", error.what());
          ++wrong;
        }
      });
  }
  return wrong == 0;
}
}  // namespace

TEST_CASE("many threads read several stores of more files than the process may have open", "[data][store]") {
  const test::Scratch folder;
  test::write_store(folder / "a", std::vector<std::int64_t>(90, 40));
  test::write_store(folder / "b", std::vector<std::int64_t>(70, 40));
  const std::int64_t before = num_open();
  const auto open_after_reading = [&](int taken) {  // while others have `taken` files open
    const TokenStore a(folder / "a"), b(folder / "b");
    std::vector<FileDescriptor> others;
    for (int i = 0; i < taken; ++i) others.push_back(FileDescriptor::open("/dev/null", O_RDONLY));
    Tokens all(static_cast<std::size_t>(a.tokens()));
    a.read(0, all);  // before there are threads: sanitizers want a free descriptor where one starts
    const bool right = all == counted(0, a.tokens()) && reads_right({&a, &b});
    others.clear();
    const std::int64_t open = num_open() - before;
    fmt::print(stderr, "{} open before, {} more after {} reading\n", before, open, right ? "right" : "wrong");
    return right ? open : -1;
  };
  const auto soft = static_cast<rlim_t>(before + 120);  // whatever this process was started with
  const auto half = static_cast<std::int64_t>(soft - soft / 2);
  CHECK(holds_under_limit(soft, soft, [&] {  // a part is left to others
    const std::int64_t open = open_after_reading(0);
    return open > half - 10 && open <= half;
  }));
  CHECK(holds_under_limit(soft, soft + 880, [&] {  // raised: all stay open
    return open_after_reading(0) == 160 && num_open() == before;
  }));
  CHECK(holds_under_limit(soft, soft, [&] {  // others have taken more than their part
    const std::int64_t open = open_after_reading(100);
    return open > 5 && open <= 15;
  }));
}

TEST_CASE("equal documents give equal bytes", "[data][store]") {
  const test::Scratch folder;
  test::write_store(folder / "a", {500, 300});
  test::write_store(folder / "b", {500, 300});
  for (const char* name : {"shard_00000000.h5", "shard_00000001.h5", "manifest.json"})
    CHECK(read_file(folder / "a" + "/" + name) == read_file(folder / "b" + "/" + name));
  CHECK(Manifest::read(folder / "a").to_json() == read_file(manifest_file(folder / "a")));
  for (const auto& entry : fs::directory_iterator(folder / "a"))
    CHECK_FALSE(entry.path().string().ends_with("unfinished"));
}

TEST_CASE("a damaged store is refused in one line that names the file", "[data][store]") {
  const test::Scratch folder;
  const std::string path = folder / "s";
  Manifest manifest = test::write_store(path, {1000, 200});
  const auto reading = [&] {
    return failure_of([&] {
      const TokenStore store(path);
      Tokens all(static_cast<std::size_t>(store.tokens()));
      store.read(0, all);
    });
  };
  REQUIRE(reading().empty());
  const std::string second = path + "/shard_00000001.h5", whole = read_file(second);

  SECTION("a file is gone") {
    fs::remove(second);
    CHECK_THAT(reading(), Contains("shard_00000001.h5: cannot be opened: No such file"));
  }
  SECTION("a file is cut off") {
    test::write(second, whole.substr(0, 300));
    CHECK_THAT(reading(), Contains("shard_00000001.h5: "));
  }
  SECTION("a file is of another store") {
    test::write_store(folder / "other", {1000, 100});
    fs::copy_file(folder / "other/shard_00000001.h5", second, fs::copy_options::overwrite_existing);
    CHECK_THAT(reading(), Contains("bytes, but the store's manifest says") && Contains("of another store"));
    for (StoreFile& file : manifest.files) file.bytes = file.train.tokens_at = file.held_out.tokens_at = -1;
    test::write(manifest_file(path), manifest.to_json());
    CHECK_THAT(reading(), Contains("holds 100 tokens, but the store's manifest says 200"));
    test::write(second, whole);  // a manifest of an earlier program, which does not say where tokens lie
    CHECK(reading().empty());
  }
  SECTION("an id is beyond the vocabulary") {
    const auto place = H5File::open(second).place_of<std::uint16_t>("tokens");
    std::string bytes = whole;
    bytes[static_cast<std::size_t>(place.offset) + 21] = '\x7f';
    test::write(second, bytes);
    CHECK_THAT(reading(), Contains("shard_00000001.h5: holds token 32"));
  }
  SECTION("no manifest") {
    fs::remove(manifest_file(path));
    CHECK_THAT(reading(), Contains("is no whole token store"));
  }
  SECTION("a manifest that is no JSON, or of a later format, or says what cannot be") {
    const std::string text = read_file(manifest_file(path));
    test::write(manifest_file(path), text.substr(0, text.size() / 2));
    CHECK_THAT(reading(), Contains("manifest.json: is damaged"));
    test::write(manifest_file(path), R"({"format": 99})");
    CHECK_THAT(reading(), Contains("has format 99"));
    manifest.files[0].name = "../elsewhere.h5";
    test::write(manifest_file(path), manifest.to_json());
    CHECK_THAT(reading(), Contains("is no file of a store"));
  }
}

namespace {
/// Which sample of a store of write_store() a row is, by its tokens; T must be such that they tell.
struct Setup {
  test::Scratch folder;
  std::unique_ptr<Tokenizer> bytes = make_tokenizer("bytes");

  LoaderOptions options(const std::vector<std::string>& stores, std::int64_t sequences,
                        std::vector<double> weights = {}, std::int64_t context = 7, std::uint64_t seed = 1) const {
    std::vector<std::string> paths;
    for (const std::string& store : stores) paths.push_back(folder / store);
    return {.data = {.train = paths, .weights = std::move(weights)},
            .tokenizer = *bytes,
            .context = context,
            .sequences = sequences,
            .seed = seed};
  }
};
}  // namespace

TEST_CASE("every sample comes once an epoch, in another order each time", "[data][store]") {
  const Setup setup;
  test::write_store(setup.folder / "a", {600, 300, 101});
  const TokenStore store(setup.folder / "a");
  const StoreOrder order({&store}, {}, 7, std::nullopt, 3);
  const std::int64_t N = 1000 / 7;
  REQUIRE(order.samples(0) == N);
  std::vector<std::vector<std::int64_t>> epochs(3);
  for (std::int64_t g = 0; g < 3 * N; ++g) {
    const auto sample = order.at(g);
    CHECK(sample.epoch == g / N);
    epochs[static_cast<std::size_t>(sample.epoch)].push_back(sample.index);
    Tokens tokens(8);
    order.read(sample, tokens);
    REQUIRE(tokens == counted(sample.index * 7, 8));
  }
  CHECK(epochs[0] != epochs[1]);
  CHECK(epochs[1] != epochs[2]);
  for (auto& epoch : epochs) {
    std::ranges::sort(epoch);
    std::vector<std::int64_t> all(static_cast<std::size_t>(N));
    std::iota(all.begin(), all.end(), 0);
    CHECK(epoch == all);
  }
  const StoreOrder begun({&store}, {}, 7, 257, 3);
  Tokens tokens(8);
  begun.read({0, 5, 0}, tokens);
  Tokens want{257};
  for (const std::int32_t id : counted(35, 7)) want.push_back(id);
  CHECK(tokens == want);
}

TEST_CASE("a mixture over two epochs: each sample once an epoch, in the stated proportions", "[data][store]") {
  const Setup setup;
  test::write_store(setup.folder / "a", {4000});
  test::write_store(setup.folder / "b", {9000, 300});
  const TokenStore a(setup.folder / "a"), b(setup.folder / "b");
  const StoreOrder order({&a, &b}, {3, 1}, 5, std::nullopt, 9);
  std::map<std::pair<std::size_t, std::int64_t>, std::vector<std::int64_t>> seen;  // by store and epoch
  const std::int64_t draws = 2 * Mixture::kBlock;
  std::int64_t of_a = 0;
  for (std::int64_t g = 0; g < draws; ++g) {
    const auto sample = order.at(g);
    seen[{sample.store, sample.epoch}].push_back(sample.index);
    of_a += sample.store == 0;
    CHECK_FALSE(seen.contains({sample.store, sample.epoch + 1}));  // epochs follow one another
  }
  CHECK(of_a == draws * 3 / 4);
  for (auto& [key, samples] : seen) {
    const auto& [number, epoch] = key;
    const bool last = epoch == seen.rbegin()->first.second || !seen.contains({number, epoch + 1});
    const std::set<std::int64_t> once(samples.begin(), samples.end());
    CHECK(once.size() == samples.size());
    if (!last) CHECK(static_cast<std::int64_t>(samples.size()) == order.samples(number));
  }
  CHECK(seen.contains({0, 6}));  // 799 samples an epoch, 6144 draws
  // Without weights the two are one set.
  const StoreOrder together({&a, &b}, {}, 5, std::nullopt, 9);
  std::set<std::pair<std::size_t, std::int64_t>> all;
  const std::int64_t N = together.samples(0) + together.samples(1);
  for (std::int64_t g = 0; g < N; ++g) all.insert({together.at(g).store, together.at(g).index});
  CHECK(static_cast<std::int64_t>(all.size()) == N);
}

TEST_CASE("a store's samples are the same on any number of ranks, and after any resume", "[data][store]") {
  const Setup setup;
  test::write_store(setup.folder / "a", {700, 300});
  test::write_store(setup.folder / "b", {500});
  constexpr std::int64_t kS = 12, kSteps = 40;
  const auto options = setup.options({"a", "b"}, kS, {2, 1});
  std::vector<Tokens> whole;
  {
    StoreLoader loader(options);
    for (std::int64_t b = 0; b < kSteps; ++b) whole.push_back(loader.next(b, 0, kS));
    CHECK(loader.waited_seconds() > 0);  // nothing is read before it is first asked for
  }
  const std::int64_t world = GENERATE(1, 2, 3, 4);
  std::vector<std::unique_ptr<StoreLoader>> ranks;
  for (std::int64_t r = 0; r < world; ++r) ranks.push_back(std::make_unique<StoreLoader>(options));
  for (std::int64_t b = 0; b < kSteps; ++b) {
    if (b % 7 == 3) {  // all stop, and go on as new ones
      const Position position = Position::from_json(ranks[0]->position().to_json());
      CHECK(position.step == b);
      for (auto& rank : ranks) {
        rank = std::make_unique<StoreLoader>(options);
        rank->seek(position);
      }
    }
    Tokens step;
    for (std::int64_t r = 0; r < world; ++r) {
      const std::int64_t first = r * kS / world, end = (r + 1) * kS / world;
      for (const std::int32_t id : ranks[static_cast<std::size_t>(r)]->next(b, first, end - first)) step.push_back(id);
    }
    REQUIRE(step == whole[static_cast<std::size_t>(b)]);
  }
  StoreLoader leaps(options);  // another pattern of slots, and steps left out
  CHECK(leaps.next(3, 2, 1) == Tokens(whole[3].begin() + 16, whole[3].begin() + 24));
  CHECK(leaps.next(3, 3, 9) == Tokens(whole[3].begin() + 24, whole[3].end()));
  CHECK(leaps.next(20, 0, 0).empty());
  CHECK(leaps.next(20, 0, kS) == whole[20]);
}

TEST_CASE("a store loader refuses what does not fit", "[data][store]") {
  const Setup setup;
  test::write_store(setup.folder / "a", {700});
  test::write_store(setup.folder / "b", {500});
  const auto options = setup.options({"a"}, 4);
  const Position position = StoreLoader(options).position();
  const auto refused = [&](auto change) {
    LoaderOptions changed = options;
    change(changed);
    return failure_of([&] { make_loader(changed)->seek(position); });
  };
  CHECK(refused([](LoaderOptions&) {}).empty());
  CHECK(refused([](LoaderOptions& o) { o.data.lanes = 3; }).empty());  // lanes are of shards
  CHECK_THAT(refused([](LoaderOptions& o) { o.seed = 2; }), Contains("run.seed"));
  CHECK_THAT(refused([](LoaderOptions& o) { o.context = 8; }), Contains("model.context"));
  CHECK_THAT(refused([&](LoaderOptions& o) { o.data.train = {setup.folder / "b"}; }), Contains("data.train"));
  CHECK_THAT(refused([](LoaderOptions& o) { o.context = 700; }), Contains("fewer than one sample of 700"));

  Manifest other = Manifest::read(setup.folder / "b");
  other.tokenizer = "old.name bytes";  // the same hash
  test::write(manifest_file(setup.folder / "b"), other.to_json());
  CHECK(failure_of([&] { make_loader(setup.options({"a", "b"}, 4)); }).empty());
  other.tokenizer = "other.model 1234";
  test::write(manifest_file(setup.folder / "b"), other.to_json());
  CHECK_THAT(failure_of([&] {
               make_loader(setup.options({"a", "b"}, 4));
             }),
             Contains("was made with the tokenizer other.model 1234, but data.tokenizer is bytes"));
  test::write(setup.folder / "c.jsonl", "{\"text\": \"abc\"}\n");
  CHECK_THAT(failure_of([&] {
               make_loader(setup.options({"a", "c.jsonl"}, 4));
             }),
             Contains("c.jsonl is no token store"));
  CHECK_THAT(failure_of([&] { make_loader(setup.options({"c.jsonl"}, 4, {1})); }), Contains("data.weights"));
}

TEST_CASE("a file that vanishes while a store is read ends the run, named", "[data][store]") {
  const Setup setup;
  test::write_store(setup.folder / "a", {700, 700});
  StoreLoader loader(setup.options({"a"}, 50));
  fs::remove(setup.folder / "a/shard_00000001.h5");
  CHECK_THAT(failure_of([&] {
               for (std::int64_t b = 0; b < 100; ++b) loader.next(b, 0, 50);
             }),
             Contains("shard_00000001.h5: cannot be opened"));
}

TEST_CASE("what a store holds out is what a run on it validates on", "[data][store]") {
  const Setup setup;
  test::write_store(setup.folder / "a", {9000});
  test::write_store(setup.folder / "b", {500}, 4, 100);
  DataConfig config{.train = {setup.folder / "a"}};
  const auto samples = held_out_samples(config, *setup.bytes, 10, 5);
  CHECK(samples == Tokens(5 * 11, 255));
  config.validation = {setup.folder / "b"};
  Tokens want;
  for (std::int64_t i = 0; i < 5; ++i)
    for (const std::int32_t id : counted(100 + i * 10, 11)) want.push_back(id);
  CHECK(held_out_samples(config, *setup.bytes, 10, 5) == want);
}
