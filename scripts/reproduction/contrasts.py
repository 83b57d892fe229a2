"""The sixteen contrasts of the paper that are to be seen at any scale: rows, and what must hold of their figures.

Rows are those of configs/sweeps/tables/contrasts.yaml. Figures of the paper: Sun, Canziani, LeCun, Zhu 2026,
arXiv:2603.05498, Tables 3 to 8.
"""

from dataclasses import dataclass

BASELINE = "baseline"
WIDTHS = ["d_head_8", "d_head_16", "d_head_32", "d_head_64", BASELINE]  # 1/16, 1/8, 1/4, 1/2 and all of the baseline's
FIXED_TOTAL = ["d_head_8_heads_512", "d_head_16_heads_256", "d_head_32_heads_128", "d_head_64_heads_64", BASELINE,
               "d_head_256_heads_16"]  # fmt: skip
RATES = ["lr_7.5e-5", "lr_1.5e-4", BASELINE, "lr_6e-4"]  # 1/4, 1/2, 1 and 2 times the baseline's
WEAK_GATES = ["unconditional_channel", "unconditional_head", "unconditional_single", "static_positional", "static_token"]


@dataclass(frozen=True)
class Ratio:
    """row's figure / that of `of` stands so to `bound`."""

    figure: str  # sink, spike, perplexity
    row: str
    relation: str  # < <= > >=
    bound: float
    of: str = BASELINE

    @property
    def sign(self):
        """1 where larger is further inside."""
        return 1 if self.relation.startswith(">") else -1

    @property
    def needs(self):
        return (self.row, self.of)


@dataclass(frozen=True)
class Rises:
    """The figure rises along the rows: Spearman's rank correlation with their order is above `bound`."""

    figure: str
    rows: tuple
    bound: float

    @property
    def needs(self):
        return self.rows


@dataclass(frozen=True)
class SmallerDrop:
    """From the baseline to `row` the figure falls by less than from the baseline to `than`."""

    figure: str
    row: str
    than: str

    @property
    def needs(self):
        return (self.row, self.than)


@dataclass(frozen=True)
class Contrast:
    name: str
    says: str
    criteria: tuple

    @property
    def rows(self):
        """The rows that it needs, the baseline first."""
        return list(dict.fromkeys([BASELINE, *(row for criterion in self.criteria for row in criterion.needs)]))

    @property
    def figures(self):
        return {criterion.figure for criterion in self.criteria}


def below(figure, row, bound, of=BASELINE):
    return Ratio(figure, row, "<", bound, of)


def above(figure, row, bound, of=BASELINE):
    return Ratio(figure, row, ">", bound, of)


def keeps(figure, row, bound):
    return Ratio(figure, row, ">=", bound)


def within(figure, row, share):
    return (Ratio(figure, row, "<=", 1 + share), Ratio(figure, row, ">=", 1 - share))


# Of the rows here, those whose perplexity is within 5 % of the baseline's in the paper.
NEAR = ["gelu", "sandwich", "sandwich_qk", "dynamic_tanh", "heads_8", "heads_16", "d_head_32", "d_head_64",
        *[row for row in FIXED_TOTAL if row not in (BASELINE, "d_head_8_heads_512")], "lr_6e-4", "weight_decay_0",
        "conditional_channel", "conditional_head", "conditional_single", *WEAK_GATES, "loss_1024_4096",
        "loss_2048_4096"]  # fmt: skip

CONTRASTS = [
    Contrast("C1", "GeLU: sinks at least as strong as SwiGLU's", (keeps("sink", "gelu", 1),)),
    Contrast("C2", "linear FFN and attention only: spikes below 1/2, sinks kept",
             (below("spike", "linear", 1 / 2), below("spike", "attention", 1 / 2), keeps("sink", "linear", 0.7),
              keeps("sink", "attention", 0.7))),
    Contrast("C3", "sandwich norm: spikes below 1/2, sinks kept",
             (below("spike", "sandwich", 1 / 2), keeps("sink", "sandwich", 0.7))),
    Contrast("C4", "sandwich norm with QK norm: spikes below 1/4, sinks kept",
             (below("spike", "sandwich_qk", 1 / 4), keeps("sink", "sandwich_qk", 0.7))),
    Contrast("C5", "DynamicTanh: spikes below 1/4, sinks kept",
             (below("spike", "dynamic_tanh", 1 / 4), keeps("sink", "dynamic_tanh", 0.8))),
    Contrast("C6", "sinks grow with d_head, heads as they are", (Rises("sink", tuple(WIDTHS), 0.9),)),
    Contrast("C7", "sinks grow with d_head, n_heads * d_head as it is", (Rises("sink", tuple(FIXED_TOTAL), 0.9),)),
    Contrast("C8", "fewer heads take less of the sinks than narrower ones, 1/4 of each", (SmallerDrop("sink", "heads_8", "d_head_32"),)),
    Contrast("C9", "conditional gates by channel and by head: sinks below 1/4, spikes below 1/2",
             (below("sink", "conditional_channel", 1 / 4), below("sink", "conditional_head", 1 / 4),
              below("spike", "conditional_channel", 1 / 2), below("spike", "conditional_head", 1 / 2))),
    Contrast("C10", "one conditional gate a token: sinks between those of C9 and the baseline's",
             (below("sink", "conditional_single", 1), above("sink", "conditional_single", 1, "conditional_channel"),
              above("sink", "conditional_single", 1, "conditional_head"))),
    Contrast("C11", "gates that do not see the block's input keep 0.6 of the sinks",
             tuple(keeps("sink", row, 0.6) for row in WEAK_GATES)),
    Contrast("C12", "loss from 1/4 and 1/2 of the context on: sinks below 1/2, and falling",
             (below("sink", "loss_1024_4096", 1 / 2), below("sink", "loss_2048_4096", 1 / 2),
              below("sink", "loss_2048_4096", 1, "loss_1024_4096"))),
    Contrast("C13", "sinks rise with the learning rate, from 1/4 to 2 times the baseline's",
             (Rises("sink", tuple(RATES), 0.9),)),
    Contrast("C14", "no weight decay: spikes up, sinks down",
             (above("spike", "weight_decay_0", 1), below("sink", "weight_decay_0", 1))),
    Contrast("C15", "beta2 of 0.999: sinks below 0.7", (below("sink", "beta2_0.999", 0.7),)),
    Contrast("C16", "perplexity within 5 % of the baseline's, in the rows here of which the paper has it so",
             tuple(criterion for row in NEAR for criterion in within("perplexity", row, 0.05))),
]  # fmt: skip
