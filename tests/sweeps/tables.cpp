#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <sstream>

#include "io/atomic_file.h"
#include "io/failure.h"
#include "support.h"
#include "sweeps/collect.h"

namespace spikesink {
namespace {
CollectedFigure figure(std::string_view name, OverSeeds ours, std::optional<double> paper = {},
                       Direction direction = Direction::kNone) {
  return {std::string(name), ours, paper, direction};
}

/// Three rows: two seeds, one of two, none of two.
CollectedSweep example() {
  CollectedSweep sweep{.name = "table5",
                       .title = "Table 5: 100% of x_1 & y",
                       .baseline = "pre_norm",
                       .sink_judged_by = "sink_excess",
                       .scale = {1234567, 614400, 128}};
  sweep.rows.push_back({.name = "pre_norm", .label = "Pre-norm", .axes = {{"model.d_model", "64"}}, .seeds = 2});
  sweep.rows[0].runs = {{"pre_norm_seed1", 1, {{"perplexity", 100}, {"sink_ratio", 0.05}, {"step", 300}}},
                        {"pre_norm_seed2", 2, {{"perplexity", 104.5}}}};
  sweep.rows[0].figures = {
      figure("perplexity", {2, 102.25, 3.182}, 10.1), figure("sink_ratio", {2, 0.0625, 0.01}, 0.46),
      figure("spike_max", {2, 42, 2.5}, 3818),        figure("first_token_mass", {2, 0.11, 0.001}),
      figure("sink_excess", {2, 0.05, 0.001}),        figure("spike_ratio", {2, 39.04, 1})};
  sweep.rows.push_back({.name = "odd", .label = "a|b & 5% of \"x_y\", #1 {~^\\$} <c>", .seeds = 2});
  sweep.rows[1].runs = {{"odd_seed2", 2, {}}};
  sweep.rows[1].figures = {figure("perplexity", {}, 10.1),
                           figure("sink_ratio", {1, 0.5}, 0.447, Direction::kDiffers),
                           figure("spike_max", {1, 9}, 520, Direction::kAgrees),
                           figure("first_token_mass", {1, 0.0594}),
                           figure("sink_excess", {1, 0.1}),
                           figure("spike_ratio", {1, 3.25e9})};
  sweep.rows.push_back({.name = "none", .label = "None, yet", .axes = {{"model.d_model", "128"}}, .seeds = 2});
  sweep.rows[2].figures = {figure("perplexity", {}, 9.8),  figure("sink_ratio", {}),  figure("spike_max", {}),
                           figure("first_token_mass", {}), figure("sink_excess", {}), figure("spike_ratio", {})};
  sweep.notes = {"odd_seed1: at step 10 of 300; left out"};
  return sweep;
}

/// The sources are ASCII.
std::string with_plus_minus(std::string text) {
  for (std::size_t at; (at = text.find("+-")) != std::string::npos;) text.replace(at, 2, "\xC2\xB1");
  return text;
}
}  // namespace

// Exact, so that a cell in the wrong column, a digit or an escape that is lost shows.
TEST_CASE("the table as Markdown", "[sweeps][collect]") {
  CHECK(markdown_of(example()) == with_plus_minus(R"(## Table 5: 100% of x_1 & y

| Row                                 |  Seeds |  Perplexity | paper | direction | Sink ratio % | paper | direction |      Spike | paper | direction | First-token mass % | Spike over median |
|-------------------------------------|-------:|------------:|------:|-----------|-------------:|------:|-----------|-----------:|------:|-----------|-------------------:|------------------:|
| Pre-norm (baseline)                 |      2 | 102.2 +- 3.2 |  10.1 | -         |    6.2 +- 1.0 |  46.0 | -         | 42.0 +- 2.5 |  3818 | -         |         11.0 +- 0.1 |        39.0 +- 1.0 |
| a\|b & 5% of "x_y", #1 {~^\\$} \<c> | 1 of 2 |           - |  10.1 | -         |         50.0 |  44.7 | differs   |        9.0 |   520 | agrees    |                5.9 |          3.25e+09 |
| None, yet                           | 0 of 2 |           - |   9.8 | -         |            - |     - | -         |          - |     - | -         |                  - |                 - |

- Ours: the last probe of each finished run; the baseline has 1.23M parameters and is trained on 614k tokens at context 128. Mean +- sample deviation over seeds.
- Paper: arXiv:2603.05498, whose baseline has 7B parameters and is trained on 100B tokens at context 4096. Compare directions, not values.
- Direction: whether row - baseline has the paper's sign. unclear: our difference is within two standard errors (where both have two seeds or more) or within the last digit printed; -: the paper's is, or there is nothing to compare.
- Sinks are judged by the first-token mass above u, that of uniform attention, (mass - u) / (1 - u), below 0 as 0, since the baseline's sink ratio is below 10 %.
- Of the paper's directions: agrees 1, differs 1, unclear 0.

Of the runs:

- odd_seed1: at step 10 of 300; left out
)"));
}

TEST_CASE("the table as LaTeX", "[sweeps][collect]") {
  CHECK(latex_of(example()) == R"(% Made by `spikesink sweep collect`. Needs \usepackage{booktabs}.
\begin{table}
\centering
\caption{Table 5: 100\% of x\_1 \& y}
\footnotesize
\setlength{\tabcolsep}{2pt}
\begin{tabular}{@{}lrrrlrrlrrlrr@{}}
\toprule
 &  & \multicolumn{3}{c}{Perplexity} & \multicolumn{3}{c}{Sink ratio \%} & \multicolumn{3}{c}{Spike} & First-token & Spike \\
\cmidrule(lr){3-5}\cmidrule(lr){6-8}\cmidrule(lr){9-11}
Row & Seeds & ours & paper & direction & ours & paper & direction & ours & paper & direction & mass \% & over median \\
\midrule
Pre-norm (baseline) & 2 & 102.2$\pm$3.2 & 10.1 & -- & 6.2$\pm$1.0 & 46.0 & -- & 42.0$\pm$2.5 & 3818 & -- & 11.0$\pm$0.1 & 39.0$\pm$1.0 \\
a\textbar{}b \& 5\% of "x\_y", \#1 \{\textasciitilde{}\textasciicircum{}\textbackslash{}\$\} \textless{}c\textgreater{} & 1 of 2 & -- & 10.1 & -- & 50.0 & 44.7 & differs & 9.0 & 520 & agrees & 5.9 & 3.25e+09 \\
None, yet & 0 of 2 & -- & 9.8 & -- & -- & -- & -- & -- & -- & -- & -- & -- \\
\bottomrule
\end{tabular}

\smallskip
\raggedright
Ours: the last probe of each finished run; the baseline has 1.23M parameters and is trained on 614k tokens at context 128. Mean$\pm$sample deviation over seeds.
Paper: arXiv:2603.05498, whose baseline has 7B parameters and is trained on 100B tokens at context 4096. Compare directions, not values.
Direction: whether row - baseline has the paper's sign. unclear: our difference is within two standard errors (where both have two seeds or more) or within the last digit printed; -: the paper's is, or there is nothing to compare.
Sinks are judged by the first-token mass above u, that of uniform attention, (mass - u) / (1 - u), below 0 as 0, since the baseline's sink ratio is below 10 \%.
Of the paper's directions: agrees 1, differs 1, unclear 0.
% odd\_seed1: at step 10 of 300; left out
\end{table}
)");
}

TEST_CASE("the table as CSV", "[sweeps][collect]") {
  CHECK(
      csv_of(example()) ==
      R"(row,label,baseline,seeds,finished,sink_judged_by,perplexity_mean,perplexity_deviation,perplexity_count,perplexity_paper,perplexity_direction,sink_ratio_mean,sink_ratio_deviation,sink_ratio_count,sink_ratio_paper,sink_ratio_direction,spike_max_mean,spike_max_deviation,spike_max_count,spike_max_paper,spike_max_direction,first_token_mass_mean,first_token_mass_deviation,first_token_mass_count,sink_excess_mean,sink_excess_deviation,sink_excess_count,spike_ratio_mean,spike_ratio_deviation,spike_ratio_count,model.d_model
pre_norm,Pre-norm,1,2,2,sink_excess,102.25,3.182,2,10.1,none,0.0625,0.01,2,0.46,none,42,2.5,2,3818,none,0.11,0.001,2,0.05,0.001,2,39.04,1,2,64
odd,"a|b & 5% of ""x_y"", #1 {~^\$} <c>",0,2,1,sink_excess,,,0,10.1,none,0.5,,1,0.447,differs,9,,1,520,agrees,0.0594,,1,0.1,,1,3250000000,,1,
none,"None, yet",0,2,0,sink_excess,,,0,9.8,none,,,0,,none,,,0,,none,,,0,,,0,,,0,128
)");
}

TEST_CASE("the keys of the table as JSON stay as docs/file-formats.md has them", "[sweeps][collect]") {
  const auto json = nlohmann::json::parse(json_of(example()));
  const auto keys = [](const nlohmann::json& object) {
    std::vector<std::string> found;
    for (const auto& item : object.items()) found.push_back(item.key());
    return found;  // sorted
  };
  using Keys = std::vector<std::string>;
  CHECK(keys(json) ==
        Keys{"baseline", "format", "notes", "rows", "scale", "sink_judged_by", "source", "sweep", "title"});
  CHECK(json["format"] == 1);
  CHECK(json["scale"] == nlohmann::json{{"parameters", 1234567}, {"tokens", 614400}, {"context", 128}});
  CHECK(json["sink_judged_by"] == "sink_excess");
  CHECK(json["notes"] == nlohmann::json{"odd_seed1: at step 10 of 300; left out"});
  REQUIRE(json["rows"].size() == 3);
  for (const auto& row : json["rows"]) {
    CHECK(keys(row) == Keys{"axes", "figures", "label", "name", "runs", "seeds"});
    CHECK(keys(row["figures"]) ==
          Keys{"first_token_mass", "perplexity", "sink_excess", "sink_ratio", "spike_max", "spike_ratio"});
    for (const auto& figure : row["figures"])
      CHECK(keys(figure) == Keys{"count", "deviation", "direction", "mean", "paper"});
  }
  const auto& odd = json["rows"][1];
  CHECK(odd["label"] == "a|b & 5% of \"x_y\", #1 {~^\\$} <c>");
  CHECK(
      odd["figures"]["sink_ratio"] ==
      nlohmann::json{{"count", 1}, {"mean", 0.5}, {"deviation", nullptr}, {"paper", 0.447}, {"direction", "differs"}});
  CHECK(odd["figures"]["perplexity"]["mean"].is_null());
  CHECK(json["rows"][0]["axes"] == nlohmann::json{{"model.d_model", "64"}});
  const auto& run = json["rows"][0]["runs"][0];
  CHECK(keys(run) == Keys{"figures", "name", "seed"});
  CHECK(run["figures"]["sink_ratio"] == 0.05);
  CHECK(run["figures"]["spike_max"].is_null());
  CHECK(!run["figures"].contains("step"));
}

TEST_CASE("the paper's columns are there only where it has figures", "[sweeps][collect]") {
  CollectedSweep sweep = example();
  for (CollectedRow& row : sweep.rows)
    for (CollectedFigure& f : row.figures) f.paper.reset(), f.direction = Direction::kNone;
  sweep.rows.resize(1);
  sweep.notes.clear();
  CHECK(markdown_of(sweep) == with_plus_minus(R"(## Table 5: 100% of x_1 & y

| Row                 | Seeds |  Perplexity | Sink ratio % |      Spike | First-token mass % | Spike over median |
|---------------------|------:|------------:|-------------:|-----------:|-------------------:|------------------:|
| Pre-norm (baseline) |     2 | 102.2 +- 3.2 |    6.2 +- 1.0 | 42.0 +- 2.5 |         11.0 +- 0.1 |        39.0 +- 1.0 |

- Ours: the last probe of each finished run; the baseline has 1.23M parameters and is trained on 614k tokens at context 128. Mean +- sample deviation over seeds.
)"));
}

TEST_CASE("no label breaks a table", "[sweeps][collect]") {
  CollectedSweep sweep = example();
  std::string label = "tab\tline\n";
  for (char c = ' '; c <= '~'; ++c) label += c;
  sweep.rows[2].label = sweep.title = label;
  sweep.notes = {label};

  const std::string markdown = markdown_of(sweep), latex = latex_of(sweep);
  const auto lines = [](const std::string& text) {
    std::vector<std::string> found;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) found.push_back(line);
    return found;
  };
  /// How often `c` stands in it with no backslash before it that is none itself.
  const auto bare = [](const std::string& line, char c) {
    int count = 0;
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '\\')
        ++i;
      else if (line[i] == c)
        ++count;
    }
    return count;
  };
  int rows = 0;
  for (const std::string& line : lines(markdown)) {
    if (!line.starts_with("|")) continue;
    CHECK(bare(line, '|') == 14);
    ++rows;
  }
  CHECK(rows == 5);

  int depth = 0, cells = 0;
  for (const std::string& line : lines(latex)) {
    CAPTURE(line);
    if (line.starts_with("%")) continue;  // a comment
    CHECK(bare(line, '%') == 0);
    CHECK(bare(line, '#') == 0);
    CHECK(bare(line, '_') == 0);
    CHECK(bare(line, '^') == 0);
    CHECK(bare(line, '~') == 0);
    CHECK(bare(line, '$') % 2 == 0);
    depth += bare(line, '{') - bare(line, '}');
    CHECK(depth == 0);
    if (!line.ends_with("\\\\") || line.find("multicolumn") != std::string::npos) continue;
    CHECK(bare(line, '&') == 12);
    ++cells;
  }
  CHECK(cells == 4);

  // Read back by RFC 4180: a quote is doubled within quotes, and a newline within quotes ends no row.
  std::size_t count = 1, ends = 0;
  bool within = false;
  for (const char c : csv_of(sweep)) {
    if (c == '"') within = !within;
    if (within) continue;
    if (c == ',') ++count;
    if (c != '\n') continue;
    CHECK(count == 31);
    count = 1;
    ++ends;
  }
  CHECK(ends == 4);
}

TEST_CASE("the four files are written, and a place where they cannot be is named", "[sweeps][collect]") {
  const test::ScratchSweep scratch;
  write_tables(example(), scratch.folder());
  const std::string tables = scratch.folder().tables();
  CHECK(read_file(tables + "/table.md") == markdown_of(example()));
  CHECK(read_file(tables + "/table.csv") == csv_of(example()));
  CHECK(read_file(tables + "/table.tex") == latex_of(example()));
  CHECK(read_file(tables + "/table.json") == json_of(example()));

  const test::ScratchSweep other;
  test::ScratchSweep::write(other.folder().tables(), "a file");
  CHECK_THROWS_AS(write_tables(example(), other.folder()), DataError);
}

}  // namespace spikesink
