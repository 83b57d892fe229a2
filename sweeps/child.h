#pragma once
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace spikesink {

/// A process that this one has started, with empty input. It is in a group of its own, so that Ctrl-C on a terminal
/// comes to this process alone; it is told to stop (SIGUSR1) if this one dies, and where the object goes while it runs,
/// which then waits for it. To be made on the main thread, with whose end the system takes that of the process.
class Child {
 public:
  /// `environment`: NAME=value, beside or instead of ours. stdout and stderr go to the end of the file `output`.
  /// UsageError with the system's reason if the program, looked up on the PATH, cannot be started.
  Child(const std::vector<std::string>& command, const std::vector<std::string>& environment,
        const std::string& output);
  ~Child();
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;

  pid_t id() const { return id_; }
  void stop() const;  ///< SIGUSR1
  /// Its exit code, or 128 + signal; nothing while it runs. Once it has ended the object is done with.
  std::optional<int> ended();

 private:
  pid_t id_ = 0;  ///< 0: ended
};

}  // namespace spikesink
