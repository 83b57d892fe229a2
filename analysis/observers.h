#pragma once
#include <utility>
#include <vector>

#include "models/observer.h"

namespace spikesink {

/// Lets several observers see one forward pass.
class Observers final : public Observer {
 public:
  explicit Observers(std::vector<Observer*> observers) : observers_(std::move(observers)) {}
  void activation(std::string_view path, const Tensor& value) override {
    for (Observer* each : observers_) each->activation(path, value);
  }
  void attention(std::string_view path, const AttentionTap& tap) override {
    for (Observer* each : observers_) each->attention(path, tap);
  }
  void gate(std::string_view path, const GateTap& tap) override {
    for (Observer* each : observers_) each->gate(path, tap);
  }
  void swiglu(std::string_view path, const SwiGluTap& tap) override {
    for (Observer* each : observers_) each->swiglu(path, tap);
  }

 private:
  std::vector<Observer*> observers_;
};

}  // namespace spikesink
