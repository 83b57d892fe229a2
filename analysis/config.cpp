#include "analysis/config.h"

#include <sstream>

namespace spikesink {

std::string problem_of(const ProbeConfig& c) {
  std::ostringstream out;
  if (c.sequences < 1)
    out << "metrics.sequences: " << c.sequences << ", must be at least 1";
  else if (c.sequences > 1 << 24)
    out << "metrics.sequences: " << c.sequences << ", must be at most " << (1 << 24);
  else if (!(c.sink_epsilon > 0 && c.sink_epsilon < 1))
    out << "metrics.sink_epsilon: " << c.sink_epsilon << ", must be above 0 and below 1; 0.3 is usual";
  else if (c.sink_length < 2)
    out << "metrics.sink_length: " << c.sink_length << ", must be at least 2; 64 is usual";
  else if (!(c.spike.abs >= 0))
    out << "metrics.spike.abs: " << c.spike.abs << ", must not be negative; 100 is usual";
  else if (!(c.spike.ratio >= 0))
    out << "metrics.spike.ratio: " << c.spike.ratio << ", must not be negative; 1000 is usual";
  return out.str();
}

}  // namespace spikesink
