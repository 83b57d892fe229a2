#pragma once
#include <cstddef>
#include <string>

namespace spikesink {

/// A library that is opened when it is first needed, instead of linked: without it runs all that does not ask for it.
/// It is looked for as the dynamic linker would, in LD_LIBRARY_PATH, the program's run path and the system's folders,
/// and stays open to the end, since its threads and exit handlers may outlive who opened it.
class SharedLibrary {
 public:
  /// The address of a function, for a pointer of the function's own type.
  class Symbol {
   public:
    explicit Symbol(void* address) : address_(address) {}
    template <class F>
    operator F*() const {
      return reinterpret_cast<F*>(address_);
    }

   private:
    void* address_;
  };

  /// `file` is its soname, with the major version that was compiled against. `name` and `mend` are for messages: what
  /// it is, and how to come by it. Throws UsageError where it cannot be opened.
  SharedLibrary(std::string name, const std::string& file, std::string mend);

  /// The function of that name. Throws UsageError where there is none: the library is older than what was compiled
  /// against.
  Symbol operator[](const char* function) const;

  /// Throws UsageError if the version that the library says it has is older than `oldest`.
  void require_version(std::size_t found, std::size_t oldest) const;

 private:
  [[noreturn]] void refuse(const std::string& why) const;

  std::string name_, mend_;
  void* handle_;
};

/// 91900 -> "9.19.0", as cuBLASLt, cuDNN and NCCL count.
std::string version_text(std::size_t version);

}  // namespace spikesink

/// A member of a struct whose SharedLibrary is `library`: the function of that name, by its name and of its type.
// NOLINTNEXTLINE(bugprone-macro-parentheses): a name
#define SPIKESINK_FUNCTION(function) decltype(&::function) function = library[#function]
