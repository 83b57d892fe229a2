#include "kernels/core/shared_library.h"

#include <dlfcn.h>
#include <link.h>

#include <cstdlib>

#include "io/failure.h"

namespace spikesink {
namespace {
std::string searched() {
  const char* const folders = std::getenv("LD_LIBRARY_PATH");
  return std::string("looked in LD_LIBRARY_PATH (") + (folders && *folders ? folders : "not set") +
         "), the program's run path and the system's folders";
}
}  // namespace

SharedLibrary::SharedLibrary(std::string name, const std::string& file, std::string mend)
    : name_(std::move(name)), mend_(std::move(mend)), handle_(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (!handle_) refuse(" is missing: " + std::string(dlerror()) + "; " + searched());
}

SharedLibrary::Symbol SharedLibrary::operator[](const char* function) const {
  void* const address = dlsym(handle_, function);
  if (!address) refuse(" is too old: " + std::string(dlerror()));
  return Symbol(address);
}

void SharedLibrary::require_version(std::size_t found, std::size_t oldest) const {
  if (found >= oldest) return;
  const link_map* file = nullptr;
  const bool known = dlinfo(handle_, RTLD_DI_LINKMAP, &file) == 0;
  refuse(" is too old: " + std::string(known ? file->l_name : "the one found") + " is version " + version_text(found) +
         ", this build needs " + version_text(oldest) + " or newer");
}

void SharedLibrary::refuse(const std::string& why) const { throw UsageError(name_ + why + "; " + mend_); }

std::string version_text(std::size_t version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

}  // namespace spikesink
