#include "models/hf/model_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <type_traits>

#include "io/failure.h"

namespace spikesink {
namespace {

template <class T>
constexpr bool kIsOptional = requires(T value) {
  value.has_value();
};

struct Writer {
  nlohmann::ordered_json& out;

  template <class T>
  void operator()(const char* key, T& member, const char*) const {
    if constexpr (kIsOptional<T>) {
      if (member) out[key] = *member;
    } else if constexpr (std::is_enum_v<T>) {
      out[key] = names_of(member).at(static_cast<std::size_t>(member));
    } else if constexpr (std::is_class_v<T>) {
      member.fields(Writer{out[key]});
    } else {
      out[key] = member;
    }
  }
};

class Reader {
 public:
  Reader(const nlohmann::json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json_.is_object()) throw DataError(where_ + ": is no map of a model's keys; export the model anew");
  }

  template <class T>
  void operator()(const char* key, T& member, const char*) {
    known_.insert(key);
    const auto found = json_.find(key);
    if (found == json_.end()) return;
    const std::string where = where_ + "." + key;
    const auto require = [&](bool fits) {
      if (!fits)
        throw DataError(fmt::format("{}: {}, which is no value of it; export the model anew", where, found->dump()));
    };
    if constexpr (kIsOptional<T>) {
      (*this)(key, member.emplace(), "");
    } else if constexpr (std::is_enum_v<T>) {
      const auto names = names_of(T{});
      const auto name = std::ranges::find(names, found->is_string() ? found->get<std::string>() : std::string());
      require(name != names.end());
      member = static_cast<T>(name - names.begin());
    } else if constexpr (std::is_class_v<T>) {
      Reader inner(*found, where);
      member.fields(inner);
      inner.finish();
    } else {
      require(std::is_same_v<T, bool>       ? found->is_boolean()
              : std::is_floating_point_v<T> ? found->is_number()
                                            : found->is_number_integer());
      member = found->get<T>();
    }
  }

  void finish() const {
    for (const auto& [key, value] : json_.items())
      if (!known_.contains(key))
        throw DataError(fmt::format("{}.{}: unknown key; the model was exported by a later version, import it by that",
                                    where_, key));
  }

 private:
  const nlohmann::json& json_;
  std::string where_;
  std::set<std::string> known_;
};

}  // namespace

nlohmann::ordered_json model_json(const ModelConfig& model) {
  ModelConfig copy = model;
  if (copy.ffn.kind == FfnKind::kSwiGlu || copy.ffn.kind == FfnKind::kGelu)
    copy.ffn.d_hidden = copy.ffn.hidden(copy.d_model);
  nlohmann::ordered_json out;
  copy.fields(Writer{out});
  return out;
}

ModelConfig model_of_json(const nlohmann::json& json, const std::string& where) {
  ModelConfig model;
  Reader reader(json, where);
  model.fields(reader);
  reader.finish();
  if (const std::string problem = problem_of(model); !problem.empty()) throw DataError(where + ": " + problem);
  return model;
}

}  // namespace spikesink
