#include "data/store/verify.h"

#include <catch2/catch.hpp>
#include <filesystem>

#include "data/store/prepare.h"
#include "data/store/show.h"
#include "io/h5.h"
#include "store.h"

using namespace spikesink;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {
using Tokens = std::vector<std::int32_t>;
using Documents = std::vector<Tokens>;

/// A store that prepare_store() made of numbered documents (4-byte tokens) or of some text (2-byte), in three files.
std::string prepared(const test::Scratch& folder, int token_bytes) {
  const test::NumberedTokens numbered;
  const auto bytes = make_tokenizer("bytes");
  std::vector<std::string> inputs;
  if (token_bytes == 4)
    inputs = test::write_numbered(folder, 60, 3);
  else
    for (int s = 0; s < 3; ++s) {
      std::string text;
      for (int d = 0; d < 20; ++d) text += test::line_of(fmt::format("document {} of {}: {}", d, s, s * 1000003 * d));
      inputs.push_back(folder / fmt::format("s{}.jsonl", s));
      test::write(inputs.back(), text);
    }
  const Tokenizer& tokenizer = token_bytes == 4 ? static_cast<const Tokenizer&>(numbered) : *bytes;
  const Manifest made =
      prepare_store({.inputs = inputs, .tokenizer = tokenizer, .out = folder / "s", .holdout = 0.3, .report = {}});
  REQUIRE(made.token_bytes == token_bytes);
  return folder / "s";
}

std::vector<std::string> findings_of(const std::string& store, int threads = 2) {
  return verify_store({.store = store, .threads = threads, .report = {}}).findings;
}
std::string text_of(const std::vector<std::string>& findings) { return fmt::format("{}", fmt::join(findings, "\n")); }

/// A store of one file with these documents, whatever they hold; its counts and checksums are right.
std::string written(const std::string& path, const Documents& train, const Documents& held_out = {}) {
  fs::create_directories(path);
  const auto bytes = make_tokenizer("bytes");
  Manifest manifest{.tokenizer = bytes->name(), .vocab_size = bytes->vocab_size(), .end_of_text = 256, .files = {}};
  StoreFileWriter writer(path + "/a.h5", 2);
  for (const Tokens& document : train) writer.add(document, false);
  for (const Tokens& document : held_out) writer.add(document, true);
  manifest.files.push_back(writer.finish());
  manifest.files.back().name = "a.h5";
  manifest.lines.documents = static_cast<std::int64_t>(train.size() + held_out.size());
  write_atomically(manifest_file(path), manifest.to_json());
  return path;
}

struct AllTokens {
  Tokens train, held_out;
  bool operator==(const AllTokens&) const = default;
};
AllTokens tokens_of(const std::string& path) {
  AllTokens all;
  for (const StorePart part : {StorePart::kTrain, StorePart::kHeldOut}) {
    const TokenStore store(path, part);
    Tokens& to = part == StorePart::kTrain ? all.train : all.held_out;
    to.resize(static_cast<std::size_t>(store.tokens()));
    store.read(0, to);
  }
  return all;
}
}  // namespace

TEST_CASE("a prepared store is found sound, and all of it is read", "[data][verify]") {
  const test::Scratch folder;
  const int token_bytes = GENERATE(2, 4);
  const std::string path = prepared(folder, token_bytes);
  std::int64_t reported = -1;
  const Verification result = verify_store(
      {.store = path, .threads = GENERATE(1, 3), .report = [&](const VerifyProgress& p) { reported = p.bytes_done; }});
  CHECK(text_of(result.findings).empty());
  std::int64_t bytes = 0;
  for (const StoreFile& file : result.manifest.files)
    for (const TokenRow& row : {file.train, file.held_out}) {
      CHECK(row.documents > 0);
      bytes += row.tokens * token_bytes + 8 * (row.documents + 1);
    }
  CHECK(result.bytes == bytes);
  CHECK(reported == bytes);
}

TEST_CASE("a flipped bit is found wherever data lie, and found or without effect elsewhere", "[data][verify]") {
  const test::Scratch folder;
  const int token_bytes = GENERATE(2, 4);
  const std::string path = prepared(folder, token_bytes);
  const AllTokens whole = tokens_of(path);
  const std::string name = path + "/shard_00000001.h5", sound = read_file(name);

  std::vector<bool> is_data(sound.size());
  {
    const H5File file = H5File::open(name);
    const auto mark = [&](const H5Place& place, int bytes) {
      REQUIRE(place.count > 0);
      std::fill_n(is_data.begin() + place.offset, place.count * bytes, true);
    };
    for (const char* group : {"", "held_out/"}) {
      mark(file.place_of<std::int64_t>(group + std::string("documents")), 8);
      const std::string tokens = group + std::string("tokens");
      mark(token_bytes == 2 ? file.place_of<std::uint16_t>(tokens) : file.place_of<std::int32_t>(tokens), token_bytes);
    }
  }
  const Random random{.seed = 5};
  int of_data = 0, of_others = 0;
  for (std::uint64_t i = 0; i < 400; ++i) {
    // Half of them where they may fall, half outside of the data.
    auto at = static_cast<std::size_t>(random.below(3 * i, sound.size()));
    while (i % 2 == 1 && is_data[at]) at = (at + 1) % sound.size();
    std::string damaged = sound;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << random.below(3 * i + 1, 8)));
    test::write(name, damaged);
    const std::vector<std::string> findings = findings_of(path, 1);
    CAPTURE(at, is_data[at], text_of(findings));
    (is_data[at] ? of_data : of_others) += 1;
    for (const std::string& finding : findings) CHECK_THAT(finding, Contains("shard_00000001.h5: "));
    if (is_data[at])
      CHECK_FALSE(findings.empty());
    else if (findings.empty())
      CHECK(tokens_of(path) == whole);
  }
  CHECK(of_data > 20);
  CHECK(of_others > 150);
}

TEST_CASE("what is wrong in a store is named by file, all of it", "[data][verify]") {
  const test::Scratch folder;
  const std::string path = prepared(folder, 2);
  const std::string first = path + "/shard_00000000.h5", second = path + "/shard_00000001.h5";
  Manifest manifest = Manifest::read(path);
  const auto findings = [&] { return text_of(findings_of(path)); };

  SECTION("files that are gone and files that do not belong, at once") {
    fs::remove(first);
    test::write(second, "no HDF5");
    test::write(path + "/left.h5.unfinished", "");
    const std::string found = findings();
    CHECK_THAT(found, Contains("shard_00000000.h5: cannot be opened: No such file"));
    CHECK_THAT(found, Contains("shard_00000001.h5: cannot be read as HDF5"));
    CHECK_THAT(found, Contains("left.h5.unfinished: does not belong to the store"));
    CHECK(std::ranges::count(found, '\n') == 2);
  }
  SECTION("a file that is cut off") {
    fs::resize_file(second, fs::file_size(second) - 1);
    CHECK_THAT(findings(), Contains("shard_00000001.h5: "));
  }
  SECTION("another file of the same store in its place: counts and sums of both parts") {
    fs::copy_file(first, second, fs::copy_options::overwrite_existing);
    const std::string found = findings();
    CHECK_THAT(found,
               Contains("shard_00000001.h5: documents: ") && Contains("shard_00000001.h5: held_out/documents: "));
    CHECK_THAT(found, !Contains("shard_00000000.h5"));
  }
  SECTION("tokens of another width, and datasets that do not belong") {
    H5File file = H5File::create(second);
    const std::vector<std::int32_t> ids{1, 256};
    const std::vector<std::int64_t> starts{0, 2};
    file.write<std::int32_t>("tokens", ids, {2});
    file.write<std::int64_t>("documents", starts, {2});
    file.write<std::int64_t>("more", starts, {2});
    file.close();
    manifest.files[1].train = {.tokens = 2, .documents = 1};
    test::write(manifest_file(path), manifest.to_json());
    const std::string found = findings();
    CHECK_THAT(found, Contains("shard_00000001.h5: more: does not belong"));
    CHECK_THAT(found, Contains("tokens is no contiguous row of numbers of 2 bytes"));
    CHECK_THAT(found, Contains("shard_00000001.h5: has no held_out/documents"));
  }
  SECTION("a manifest that contradicts itself, or says another sum") {
    manifest.lines.documents += 1;
    manifest.files[2].held_out.tokens_crc ^= 1;
    manifest.files[0].train.documents_crc ^= 1;
    manifest.files[1].bytes += 1;
    manifest.files[2].train.tokens_at -= 2;
    test::write(manifest_file(path), manifest.to_json());
    const std::string found = findings();
    CHECK_THAT(found, Contains("manifest.json: counts 60 documents in its files and left out, but 61 in the sources"));
    CHECK_THAT(found, Contains("shard_00000002.h5: held_out/tokens: its CRC-32C is "));
    CHECK_THAT(found, Contains("shard_00000000.h5: documents: its CRC-32C is "));
    CHECK_THAT(found,
               Contains(fmt::format("shard_00000001.h5: has {} bytes, the manifest says ", fs::file_size(second))));
    CHECK_THAT(found, Contains("shard_00000002.h5: tokens: lies at byte "));
    CHECK(std::ranges::count(found, '\n') == 4);
  }
  SECTION("no manifest: nothing to hold it against") {
    fs::remove(manifest_file(path));
    CHECK_THAT(test::failure_of([&] { findings(); }), Contains("is no whole token store"));
  }
}

#ifndef __SANITIZE_ADDRESS__  // whose own memory has no room under the limit
TEST_CASE("a file that there is no memory for is a finding, not the end of the program", "[data][verify]") {
  const test::Scratch folder;
  const std::string path = prepared(folder, 2);
  constexpr std::int64_t kMany = std::int64_t{1} << 28;  // 2 GB, of which the disk holds nothing
  H5File file = H5File::create(path + "/shard_00000001.h5");
  file.make<std::uint16_t>("tokens", {kMany});
  file.make<std::int64_t>("documents", {kMany});
  file.write_stretch<std::int64_t>("documents", kMany - 1, std::vector<std::int64_t>{kMany});  // so all has its place
  file.close();
  Manifest manifest = Manifest::read(path);
  manifest.files[1].train = {.tokens = kMany, .documents = kMany - 1};
  test::write(manifest_file(path), manifest.to_json());

  const std::string found = [&] {
    const test::MemoryLimit limit(512 << 20);
    return text_of(findings_of(path));
  }();
  CHECK_THAT(found, Contains("shard_00000001.h5: cannot be checked: std::bad_alloc"));
  CHECK_THAT(found, !Contains("shard_00000002.h5"));
}
#endif

TEST_CASE("documents that are not what they should be are found though all sums are right", "[data][verify]") {
  const test::Scratch folder;
  const auto found = [&](const Documents& train, const Documents& held_out = {}) {
    return text_of(findings_of(written(folder / "w", train, held_out)));
  };
  CHECK(found({{1, 2, 256}, {256}}, {{7, 256}}).empty());
  CHECK_THAT(found({{1, 256}, {2, 3}, {4, 256}}),
             Contains("a.h5: tokens: 1 documents do not end with the end of text 256, the first is document 1"));
  CHECK_THAT(found({{1, 256}}, {{9, 256, 8, 256}}),
             Contains("a.h5: held_out/tokens: 1 ends of text stand inside documents, the first is token 1"));
  CHECK_THAT(found({{1, 300, 301, 256}}),
             Contains("a.h5: tokens: 2 ids lie outside of the vocabulary of 258, the first is token 1"));
  CHECK_THAT(found({{1, 256}, {}, {2, 256}}),
             Contains("a.h5: documents: 1 documents do not end behind their start, the first is document 1"));
}

TEST_CASE("a sample's documents are those that its tokens lie in", "[data][show]") {
  const test::Scratch folder;
  test::write_store(folder / "s", {300, 1, 0, 200});
  const StorePart part = GENERATE(StorePart::kTrain, StorePart::kHeldOut);
  const TokenStore store(folder / "s", part);
  const auto starts = store.document_starts(0, store.tokens());
  const auto last = store.tokens();
  for (const auto& [first, count] : {std::pair<std::int64_t, std::int64_t>{0, last}, {last / 3, 40}, {last - 1, 1}}) {
    const auto pieces = document_pieces(store, part, first, count);
    Tokens want(static_cast<std::size_t>(count)), got;
    store.read(first, want);
    std::int64_t at = first, begin = 0;
    std::size_t file = 0;
    for (const DocumentPiece& piece : pieces) {
      for (; file < piece.file; ++file) {
        const StoreFile& passed = store.manifest().files[file];
        begin += part == StorePart::kTrain ? passed.train.tokens : passed.held_out.tokens;
      }
      // The document that starts last at or before this token, counted from the file's first.
      const auto document = std::ranges::upper_bound(starts, at) - starts.begin() - 1;
      const auto files_first = std::ranges::lower_bound(starts, begin) - starts.begin();
      CHECK(piece.document == document - files_first);
      CHECK(piece.token == at - starts[static_cast<std::size_t>(document)]);
      got.insert(got.end(), piece.tokens.begin(), piece.tokens.end());
      at += static_cast<std::int64_t>(piece.tokens.size());
      const bool at_start = std::ranges::binary_search(starts, at);
      CHECK((at_start || at == first + count));
    }
    CHECK(got == want);
  }
}
