"""Two programs in rounds of four runs, A B B A: an even drift of the machine affects both alike, and a ratio is
computed from each round, never from runs that are far apart."""

import dataclasses
import statistics

FIRST, SECOND = (0, 3), (1, 2)


@dataclasses.dataclass
class Ratio:
    """SECOND's value by FIRST's, of the rounds: median, least and greatest."""
    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, rounds, value):
        ratios = [second / first for first, second in zip(means(rounds, FIRST, value), means(rounds, SECOND, value))]
        return cls(statistics.median(ratios), min(ratios), max(ratios))

    def text(self, decimals):
        return f"{self.median:.{decimals}f} ({self.least:.2f}..{self.greatest:.2f})"


def order(first, second):
    return first, second, second, first


def means(rounds, places, value):
    """Of each round, the mean of a program's two runs."""
    return [statistics.mean(value(runs[place]) for place in places) for runs in rounds]


def median(rounds, places, value):
    return statistics.median(means(rounds, places, value))


def as_json(value):
    """For json.dump(default=)."""
    if dataclasses.is_dataclass(value):
        return dataclasses.asdict(value)
    raise TypeError(repr(value))
