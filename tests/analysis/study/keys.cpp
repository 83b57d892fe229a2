// Geometry of keys against plain loops over the queries and keys that a model shows.
#include "analysis/study/keys.h"

#include <algorithm>

#include "analysis/sinks.h"
#include "tests/analysis/study/support.h"

namespace spikesink {
namespace {

using test::check_same;
using test::doubles;
using test::integers;
using test::kD, test::kH, test::kK, test::kS, test::kT;

using Rows = std::vector<std::vector<double>>;

std::vector<std::vector<double>> covariance(const Rows& rows) {
  const std::size_t d = rows.front().size();
  const auto n = static_cast<double>(rows.size());
  std::vector<double> mean(d);
  for (const auto& row : rows)
    for (std::size_t i = 0; i < d; ++i) mean[i] += row[i] / n;
  std::vector<std::vector<double>> out(d, std::vector<double>(d));
  for (const auto& row : rows)
    for (std::size_t i = 0; i < d; ++i)
      for (std::size_t j = 0; j < d; ++j) out[i][j] += (row[i] - mean[i]) * (row[j] - mean[j]) / n;
  return out;
}

double ratio(const Rows& rows) {
  double trace = 0, squares = 0;
  const auto c = covariance(rows);
  for (std::size_t i = 0; i < c.size(); ++i) {
    trace += c[i][i];
    for (const double value : c[i]) squares += value * value;
  }
  return trace * trace / squares;
}

/// q of head h (0 to H - 1) or k of key head h - H.
std::vector<double> row_of(const test::Seen& seen, std::size_t layer, std::int64_t n, std::int64_t h) {
  const auto& qkv = seen.heads[layer].qkv;
  const auto begin = qkv.begin() + n * (kH + 2 * kK) * kD + h * kD;
  return {begin, begin + kD};
}

double logit(const test::Seen& seen, std::size_t layer, std::int64_t q, std::int64_t k, std::int64_t h) {
  const auto a = row_of(seen, layer, q, h), b = row_of(seen, layer, k, kH + h / (kH / kK));
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum / std::sqrt(static_cast<double>(kD));
}

}  // namespace

TEST_CASE("a participation ratio counts directions of equal variance", "[analysis][study]") {
  CHECK(participation_ratio({1, 0, 0, 1}, 2) == Approx(2));
  CHECK(participation_ratio({1, 1, 1, 1}, 2) == Approx(1));
  CHECK(participation_ratio({2, 0, 0, 1}, 2) == Approx(9.0 / 5));
  CHECK(participation_ratio({0, 0, 0, 0}, 2) == 0);
}

TEST_CASE("dimension and logits of sink keys are those of plain loops, with documents and without",
          "[analysis][study]") {
  const bool documents = GENERATE(false, true);
  CAPTURE(documents);
  test::SmallStudy small(test::study_config());
  // Half of the heads look for token 3, in a channel of each head that hardly turns.
  const auto embedding = test::weights(small.model, "model.embed_tokens.weight");
  for (std::size_t v = 0; v < 11; ++v) embedding[v * 16 + 1] = 1;
  embedding[3 * 16] = 5;
  for (const std::string path : {"model.layers.0.self_attn.", "model.layers.1.self_attn."}) {
    for (const std::size_t h : {0, 2}) test::weights(small.model, path + "q_proj.weight")[(h * kD + 2) * 16 + 1] += 2;
    for (std::size_t k = 0; k < kK; ++k) test::weights(small.model, path + "k_proj.weight")[(k * kD + 2) * 16] += 2;
  }
  if (documents) small.study.end_of_text = small.tokens[4];
  small.study.sink_epsilon = 0.35;
  Results r;
  key_geometry(small.study, r);
  const test::Seen seen(small.study);

  std::vector<std::vector<std::int64_t>> votes(kS, std::vector<std::int64_t>(kT));
  std::vector<double> shares(2 * kH);
  for (std::size_t l = 0; l < 2; ++l)
    for (std::int64_t h = 0; h < kH; ++h)
      for (std::int64_t s = 0; s < kS; ++s) {
        const auto A = seen.probabilities(l, s, h);
        std::vector<double> alpha(kT / 2);
        for (const auto& row : A)
          for (std::size_t k = 0; k < alpha.size(); ++k) alpha[k] += row[k] / kT;
        const auto top = std::ranges::max_element(alpha);
        if (*top <= 0.35) continue;
        ++votes[static_cast<std::size_t>(s)][static_cast<std::size_t>(top - alpha.begin())];
        shares[l * kH + static_cast<std::size_t>(h)] += 1.0 / kS;
      }
  std::vector<std::int64_t> sinks;
  for (const auto& row : votes) sinks.push_back(std::ranges::max_element(row) - row.begin());
  CHECK(integers(r, "sink_position") == sinks);
  REQUIRE(std::ranges::any_of(sinks, [](std::int64_t p) { return p > 0; }));

  double gaps[2] = {}, heads[2] = {};
  for (std::size_t l = 0; l < 2; ++l)
    for (std::int64_t h = 0; h < kH; ++h) {
      const std::size_t at = l * kH + static_cast<std::size_t>(h);
      CAPTURE(l, h);
      CHECK(doubles(r, "sink_share")[at] == Approx(shares[at]).margin(1e-12));
      Rows sink, others;
      double on_sink = 0, on_others = 0, queries = 0;
      for (std::int64_t n = 0; n < kS * kT; ++n) {
        const std::int64_t t = n % kT, p = sinks[static_cast<std::size_t>(n / kT)],
                           start = seen.first_keys[static_cast<std::size_t>(n)];
        (t == p ? sink : others).push_back(row_of(seen, l, n, kH + h / (kH / kK)));
        if (t <= p || start > p) continue;
        ++queries;
        on_sink += logit(seen, l, n, n - t + p, h);
        double sum = 0, count = 0;
        for (std::int64_t k = start; k <= t; ++k) {
          if (k == p) continue;
          sum += logit(seen, l, n, n - t + k, h);
          ++count;
        }
        on_others += sum / count;
      }
      check_same(doubles(r, "sink_dimension")[at], ratio(sink), 1e-8);
      check_same(doubles(r, "other_dimension")[at], ratio(others), 1e-8);
      check_same(doubles(r, "sink_logit")[at], on_sink / queries, 1e-8);
      check_same(doubles(r, "other_logit")[at], on_others / queries, 1e-8);
      check_same(doubles(r, "logit_gap")[at], (on_sink - on_others) / queries, 1e-8);
      const std::size_t kind = is_sink_head(shares[at]) ? 0 : 1;
      gaps[kind] += (on_sink - on_others) / queries;
      ++heads[kind];
    }
  CHECK(r.summary.at("sink_heads") == heads[0]);
  REQUIRE(heads[1] > 0);
  CHECK(r.summary.at("logit_gap").at("other_heads").get<double>() == Approx(gaps[1] / heads[1]));
}

TEST_CASE("sequences of one token have no other keys, and dimension 0 of them", "[analysis][study]") {
  test::SmallStudy small(test::study_config());
  small.study.length = 1;
  Results r;
  key_geometry(small.study, r);
  CHECK(std::ranges::all_of(doubles(r, "other_dimension"), [](double d) { return d == 0; }));
  CHECK(std::ranges::any_of(doubles(r, "sink_dimension"), [](double d) { return d > 1; }));
  CHECK(doubles(r, "points/other_keys").empty());
}

TEST_CASE("sequences without a sink are not counted as having it at the first position", "[analysis][study]") {
  test::SmallStudy small(test::study_config());
  Results r;
  small.study.sink_epsilon = 1;
  key_geometry(small.study, r);
  CHECK(r.summary.at("sink_heads") == 0);
  CHECK(std::isnan(r.summary.at("sink_at_first_position").get<double>()));
  small.study.sink_epsilon = 0;
  Results all;
  key_geometry(small.study, all);
  const auto& positions = integers(all, "sink_position");
  CHECK(all.summary.at("sink_at_first_position").get<double>() ==
        Approx(static_cast<double>(std::ranges::count(positions, 0)) / static_cast<double>(kS)));
}

TEST_CASE("drawn points keep the variance of the first two principal components", "[analysis][study]") {
  test::SmallStudy small(test::study_config());
  Results r;
  key_geometry(small.study, r);
  const test::Seen seen(small.study);
  for (std::size_t i = 0; i < kPlottedHeads; ++i) {
    const auto l = static_cast<std::size_t>(integers(r, "points/heads")[2 * i] - 1);
    const std::int64_t h = integers(r, "points/heads")[2 * i + 1] - 1;
    CAPTURE(l, h);
    // So few tokens that all of them are drawn.
    Rows all, drawn;
    for (std::int64_t n = 0; n < kS * kT; ++n) {
      all.push_back(row_of(seen, l, n, h));
      all.push_back(row_of(seen, l, n, kH + h / (kH / kK)));
    }
    for (const char* kind : {"points/q", "points/sink_keys", "points/other_keys"}) {
      const auto& dims = r.at(kind).dims;
      const double* row = doubles(r, kind).data() + static_cast<std::int64_t>(i) * dims[1] * 2;
      for (std::int64_t p = 0; p < dims[1]; ++p) drawn.push_back({row[2 * p], row[2 * p + 1]});
    }
    REQUIRE(drawn.size() == all.size());
    const auto c = covariance(all), d = covariance(drawn);
    double trace = 0;
    for (std::size_t a = 0; a < c.size(); ++a) trace += c[a][a];
    CHECK(d[0][1] == Approx(0).margin(1e-9 * trace));
    for (std::size_t axis = 0; axis < 2; ++axis)
      CHECK(d[axis][axis] / trace == Approx(doubles(r, "points/variance")[2 * i + axis]).epsilon(1e-8));
    CHECK(d[0][0] >= d[1][1]);
    for (std::size_t a = 0; a < c.size(); ++a) CHECK(d[0][0] >= c[a][a]);  // no channel has more than the first axis
  }
}

}  // namespace spikesink
