#pragma once

namespace CLI {
class App;
}

namespace spikesink::cli {

// One function a subcommand: it declares its options on `app` and, as the callback, what runs when it is chosen. A command
// ends by returning, or by throwing a Failure (io/failure.h), which main() turns into one line and the exit code.

}  // namespace spikesink::cli
