#pragma once
#include <map>
#include <memory>
#include <typeindex>

namespace spikesink {

/// What libraries (cuBLASLt, cuDNN) keep for a stream: handles, workspaces, plans by shape. Each library's one file
/// has a type for it, made when it is first asked for and gone with the stream's last copy.
class Libraries {
 public:
  template <class T, class... Args>
  T& get(const Args&... args) {
    std::shared_ptr<void>& slot = slots_[typeid(T)];
    if (!slot) slot = std::make_shared<T>(args...);
    return *static_cast<T*>(slot.get());
  }

 private:
  std::map<std::type_index, std::shared_ptr<void>> slots_;
};

}  // namespace spikesink
