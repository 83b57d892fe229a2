"""First-token mass and what is more of it than uniform attention has: one rule for reports and verdicts, sweeps/collect.cpp's."""


def uniform_mass(length):
    """first_token_mass of uniform causal attention over `length` positions, from the second query on; 0 where there is none."""
    return (sum(1 / k for k in range(1, length + 1)) - 1) / (length - 1) if length > 1 else 0.0


def sink_excess(mass, length):
    """0 at the uniform mass, 1 where all attention is on the first token. A run's may lie below 0: it is for who compares
    means over seeds to take such a mean as 0."""
    uniform = uniform_mass(length)
    return (mass - uniform) / (1 - uniform)
