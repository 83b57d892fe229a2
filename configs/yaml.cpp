#include "configs/yaml.h"

#include <yaml-cpp/eventhandler.h>

#include <fstream>
#include <map>
#include <sstream>

#include "io/failure.h"
#include "io/listing.h"

namespace spikesink {
namespace fs = std::filesystem;
namespace {

/// Files that name each other twice are read 2^n times, and a long chain takes much of the stack.
constexpr int kMostFiles = 100;
constexpr std::size_t kMostBytes = 4 << 20;

/// Only notes where a document begins.
class DocumentStart final : public YAML::EventHandler {
 public:
  int line = 0;

 private:
  void OnDocumentStart(const YAML::Mark& mark) override { line = mark.line + 1; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

}  // namespace

void refuse(const std::string& message) { throw UsageError(message); }

void refuse(const Place& place, std::string_view key, std::string_view what) {
  refuse(fmt::format("{}: {}: {}", place.text(), key, what));
}

std::string open_yaml(const std::string& file, const std::string& kind, const std::optional<Mention>& mention,
                      FileChain& open) {
  const auto fail = [&](const std::string& what) {
    refuse(mention ? fmt::format("{}: {}: {}: {}", mention->place.text(), mention->key, file, what)
                   : file + ": " + what);
  };
  std::error_code error;
  if (!is_there(file))
    fail("no such file; the path is relative to the " + (mention ? mention->relative_to : "current folder"));
  if (fs::is_directory(file, error))
    fail("is a folder, not a " + kind + " file" +
         (fs::exists(file + "/config.yaml", error) ? "; a run's config is config.yaml in it" : ""));
  if (mention && !fs::is_regular_file(file, error))
    fail("is no plain file: what a file names must end when it is read");
  const fs::path canonical = fs::weakly_canonical(file, error);
  if (std::find(open.chain.begin(), open.chain.end(), canonical) != open.chain.end())
    fail("extends this file in turn; a chain of files must end");
  if (++open.num_read > kMostFiles)
    fail(fmt::format("is one file too many: {} are read already, each as often as it is named; name it once",
                     kMostFiles));
  std::ifstream in(file, std::ios::binary);
  std::string text, piece(1 << 16, '\0');
  while (in && text.size() <= kMostBytes) {
    in.read(piece.data(), std::ssize(piece));
    text.append(piece, 0, static_cast<std::size_t>(in.gcount()));
  }
  if (!in.eof() && text.size() <= kMostBytes) fail("cannot be read");
  if (text.size() > kMostBytes) fail(fmt::format("is larger than {} MiB, as no {} file is", kMostBytes >> 20, kind));
  open.chain.push_back(canonical);
  return text;
}

YAML::Node parse_yaml(const std::string& text, const Place& place) {
  const auto at_line = [&](int line) { return place.line > 0 ? Place{place.source, std::max(line, 1), {}} : place; };
  try {
    const YAML::Node document = YAML::Load(text);
    // Load() is silent about what follows the first document, and LoadAll() does not end on a stray comma.
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    DocumentStart start;
    if (parser.HandleNextDocument(start) && parser.HandleNextDocument(start))
      refuse(at_line(start.line).text() +
             ": not valid YAML: a stray character or a second document follows; remove it");
    return document;
  } catch (const YAML::Exception& error) {
    refuse(at_line(error.mark.line + 1).text() + ": not valid YAML: " + error.msg +
           "; a text with special characters needs quotes");
  }
}

std::vector<std::pair<std::string, Written>> keys_of(const YAML::Node& map, const std::string& prefix,
                                                     const Place& place) {
  std::vector<std::pair<std::string, Written>> keys;
  std::map<std::string, Place> seen;
  for (const auto& pair : map) {
    const Place at = place.of(pair.first);
    if (!pair.first.IsScalar()) refuse(at.text() + ": a key must be one word");
    const std::string& key = pair.first.Scalar();
    const auto [first, is_new] = seen.emplace(key, at);
    if (!is_new)
      refuse(at, prefix.empty() ? key : prefix + "." + key,
             fmt::format("is given twice, first at {}; keep one", first->second.at()));
    keys.emplace_back(key, Written{pair.second, at});
  }
  return keys;
}

std::optional<Written> extends_of(const YAML::Node& document, const Place& top) {
  for (const auto& pair : document)
    if (pair.first.IsScalar() && pair.first.Scalar() == "extends") return Written{pair.second, top.of(pair.first)};
  return std::nullopt;
}

std::vector<std::string> bases_of(const Written& extends) {
  const YAML::Node& value = extends.value;
  const Place& place = extends.place;
  std::vector<std::string> files;
  const auto add = [&](const YAML::Node& base) {
    if (!base.IsScalar())
      refuse(place, "extends", "must be a file, or a list of files: later ones override earlier ones");
    files.push_back((place.folder() / base.Scalar()).lexically_normal().string());
  };
  if (!value.IsSequence()) {
    add(value);
    return files;
  }
  if (value.size() == 0) refuse(place, "extends", "names no file; remove it");
  for (const YAML::Node& base : value) add(base);
  return files;
}

std::pair<std::string, Written> parse_override(const std::string& text) {
  const Place place{"--set " + text, 0, {}};
  const std::size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos) refuse(place.text() + ": must be key=value, e.g. train.steps=100");
  return {text.substr(0, equals), Written{parse_yaml(text.substr(equals + 1), place), place}};
}

std::string flow_of(const YAML::Node& value) {
  YAML::Emitter out;
  out << YAML::Flow << value;
  return out.c_str();
}

std::string suggest_of(std::string_view word, const std::vector<std::string_view>& known) {
  const std::string_view near = nearest(word, known);
  if (!near.empty()) return fmt::format("did you mean {}?", near);
  return fmt::format("the keys here are {}", fmt::join(known, ", "));
}

void require_map(const YAML::Node& value, const Place& place, const std::string& key) {
  if (value.IsNull()) refuse(place, key, "has no value; it is a map of keys, give one or remove it");
  if (value.IsMap()) return;
  const std::string what = value.IsScalar() ? quoted(value.Scalar()) + " is not a map" : "is a list, but must be a map";
  refuse(place, key, what + " of keys");
}

}  // namespace spikesink
