#include "data/store/prepare.h"

#include <catch2/catch.hpp>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <thread>

#include "data/line_reader.h"
#include "data/store/store_order.h"
#include "data/store/token_store.h"
#include "io/atomic_file.h"
#include "prepare_setup.h"

using namespace spikesink;
using Catch::Matchers::Contains;
using test::Documents, test::failure_of, test::files_of, test::line_with, test::lines_with;
using Setup = test::PrepareSetup;
namespace fs = std::filesystem;

namespace {
using Tokens = std::vector<std::int32_t>;
/// Texts of 1 to 400 bytes, some of them equal to earlier ones, with letters of several bytes.
Documents made_texts(std::int64_t count, std::uint64_t seed) {
  const Random random{.seed = seed};
  Documents texts;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::uint64_t>(i) * 1000;
    if (random.below(at, 7) == 0) {  // of few texts, so that they come again, in other shards too
      texts.push_back(fmt::format("again and again and again {}", random.below(at + 1, 5)));
      continue;
    }
    std::string text;
    for (std::uint64_t c = 0, length = 1 + random.below(at + 2, 100); c < length; ++c)
      text += std::array{"a", "b", " ", "\xc3\xa9", "\xf0\x9f\x98\x80"}[random.below(at + 3 + c, 5)];
    texts.push_back(text);
  }
  return texts;
}

/// What a store of these shards must hold, worked out plainly.
struct Expected {
  Tokens train, held_out;
  std::vector<std::int64_t> starts;  // of the documents to train on
  std::int64_t documents = 0, short_ones = 0, long_ones = 0, repeats = 0;

  Expected(const std::vector<Documents>& shards, double holdout, std::size_t min_bytes = 0,
           std::size_t max_bytes = SIZE_MAX, bool deduplicate = false) {
    std::set<std::string> seen;
    for (const Documents& shard : shards)
      for (const std::string& text : shard) {
        ++documents;
        if (text.size() < min_bytes) {
          ++short_ones;
        } else if (text.size() > max_bytes) {
          ++long_ones;
        } else if (!seen.insert(text).second && deduplicate) {
          ++repeats;
        } else {
          const bool out = holdout_draw(text) < holdout;
          if (!out) starts.push_back(static_cast<std::int64_t>(train.size()));
          for (const char c : text) (out ? held_out : train).push_back(static_cast<unsigned char>(c));
          (out ? held_out : train).push_back(256);
        }
      }
  }
};

Tokens all_tokens(const std::string& store, StorePart part = StorePart::kTrain) {
  const TokenStore tokens(store, part);
  Tokens all(static_cast<std::size_t>(tokens.tokens()));
  tokens.read(0, all);
  return all;
}

/// Five shards of made texts, in each packing; named so that the order of paths is that of the texts.
struct Corpus : Setup {
  std::vector<Documents> shards;
  std::vector<std::string> paths;

  Corpus() {
    for (int s = 0; s < 5; ++s) {
      shards.push_back(made_texts(60 + 40 * s, static_cast<std::uint64_t>(s)));
      const char* ending = std::array{".jsonl", ".jsonl.zst", ".jsonl.gz"}[static_cast<std::size_t>(s) % 3];
      paths.push_back(shard(fmt::format("s{}{}", s, ending), lines_with(shards.back())));
    }
  }
};
}  // namespace

TEST_CASE("a store holds what the plain way gives, with any number of threads", "[data][prepare]") {
  const Corpus corpus;
  const bool deduplicate = GENERATE(false, true), limits = GENERATE(false, true);
  const Expected want = limits ? Expected(corpus.shards, 0.2, 20, 150, deduplicate)
                               : Expected(corpus.shards, 0.2, 0, SIZE_MAX, deduplicate);
  REQUIRE(want.held_out.size() > 1000);
  auto options = corpus.options("one", {corpus.folder / "s*.jsonl*"});
  options.deduplicate = deduplicate;
  if (limits) options.min_bytes = 20, options.max_bytes = 150;
  options.threads = 1;
  const Manifest m = prepare_store(options);

  CHECK(all_tokens(options.out) == want.train);
  CHECK(all_tokens(options.out, StorePart::kHeldOut) == want.held_out);
  const TokenStore store(options.out);
  CHECK(store.document_starts(0, store.tokens()) == want.starts);
  CHECK(m.lines.documents == want.documents);
  CHECK(m.lines.num_broken() == 0);
  CHECK(m.too_short == want.short_ones);
  CHECK(m.too_long == want.long_ones);
  CHECK(m.duplicates == want.repeats);
  CHECK((want.repeats > 0) == deduplicate);
  CHECK((want.short_ones > 0) == limits);
  CHECK(m.text_bytes == static_cast<std::int64_t>(want.train.size() + want.held_out.size()) -
                            (want.documents - want.short_ones - want.long_ones - want.repeats));

  options.out = corpus.folder / "four";
  options.threads = 4;
  options.inputs = {corpus.paths[3], corpus.paths[0], corpus.paths[4], corpus.folder / "s[0-2].*"};  // in any order
  prepare_store(options);
  CHECK(files_of(corpus.folder / "one") == files_of(corpus.folder / "four"));
  CHECK(files_of(corpus.folder / "one").size() == 6);  // five shards and the manifest, and nothing else
}

TEST_CASE("several preparations at once make one store", "[data][prepare]") {
  const Corpus corpus;
  auto options = corpus.options("alone", {corpus.folder / "s*.jsonl*"});
  options.deduplicate = true;
  prepare_store(options);
  options.out = corpus.folder / "together";
  std::vector<std::string> failures(4);
  {
    std::vector<std::jthread> processes;  // locks bind open files, so that threads meet as processes do
    for (std::string& failure : failures) processes.emplace_back([&] { failure = corpus.refusal(options); });
  }
  CHECK(failures == std::vector<std::string>(4));
  CHECK(files_of(corpus.folder / "alone") == files_of(corpus.folder / "together"));
}

TEST_CASE("of equal documents the first stays, by the order of paths and lines", "[data][prepare]") {
  const Setup setup;
  setup.shard("b.jsonl", lines_with({"one", "two", "one", "three"}));
  setup.shard("a.jsonl", lines_with({"two", "four", "four"}));
  auto options = setup.options("s", {setup.folder / "b.jsonl", setup.folder / "a.jsonl"});
  options.deduplicate = true;
  options.holdout = 0;
  const Manifest m = prepare_store(options);
  CHECK(m.duplicates == 3);
  CHECK(m.files[0].source == "a.jsonl");
  const Tokens ids = all_tokens(options.out);
  CHECK(setup.bytes->decode(ids) == "twofouronethree");
  CHECK(m.files[0].train.documents == 2);
}

TEST_CASE("odd documents are counted by reason, and what is text is kept", "[data][prepare]") {
  const Setup setup;
  std::string lines = "\xEF\xBB\xBF";
  lines += line_with("after a mark");
  lines += "\n   \r\n";                                       // blank: no line
  lines += "{\"text\": \"nul \\u0000 inside\"}\n";            // text
  lines += "{\"text\": \"\"}\n";                              // empty
  lines += "{\"text\": \"half \\ud800 pair\"}\n";             // no character
  lines += "{\"text\": \"a pair \\ud83d\\ude00\"}\n";         // one
  lines += "{\"text\": \"bare \xff byte\"}\n";                // no UTF-8
  lines += "{\"text\": 17}\n{\"text\": [\"a\"]}\n[1]\n17\n";  // of other types
  lines += "{\"other\": \"x\"}\n{\"text\": \"cut off\n";
  lines += "{\"text\": \"the last, without a newline\"}";
  setup.shard("a.jsonl", lines);
  auto options = setup.options("s", {setup.folder / "a.jsonl"});
  options.holdout = 0;
  options.max_bad_share = 0.9;
  const Manifest m = prepare_store(options);
  const auto count = [&](Broken reason) { return m.lines.broken[static_cast<std::size_t>(reason)]; };
  CHECK(m.lines.documents == 4);
  CHECK(count(Broken::kEmptyText) == 1);
  CHECK(count(Broken::kBadUtf8) == 2);
  CHECK(count(Broken::kTextNotString) == 2);
  CHECK(count(Broken::kNotJson) == 3);
  CHECK(count(Broken::kNoText) == 1);
  // A place has no folder: the store does not depend on where its shards lay.
  CHECK_THAT(m.lines.first_broken[static_cast<std::size_t>(Broken::kEmptyText)], Catch::StartsWith("a.jsonl:5: "));
  Tokens want;
  using namespace std::string_literals;
  for (const std::string& text :
       {"after a mark"s, "nul \0 inside"s, "a pair \xf0\x9f\x98\x80"s, "the last, without a newline"s}) {
    for (const char c : text) want.push_back(static_cast<unsigned char>(c));
    want.push_back(256);
  }
  CHECK(all_tokens(options.out) == want);
}

TEST_CASE("a line beyond the limit is counted, and the shard goes on", "[data][prepare]") {
  const Setup setup;
  const std::string spaces(LineReader::kMaxLineBytes + 100, ' ');
  setup.shard("a.jsonl.zst", line_with("before") + spaces + "\n" + line_with("after"));
  auto options = setup.options("s", {setup.folder / "a.jsonl.zst"});
  options.holdout = 0;
  options.max_bad_share = 0.5;
  const Manifest m = prepare_store(options);
  CHECK(m.lines.broken[static_cast<std::size_t>(Broken::kTooLong)] == 1);
  CHECK(setup.bytes->decode(all_tokens(options.out)) == "beforeafter");
}

TEST_CASE("shards of nothing, and a store of nothing to train on", "[data][prepare]") {
  const Setup setup;
  setup.shard("a.jsonl", "\n\n");
  setup.shard("b.jsonl", lines_with({"some", "text"}));
  auto options = setup.options("s", {setup.folder / "*.jsonl"});
  options.holdout = 1;
  const Manifest m = prepare_store(options);
  CHECK(m.files[0].train == m.files[0].held_out);
  CHECK(all_tokens(options.out).empty());
  CHECK(setup.bytes->decode(all_tokens(options.out, StorePart::kHeldOut)) == "sometext");
  const TokenStore store(options.out);
  CHECK_THAT(failure_of([&] { StoreOrder({&store}, {}, 4, std::nullopt, 1); }), Contains("has 0 tokens to train on"));
}

TEST_CASE("a vocabulary of more than 65536 tokens takes four bytes each", "[data][prepare]") {
  const Setup setup;
  const test::NumberedTokens numbered;
  setup.shard("a.jsonl", lines_with({"900:3", "7:2"}));
  const PrepareOptions options{
      .inputs = {setup.folder / "a.jsonl"}, .tokenizer = numbered, .out = setup.folder / "s", .holdout = 0};
  CHECK(prepare_store(options).token_bytes == 4);
  CHECK(all_tokens(options.out) == Tokens{900000, 900001, 900002, 0, 7000, 7001, 0});
}

TEST_CASE("@FILE names shards, and may name nothing that is not there", "[data][prepare]") {
  const Setup setup;
  setup.shard("a.jsonl", lines_with({"first"}));
  setup.shard("b.jsonl", lines_with({"second"}));
  test::write(setup.folder / "list", setup.folder / "b.jsonl" + "\r\n\n" + setup.folder / "a.json*" + "\n");
  auto options = setup.options("s", {fmt::format("@{}", setup.folder / "list")});
  options.holdout = 0;
  prepare_store(options);
  CHECK(setup.bytes->decode(all_tokens(options.out)) == "firstsecond");
  CHECK_THAT(setup.refusal(setup.options("t", {fmt::format("@{}", setup.folder / "none")})),
             Contains("none: cannot be opened"));
  test::write(setup.folder / "list", setup.folder / "c.jsonl");
  CHECK_THAT(setup.refusal(setup.options("t", {fmt::format("@{}", setup.folder / "list")})),
             Contains("c.jsonl does not exist"));
  CHECK_FALSE(fs::exists(setup.folder / "t"));
}

TEST_CASE("a shard that breaks off, vanishes or changes ends it, named; what is finished stays", "[data][prepare]") {
  const Corpus corpus;
  auto options = corpus.options("s", {corpus.folder / "s*.jsonl*"});
  options.threads = 1;
  options.deduplicate = GENERATE(false, true);
  const std::size_t hurt = GENERATE(1, 2);  // .zst, .gz
  const std::string path = corpus.paths[hurt], whole = read_file(path);
  const auto break_off = [&] {
    test::write(path, whole.substr(0, whole.size() / 2) + std::string(whole.size() / 2 + whole.size() % 2, '\0'));
  };

  SECTION("cut off") {
    test::write(path, whole.substr(0, whole.size() - 5));
    const std::string refusal = corpus.refusal(options);
    CHECK_THAT(refusal, Catch::StartsWith(path + ": broken near byte"));
    const char* first = options.deduplicate ? "s/parts/hashes_00000000.bin" : "s/shard_00000000.h5";
    CHECK(fs::exists(corpus.folder / first));
    CHECK_FALSE(is_store(options.out));
    CHECK_THAT(failure_of([&] { TokenStore{options.out}; }), Contains("is no whole token store"));
    test::write(path, whole);
    CHECK(corpus.refusal(options).empty());
    CHECK(all_tokens(options.out) == Expected(corpus.shards, 0.2, 0, SIZE_MAX, options.deduplicate).train);
  }
  SECTION("garbled, and then mended") {
    break_off();
    CHECK_THAT(corpus.refusal(options), Catch::StartsWith(path + ": "));
    test::write(path, whole);
    CHECK(corpus.refusal(options).empty());
    CHECK(all_tokens(options.out) == Expected(corpus.shards, 0.2, 0, SIZE_MAX, options.deduplicate).train);
    CHECK(files_of(options.out).size() == 6);
  }
}

namespace {
/// Bytes, and something that happens at the first text.
class Happening final : public Tokenizer {
 public:
  explicit Happening(std::function<void()> happens) : happens_(std::move(happens)) {}
  void encode(std::string_view text, std::vector<std::int32_t>& ids) const override {
    std::call_once(once_, happens_);
    bytes_->encode(text, ids);
  }
  std::string decode(std::span<const std::int32_t> ids) const override { return bytes_->decode(ids); }
  std::int64_t vocab_size() const override { return bytes_->vocab_size(); }
  std::int32_t end_of_text() const override { return bytes_->end_of_text(); }
  std::optional<std::int32_t> begin_of_text() const override { return bytes_->begin_of_text(); }
  std::string name() const override { return bytes_->name(); }

 private:
  std::unique_ptr<Tokenizer> bytes_ = make_tokenizer("bytes");
  std::function<void()> happens_;
  mutable std::once_flag once_;
};
}  // namespace

TEST_CASE("a shard that vanishes or grows before its turn ends it, named", "[data][prepare]") {
  const Corpus corpus;
  const std::string path = corpus.paths[3];
  const bool vanishes = GENERATE(true, false);
  const Happening tokenizer([&] {
    if (vanishes)
      fs::remove(path);
    else
      test::write(path, read_file(path) + line_with("more"));
  });
  const PrepareOptions options{
      .inputs = {corpus.folder / "s*.jsonl*"}, .tokenizer = tokenizer, .out = corpus.folder / "s"};
  const std::string refusal = corpus.refusal(options);
  CHECK_THAT(refusal, Catch::StartsWith(path + (vanishes ? ": cannot be opened: No such file" : ": had ")));
  CHECK(fs::exists(options.out + "/shard_00000002.h5"));
  CHECK_FALSE(fs::exists(options.out + "/shard_00000003.h5"));
}

TEST_CASE("the share of broken lines is judged once, at the end", "[data][prepare]") {
  const Setup setup;
  setup.shard("a.jsonl", lines_with(Documents(3, "text")) + "broken\nbroken\n" + lines_with(Documents(5, "text")));
  setup.shard("b.jsonl", lines_with(Documents(10, "more")));
  auto options = setup.options("s", {setup.folder / "*.jsonl"});
  options.threads = GENERATE(1, 4);
  options.max_bad_share = 0.1;  // 2 of 20: just allowed
  CHECK(setup.refusal(options).empty());
  options.out = setup.folder / "t";
  options.max_bad_share = 0.09;
  const std::string refusal = setup.refusal(options);
  CHECK_THAT(refusal, Contains("2 of 20 lines are broken, above --max-bad-share 0.09: 2 not JSON (first a.jsonl:4: "));
  CHECK(setup.refusal(options) == refusal);  // and again, with nothing left to do
  options.max_bad_share = 0.1;
  CHECK(setup.refusal(options).empty());
  CHECK(files_of(setup.folder / "s") == files_of(setup.folder / "t"));
}

TEST_CASE("a shard that is no text is refused before it is read to the end", "[data][prepare]") {
  const Setup setup;
  std::string lines;
  for (int i = 0; i < 5000; ++i) lines += "{\"body\": \"text\"}\n";
  setup.shard("a.jsonl", lines);
  auto options = setup.options("s", {setup.folder / "a.jsonl"});
  CHECK_THAT(setup.refusal(options), Contains("a.jsonl: 1000 of its first 1000 lines are broken: 1000 without `text`"));
  options.max_bad_share = 1;
  CHECK_THAT(test::failure_of([&] { prepare_store(options); }),
             Contains("no document is left of 5000 lines: 5000 are broken"));
}

TEST_CASE("a store is gone on with only by the command that began it", "[data][prepare]") {
  const Setup setup;
  const std::string text = lines_with({"some", "text", "that", "is", "long"});
  setup.shard("a.jsonl", text);
  setup.shard("b.jsonl", text);
  const bool whole = GENERATE(false, true);
  auto options = setup.options("s", {setup.folder / "[ab].jsonl"});
  if (whole) {
    prepare_store(options);
  } else {
    test::write(setup.folder / "b.jsonl", std::string(text.size(), '?'));
    REQUIRE_FALSE(setup.refusal(options).empty());
  }
  const auto before = files_of(options.out);
  const auto refused = [&](auto change) {
    auto changed = options;
    change(changed);
    const std::string refusal = setup.refusal(changed);
    const std::string prefix = options.out + (whole ? ": is a store with " : ": was begun with ");
    const std::string suffix = "; repeat that command to go on with it, or choose another --out";
    if (!refusal.starts_with(prefix) || !refusal.ends_with(suffix)) return fmt::format("other: {}", refusal);
    return refusal.substr(prefix.size(), refusal.size() - prefix.size() - suffix.size());
  };
  const test::NumberedTokens numbered;
  CHECK(refused([](auto& o) { o.holdout = 0.3; }) == "holdout 0.2, not 0.3");
  CHECK(refused([](auto& o) { o.deduplicate = true; }) == "deduplicated false, not true");
  CHECK(refused([](auto& o) { o.min_bytes = 3; }) == "min_bytes null, not 3");
  CHECK(refused([](auto& o) { o.max_bytes = 3; }) == "max_bytes null, not 3");
  CHECK(refused([&](auto& o) { o.inputs = {setup.folder / "a.jsonl"}; }) == "2 shards, not 1");
  setup.shard("c.jsonl", text + text);
  CHECK(refused([&](auto& o) { o.inputs = {setup.folder / "[ac].jsonl"}; }) == "shard \"b.jsonl\", not \"c.jsonl\"");
  if (whole) {
    test::write(setup.folder / "b.jsonl", text + text);
    CHECK(refused([](auto&) {}) == fmt::format("shard \"b.jsonl\" of {} bytes, not {}", text.size(), 2 * text.size()));
    test::write(setup.folder / "b.jsonl", text);
  }
  PrepareOptions other{.inputs = options.inputs, .tokenizer = numbered, .out = options.out, .holdout = 0.2};
  CHECK_THAT(setup.refusal(other), Contains("with tokenizer \"bytes\", not \"numbered\""));
  CHECK(files_of(options.out) == before);

  const auto changed = fs::last_write_time(whole ? manifest_file(options.out) : options.out + "/parts/plan.json");
  if (whole) {
    const Manifest again = prepare_store(options);  // nothing is done
    CHECK(again.files == Manifest::read(options.out).files);
    CHECK(fs::last_write_time(manifest_file(options.out)) == changed);
    CHECK(files_of(options.out) == before);
  }
}

TEST_CASE("what an end at a bad moment leaves beside a whole store goes away", "[data][prepare]") {
  const Setup setup;
  setup.shard("a.jsonl", lines_with({"some", "text"}));
  const auto options = setup.options("s", {setup.folder / "a.jsonl"});
  prepare_store(options);
  const auto whole = files_of(options.out);
  fs::create_directories(options.out + "/parts");
  fs::create_directories(options.out + "/.unfinished.parts.12");
  for (const char* name :
       {"parts/plan.json", "parts/shard_00000000.json.lock", ".unfinished.parts.12/x", ".unfinished.1.2.3"})
    test::write(options.out + "/" + name, "x");
  prepare_store(options);
  CHECK(files_of(options.out) == whole);
}
