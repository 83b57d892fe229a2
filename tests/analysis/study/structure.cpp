// The structural analyses against plain loops, with explicit d x d matrices and LAPACK, on random small models.
#include <algorithm>
#include <memory>
#include <set>

#include "analysis/study/delimiters.h"
#include "analysis/study/eigen.h"
#include "analysis/study/first_position.h"
#include "analysis/study/quadratic.h"
#include "analysis/study/vocabulary.h"
#include "data/tokenizer.h"
#include "tests/analysis/study/support.h"

extern "C" void dsyev_(const char* jobz, const char* uplo, const int* n, double* a, const int* lda, double* w,
                       double* work, const int* lwork, int* info);

namespace spikesink {
namespace {

using test::check_same;
using test::doubles;
using test::integers;
using test::kC, test::kS, test::kT;

using Matrix = std::vector<std::vector<double>>;

Matrix matrix(const Decoder& model, const std::string& name) {
  const Tensor t = parameter(model, name);
  const auto [R, columns] = matrix_dims(t);
  Matrix out;
  for (std::int64_t r = 0; r < R; ++r) {
    const double* row = t.data<double>() + r * columns;
    out.emplace_back(row, row + columns);
  }
  return out;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}
double abs_cosine(const std::vector<double>& a, const std::vector<double>& b) {
  return std::abs(dot(a, b)) / std::sqrt(dot(a, a) * dot(b, b));
}
std::vector<double> times(const Matrix& m, const std::vector<double>& x) {
  std::vector<double> y;
  for (const auto& row : m) y.push_back(dot(row, x));
  return y;
}
std::vector<double> row_of(const std::vector<double>& x, std::size_t n, std::size_t cols = kC) {
  return {x.begin() + static_cast<std::ptrdiff_t>(n * cols), x.begin() + static_cast<std::ptrdiff_t>((n + 1) * cols)};
}
double frobenius(const Matrix& m) {
  double sum = 0;
  for (const auto& row : m) sum += dot(row, row);
  return std::sqrt(sum);
}

/// All eigenpairs by LAPACK, falling by magnitude.
Eigenpairs reference_eigenpairs(const Matrix& m) {
  const int n = static_cast<int>(m.size()), room = 64 * n;
  std::vector<double> a, values(m.size()), work(static_cast<std::size_t>(room));
  for (const auto& row : m) a.insert(a.end(), row.begin(), row.end());
  int info = -1;
  dsyev_("V", "U", &n, a.data(), &n, values.data(), work.data(), &room, &info);
  REQUIRE(info == 0);
  std::vector<std::size_t> order(m.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, std::greater{}, [&](std::size_t i) { return std::abs(values[i]); });
  Eigenpairs out;
  for (const std::size_t i : order) {
    out.values.push_back(values[i]);
    out.vectors.push_back(row_of(a, i, m.size()));
  }
  return out;
}

/// Weights of norms and biases at random too.
void randomise_vectors(Decoder& model) {
  for (Param& param : model.params().all())
    if (!param.decays())
      for (std::size_t i = 0; double& value : param.value.span<double>()) value += 0.3 * Random{.seed = 9}.normal(i++);
}

Matrix random_symmetric(std::size_t n) {
  Matrix m(n, std::vector<double>(n));
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j <= i; ++j) m[i][j] = m[j][i] = Random{.seed = 5}.normal(i * n + j);
  return m;
}

/// Columns of the gate and up matrices times the norm's scale.
Matrix folded(const Decoder& model, std::size_t block, const char* name) {
  Matrix m = matrix(model, model.blocks()[block].branch + name);
  if (const std::string& norm = model.blocks()[block].input_norm; !norm.empty())
    for (auto& row : m)
      for (std::size_t c = 0; c < kC; ++c) row[c] *= test::weights(model, norm + ".weight")[c];
  return m;
}

}  // namespace

TEST_CASE("eigenpairs by Jacobi and by Lanczos are LAPACK's", "[analysis][study]") {
  const std::size_t n = GENERATE(1, 2, 7, 40);
  CAPTURE(n);
  const Matrix m = random_symmetric(n);
  const Eigenpairs want = reference_eigenpairs(m);
  std::vector<double> flat;
  for (const auto& row : m) flat.insert(flat.end(), row.begin(), row.end());
  const Eigenpairs all = symmetric_eigenpairs(flat, static_cast<std::int64_t>(n));
  const std::size_t wanted = std::min<std::size_t>(n, 3);
  const auto products = [&](const std::vector<double>& x, std::vector<double>& y) {  // of m and of -2 m
    y = times(m, row_of(x, 0, n));
    for (const double value : times(m, row_of(x, 1, n))) y.push_back(-2 * value);
  };
  const auto few =
      leading_eigenpairs(products, 2, static_cast<std::int64_t>(n), static_cast<std::int64_t>(wanted), 100);
  for (std::size_t i = 0; i < n; ++i) {
    CHECK(all.values[i] == Approx(want.values[i]).epsilon(1e-11));
    CHECK(abs_cosine(all.vectors[i], want.vectors[i]) == Approx(1).epsilon(1e-11));
    if (i >= wanted) continue;
    for (const std::size_t of : {0, 1}) {
      CHECK(few[of].values[i] == Approx((of == 0 ? 1 : -2) * want.values[i]).epsilon(1e-9));
      CHECK(abs_cosine(few[of].vectors[i], want.vectors[i]) == Approx(1).epsilon(1e-9));
    }
  }
}

TEST_CASE("Lanczos ends where the matrix has no more directions than those found", "[analysis][study]") {
  const auto products = [](const std::vector<double>& x, std::vector<double>& y) {  // rank one, and zero
    y.assign(x.size(), 0);
    y[0] = 3 * x[0];
  };
  const auto found = leading_eigenpairs(products, 2, 6, 3, 50);
  CHECK(found[0].values[0] == Approx(3));
  CHECK(found[0].vectors[0][0] == Approx(1));
  CHECK(std::abs(found[1].values[0]) < 1e-12);
}

TEST_CASE("outliers are channels far above the median, in units of the usual distance from it", "[analysis][study]") {
  // Median 3, median distance 1: the bound is 3 + 10 * 1.4826.
  CHECK(outlier_channels({1, 2, 3, 4, 17.8, 17.9, 2}) == std::vector<std::int64_t>{5});
  CHECK(outlier_channels({2, 2, 2, 2, 2}).empty());
}

TEST_CASE("norms, spectra and predictions of S_k are those of explicit matrices", "[analysis][study]") {
  ModelConfig config = test::study_config();
  const int variant = GENERATE(0, 1, 2);
  if (variant == 1) config.norm.kind = NormKind::kDynamicTanh;
  if (variant == 2) config.norm.input = false, config.norm.output = true;
  CAPTURE(variant);
  test::SmallStudy small(config);
  randomise_vectors(small.model);
  Results r;
  quadratic(small.study, r);
  const test::Seen seen(small.study);
  const SpikePlaces& places = spike_places(small.study);
  REQUIRE(places.num_spikes() > 0);
  const std::size_t n = integers(r, "channels").size() / 2;
  for (std::size_t f = 0; f < 2; ++f) {
    const std::size_t block = 2 * f + 1;
    const Matrix gate = folded(small.model, block, ".gate_proj.weight"),
                 up = folded(small.model, block, ".up_proj.weight"),
                 down = matrix(small.model, small.model.blocks()[block].branch + ".down_proj.weight");
    std::vector<Matrix> forms;
    for (std::size_t k = 0; k < kC; ++k) {
      Matrix U(kC, std::vector<double>(kC)), symmetric = U;
      for (std::size_t i = 0; i < gate.size(); ++i)
        for (std::size_t a = 0; a < kC; ++a)
          for (std::size_t b = 0; b < kC; ++b) U[a][b] += down[k][i] * gate[i][a] * up[i][b];
      for (std::size_t a = 0; a < kC; ++a)
        for (std::size_t b = 0; b < kC; ++b) symmetric[a][b] = (U[a][b] + U[b][a]) / 2;
      CHECK(doubles(r, "norm")[f * kC + k] == Approx(frobenius(U)).epsilon(1e-10));
      CHECK(doubles(r, "symmetric_norm")[f * kC + k] == Approx(frobenius(symmetric)).epsilon(1e-10));
      forms.push_back(symmetric);
    }
    // Channels: spike channels, then the others by their norms.
    std::vector<std::int64_t> rest;
    for (std::int64_t k = 0; k < static_cast<std::int64_t>(kC); ++k)
      if (std::ranges::find(places.channels, k) == places.channels.end()) rest.push_back(k);
    std::ranges::sort(rest, std::greater{},
                      [&](std::int64_t k) { return doubles(r, "norm")[f * kC + static_cast<std::size_t>(k)]; });
    std::vector<std::int64_t> channels = places.channels;
    channels.insert(channels.end(), rest.begin(), rest.begin() + std::min<std::ptrdiff_t>(std::ssize(rest), 8));
    REQUIRE(channels.size() == n);
    std::vector<Eigenpairs> pairs;
    for (std::size_t i = 0; i < n; ++i) {
      REQUIRE(integers(r, "channels")[f * n + i] == channels[i]);
      const Matrix& form = forms[static_cast<std::size_t>(channels[i])];
      pairs.push_back(reference_eigenpairs(form));
      for (std::size_t rank = 0; rank < kEigenvalues; ++rank)
        CHECK(doubles(r, "eigenvalues")[(f * n + i) * kEigenvalues + rank] ==
              Approx(pairs[i].values[rank]).epsilon(1e-8));
      CHECK(doubles(r, "eigenvalue_share")[f * n + i] ==
            Approx(std::abs(pairs[i].values[0]) / frobenius(form)).epsilon(1e-8));
      CHECK(abs_cosine(row_of(doubles(r, "eigenvector"), f * n + i), pairs[i].vectors[0]) == Approx(1).epsilon(1e-8));
    }
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j)
        CHECK(doubles(r, "sharing")[(f * n + i) * n + j] ==
              Approx(abs_cosine(pairs[i].vectors[0], pairs[j].vectors[0])).epsilon(1e-8).margin(1e-10));

    // Predictions: x from the residual stream before the block.
    for (std::size_t i = 0; i < n; ++i)
      for (const std::size_t kind : {0, 1})
        for (const std::size_t of : {0, 1, 2}) {
          std::vector<double> p, t;
          for (std::size_t token = 0; token < kS * kT; ++token) {
            if (of < 2 && (places.is_spike[token] != 0) != (of == 0)) continue;
            auto x = row_of(seen.residual[block - 1], token);
            double factor = 1;
            if (variant == 0) factor = 1 / std::sqrt(dot(x, x) / kC + 1e-5);
            for (double& value : x) value *= factor;
            if (variant == 1) {
              const double alpha = test::weights(small.model, small.model.blocks()[block].input_norm + ".alpha")[0];
              for (double& value : x) value = std::tanh(alpha * value);
            }
            const double along = dot(x, pairs[i].vectors[0]);
            p.push_back(kind == 0 ? dot(x, times(forms[static_cast<std::size_t>(channels[i])], x))
                                  : pairs[i].values[0] * along * along);
            t.push_back(
                seen.of.at(small.model.blocks()[block].branch)[token * kC + static_cast<std::size_t>(channels[i])]);
          }
          const auto count = static_cast<double>(p.size());
          double pm = 0, tm = 0, pp = 0, tt = 0, pt = 0, wrong = 0;
          for (std::size_t a = 0; a < p.size(); ++a) pm += p[a] / count, tm += t[a] / count;
          for (std::size_t a = 0; a < p.size(); ++a) {
            pp += (p[a] - pm) * (p[a] - pm), tt += (t[a] - tm) * (t[a] - tm), pt += (p[a] - pm) * (t[a] - tm);
            wrong += (p[a] - t[a]) * (p[a] - t[a]);
          }
          CAPTURE(f, i, kind, of, count);
          if (count < 2) continue;
          check_same(doubles(r, "correlation")[((f * n + i) * 2 + kind) * 3 + of], pt / std::sqrt(pp * tt), 1e-6);
          check_same(doubles(r, "error")[((f * n + i) * 2 + kind) * 3 + of], std::sqrt(wrong / dot(t, t)), 1e-6);
        }
  }
}

TEST_CASE("each vocabulary item alone has the magnitudes of a pass of its own", "[analysis][study]") {
  test::SmallStudy small(test::study_config());
  small.study.spike = {.abs = 1, .ratio = 4};
  Results r;
  vocabulary(small.study, r);
  std::int64_t spikes = 0;
  std::vector<std::vector<double>> by_block(4);
  for (std::int32_t v = 0; v < 11; ++v) {
    const std::vector<std::int32_t> one{v};
    Study alone = small.study;
    alone.tokens = one;
    alone.length = 1;
    const test::Seen seen(alone);
    double most = 0;
    std::int64_t block = 0;
    bool spike = false;
    for (std::size_t b = 0; b < 4; ++b) {
      std::vector<double> h = seen.residual[b];
      for (double& value : h) value = std::abs(value);
      std::ranges::sort(h);
      spike = spike || (h[kC - 1] > 1 && h[kC - 1] > 4 * h[(kC - 1) / 2]);
      by_block[b].push_back(h[kC - 1]);
      if (h[kC - 1] > most) block = static_cast<std::int64_t>(b) + 1;
      most = std::max(most, h[kC - 1]);
    }
    const auto at = static_cast<std::size_t>(v);
    CHECK(doubles(r, "max")[at] == Approx(most).epsilon(1e-6));
    CHECK(integers(r, "block")[at] == block);
    CHECK(integers(r, "is_spike")[at] == spike);
    spikes += spike;
  }
  REQUIRE(spikes > 0);
  REQUIRE(spikes < 11);
  CHECK(r.summary.at("spike_share").get<double>() == Approx(static_cast<double>(spikes) / 11));
  for (std::size_t b = 0; b < 4; ++b) {
    std::ranges::sort(by_block[b]);
    CHECK(doubles(r, "max_by_block")[b * 6 + 1] == Approx(by_block[b].front()).epsilon(1e-6));
    CHECK(doubles(r, "max_by_block")[b * 6 + 3] == Approx(by_block[b][5]).epsilon(1e-6));
    CHECK(doubles(r, "max_by_block")[b * 6 + 5] == Approx(by_block[b].back()).epsilon(1e-6));
  }
}

TEST_CASE("W_VO is the explicit sum over heads, and attention's output at position 1", "[analysis][study]") {
  ModelConfig config = test::study_config();
  const auto [source, granularity, norm_input] =
      GENERATE(table<GateSource, GateGranularity, bool>({{GateSource::kNone, GateGranularity::kHead, true},
                                                         {GateSource::kNone, GateGranularity::kHead, false},
                                                         {GateSource::kConditional, GateGranularity::kChannel, true},
                                                         {GateSource::kToken, GateGranularity::kHead, true},
                                                         {GateSource::kPositional, GateGranularity::kSingle, true},
                                                         {GateSource::kUnconditional, GateGranularity::kHead, true}}));
  config.attention.gate = {.source = source, .granularity = granularity};
  config.norm.input = norm_input;
  config.norm.output = !norm_input;
  config.attention.qkv_bias = source == GateSource::kConditional || source == GateSource::kNone;
  CAPTURE(static_cast<int>(source), static_cast<int>(granularity), norm_input);
  test::SmallStudy small(config);
  randomise_vectors(small.model);
  Results r;
  first_position(small.study, r);
  const test::Seen seen(small.study);
  const LeadingDirection lead = leading_direction(small.study);
  CHECK(r.summary.at("block") == lead.block);
  for (std::size_t l = 0; l < 2; ++l) {
    CHECK(doubles(r, "error")[l] < 1e-10);
    const std::string path = small.model.blocks()[2 * l].branch;
    const Matrix value = matrix(small.model, path + ".v_proj.weight"),
                 out = matrix(small.model, path + ".o_proj.weight");
    Matrix map(kC, std::vector<double>(kC)), square = map;
    for (std::size_t h = 0; h < 4; ++h)
      for (std::size_t a = 0; a < kC; ++a)
        for (std::size_t b = 0; b < kC; ++b)
          for (std::size_t i = 0; i < 6; ++i) map[a][b] += out[a][h * 6 + i] * value[h / 2 * 6 + i][b];
    for (std::size_t a = 0; a < kC; ++a)
      for (std::size_t b = 0; b < kC; ++b)
        for (std::size_t i = 0; i < kC; ++i) square[a][b] += map[i][a] * map[i][b];
    const Eigenpairs pairs = reference_eigenpairs(square);
    for (std::size_t i = 0; i < kSingularValues; ++i) {
      CHECK(doubles(r, "singular_values")[l * kSingularValues + i] == Approx(std::sqrt(pairs.values[i])).epsilon(1e-7));
      CHECK(doubles(r, "left_alignment")[l * kSingularValues + i] ==
            Approx(abs_cosine(times(map, pairs.vectors[i]), lead.s)).epsilon(1e-6).margin(1e-8));
    }
    CHECK(abs_cosine(row_of(doubles(r, "right"), l), pairs.vectors[0]) == Approx(1).epsilon(1e-8));
    CHECK(abs_cosine(row_of(doubles(r, "left"), l), times(map, pairs.vectors[0])) == Approx(1).epsilon(1e-8));
    double sums[2][2] = {};  // outputs and stream, at position 1 and at others
    for (std::size_t n = 0; n < kS * kT; ++n) {
      sums[0][n % kT == 0 ? 0 : 1] += abs_cosine(row_of(seen.of.at(path), n), lead.s);
      sums[1][n % kT == 0 ? 0 : 1] += abs_cosine(row_of(seen.residual[2 * l], n), lead.s);
    }
    const double counts[] = {kS, kS * (kT - 1)};
    for (const std::size_t place : {0, 1}) {
      CHECK(doubles(r, "output_alignment")[l * 2 + place] == Approx(sums[0][place] / counts[place]).epsilon(1e-8));
      CHECK(doubles(r, "stream_alignment")[2 * l * 2 + place] == Approx(sums[1][place] / counts[place]).epsilon(1e-8));
    }
  }
}

TEST_CASE("a model whose FFN is no quadratic form has its W_VO, and says what is left out", "[analysis][study]") {
  ModelConfig config = test::study_config();
  config.ffn = {.kind = FfnKind::kAttention};
  test::SmallStudy small(config);
  Results r;
  first_position(small.study, r);
  CHECK(doubles(r, "error").size() == 4);  // two layers of attention in each
  for (const double error : doubles(r, "error")) CHECK(error < 1e-10);
  CHECK(r.summary.at("alignment").get<std::string>().find("model.ffn.kind") != std::string::npos);
}

TEST_CASE("delimiters are punctuation and line feeds only", "[analysis][study]") {
  for (const char* text : {".", ",", "\n", "\n\n", " .", "...", "\xe2\x96\x81;", "{}"}) CHECK(is_delimiter(text));
  for (const char* text : {"", " ", "\xe2\x96\x81", "a", "a.", "1", "\xc3\xa9"}) CHECK(!is_delimiter(text));
}

TEST_CASE("delimiters' embeddings and their attention to themselves are those of plain loops", "[analysis][study]") {
  ModelConfig config = test::study_config();
  config.vocab_size = 258;
  test::SmallStudy small(config);
  randomise_vectors(small.model);
  Results r;
  delimiters(small.study, r);
  CHECK(r.arrays().empty());
  CHECK(r.summary.contains("left_out"));

  const auto tokenizer = make_tokenizer("bytes");
  small.study.tokenizer = tokenizer.get();
  small.study.end_of_text = small.tokens[4];
  Results with;
  delimiters(small.study, with);
  const std::string punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\n";
  const auto is_one = [&](std::int32_t v) {
    return v < 256 && punctuation.find(static_cast<char>(v)) != punctuation.npos;
  };
  const Matrix embedding = matrix(small.model, "model.embed_tokens.weight");
  const auto scale = test::weights(small.model, small.model.blocks()[0].input_norm + ".weight");
  for (std::int32_t v = 0; v < 258; ++v) {
    const auto& e = embedding[static_cast<std::size_t>(v)];
    const std::vector<double> w(scale.begin(), scale.end());
    CHECK(integers(with, "is_delimiter")[static_cast<std::size_t>(v)] == is_one(v));
    CHECK(doubles(with, "cosine")[static_cast<std::size_t>(v)] ==
          Approx(dot(e, w) / std::sqrt(dot(e, e) * dot(w, w))).epsilon(1e-10));
  }
  const test::Seen seen(small.study);
  for (std::size_t l = 0; l < 2; ++l)
    for (std::int64_t h = 0; h < 4; ++h) {
      double sums[2] = {}, counts[2] = {};
      for (std::size_t s = 0; s < kS; ++s) {
        const auto A = seen.probabilities(l, static_cast<std::int64_t>(s), h);
        for (std::size_t t = 0; t < kT; ++t) {
          if (seen.first_keys[s * kT + t] == static_cast<std::int32_t>(t)) continue;
          const std::size_t kind = is_one(small.tokens[s * kT + t]) ? 0 : 1;
          sums[kind] += A[t][t];
          ++counts[kind];
        }
      }
      REQUIRE(counts[0] > 0);
      for (const std::size_t kind : {0, 1})
        CHECK(doubles(with, "self_attention")[(l * 4 + static_cast<std::size_t>(h)) * 2 + kind] ==
              Approx(sums[kind] / counts[kind]).epsilon(1e-9));
    }
}

}  // namespace spikesink
