#include "trainer/run_log.h"

#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <new>
#include <system_error>

#include "kernels/core/gpu.h"
#include "trainer/dist/launch.h"

namespace spikesink {
using Clock = std::chrono::steady_clock;

struct RunLog::Impl {
  explicit Impl(const std::string& file) : name(file), logger("run", open(file)) {
    logger.set_pattern("%Y-%m-%d %H:%M:%S  %v");
    logger.flush_on(spdlog::level::info);
    logger.set_error_handler([this](const std::string& reason) { throw cannot_write(name, reason); });
  }
  static DataError cannot_write(const std::string& file, const std::string& reason) {
    return DataError(file + ": cannot be written: " + reason + "; free some space or choose another run.dir");
  }
  static spdlog::sink_ptr open(const std::string& file) {
    try {
      return std::make_shared<spdlog::sinks::basic_file_sink_mt>(file);
    } catch (const spdlog::spdlog_ex& error) {
      throw cannot_write(file, error.what());
    }
  }
  void end_progress() {
    if (progress_open) std::fputs("\r\033[K", stdout);
    progress_open = false;
  }

  std::string name;
  spdlog::logger logger;
  bool terminal = shows_on_terminal();
  bool progress_open = false;
  Clock::time_point last_progress{};
};

RunLog::RunLog(const std::string& file) : impl_(std::make_unique<Impl>(file)) {}
RunLog::RunLog() = default;
RunLog::~RunLog() { close_progress(); }

void RunLog::line(const std::string& said) {
  if (!impl_) return;
  const std::string text = one_line(said);  // names of files are in it
  impl_->end_progress();
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
  impl_->logger.info(text);
}

void RunLog::note(const std::string& text) {
  if (impl_) impl_->logger.info(one_line(text));
}

void RunLog::step(const std::string& text) {
  if (!impl_) return;
  if (!impl_->terminal) return line(text);
  impl_->logger.info(text);
  progress(text);
}

void RunLog::progress(const std::string& text) {
  const auto now = Clock::now();
  if (!impl_ || !impl_->terminal || now - impl_->last_progress < std::chrono::milliseconds(100)) return;
  impl_->last_progress = now;
  impl_->progress_open = true;
  std::printf("\r\033[K%s", text.c_str());
  std::fflush(stdout);
}

void RunLog::close_progress() {
  if (!impl_) return;
  if (impl_->progress_open) std::fputs("\n", stdout);
  impl_->progress_open = false;
  std::fflush(stdout);
}

Ending ending_of(const std::exception& error, MemoryOf memory) {
  const auto mend = [memory](const char* of_others) {
    constexpr const char* kOfModel = "lower train.micro_batch, train.batch_tokens, model.context or the model's size";
    return memory == MemoryOf::kModel ? kOfModel : of_others;
  };
  if (const auto* failure = dynamic_cast<const Failure*>(&error)) return {failure->code, failure->what()};
  if (dynamic_cast<const CudaOutOfMemory*>(&error))
    return {ExitCode::kUsage,
            fmt::format("{}; {}", error.what(), mend("close what else uses it, or choose smaller --sizes"))};
  if (dynamic_cast<const std::bad_alloc*>(&error))
    return {
        ExitCode::kUsage,
        fmt::format(
            "out of memory; {}",
            mend("free some, or raise the limit (ulimit -v); fewer --threads take less, where a command has them"))};
  if (const auto* file = dynamic_cast<const std::filesystem::filesystem_error*>(&error))
    return {ExitCode::kData, one_line(fmt::format("{}: {}; look at the path and its permissions",
                                                  file->path1().string(), file->code().message()))};
  const auto* system = dynamic_cast<const std::system_error*>(&error);
  if (system && system->code() == std::errc::resource_unavailable_try_again)
    return {ExitCode::kUsage,
            "no more threads or processes can be started; lower data.threads, --threads or OMP_NUM_THREADS, or raise "
            "the limits (ulimit -u, -v)"};
  return {ExitCode::kInternal, "internal error: " + one_line(error.what())};
}

void note_ending(const std::string& log_file, const std::exception& error) noexcept {
  try {
    RunLog(log_file).note(ending_of(error).text);
  } catch (const std::exception&) {  // the first error is the one to see
  }
}

}  // namespace spikesink
