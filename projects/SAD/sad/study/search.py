"""The searches of configs/tables.yaml: learning rates and loss weights, by AP on a tuning set."""

from collections.abc import Callable

from .experiments import Experiment, Lab

MOST_WIDENINGS = 3  # of a grid: a weight may have no best value but 0 or infinity


def search_families(lab: Lab, benchmark: str, spec: dict) -> dict[Experiment, dict]:
    """Each family: every weight at the first rate, then the other rates at the best weight.

    Args:
        spec: a search with `families` in the `sweep` of configs/tables.yaml.
    Returns:
        the result of each trial
    """

    def experiment(config, rate, weight=None):
        opts = ("DATASETS.TEST", f"('{spec['test']}',)", "SOLVER.BASE_LR", rate)
        if weight is not None:
            (term,) = Experiment(benchmark, config).cfg.SAD.DISTILL.TERMS
            opts += (f"SAD.DISTILL.{term.upper()}.WEIGHT", weight)
        return Experiment(benchmark, config, spec["seed"], opts)

    first, *others = spec["rates"]
    weights = {family: spec["weights"] for family in spec["families"]}
    weights[spec["plain"]] = [None]
    trials = [experiment(family, first, w) for family, tried in weights.items() for w in tried]
    found = lab.run_all(trials)
    best = {
        family: max(tried, key=lambda w: found[experiment(family, first, w)]["AP"])
        for family, tried in weights.items()
    }
    rest = [experiment(family, rate, weight) for family, weight in best.items() for rate in others]
    return found | lab.run_all(rest)


def search_arms(lab: Lab, benchmark: str, spec: dict) -> dict[Experiment, dict]:
    """The plain student's learning rate, then every arm's weights at the best one, and at last the
    joint arms', which start from the best weights of their parts.

    Args:
        spec: a search with `arms` in the `sweep` of configs/tables.yaml. Without `plain` the arms
            keep their learning rates.
    Returns:
        the result of each trial
    """
    found, at_rate = {}, ()

    def experiment(config: str, rate: tuple, weights: dict[str, float]) -> Experiment:
        opts = ("DATASETS.TEST", f"('{spec['test']}',)")
        for term, weight in weights.items():
            opts += (f"SAD.DISTILL.{term}.WEIGHT", weight)
        return Experiment(benchmark, config, spec["seed"], opts, rate)

    def best_weights(arms: dict[str, dict]) -> dict[str, dict]:
        trials = {
            config: lambda factor, config=config, weights=weights: experiment(
                config, at_rate, _times(weights, factor)
            )
            for config, weights in arms.items()
        }
        best = search_grids(lab, trials, spec["factors"], found)
        return {config: _times(arms[config], factor) for config, factor in best.items()}

    if plain := spec.get("plain"):
        own = Experiment(benchmark, plain).cfg.SOLVER.BASE_LR

        def rates(value: float) -> tuple:  # the yaml's own goes without saying
            return () if value == own else ("SOLVER.BASE_LR", value)

        alone = {plain: lambda value: experiment(plain, rates(value), {})}
        at_rate = rates(search_grids(lab, alone, spec["rates"], found)[plain])
    best = best_weights(spec["arms"])
    if joint := spec.get("joint"):
        parts = {term: x for part in spec["parts"] for term, x in best[part].items()}
        best_weights(dict.fromkeys(joint, parts))
    return found


def search_grids(
    lab: Lab,
    trials: dict[str, Callable[[float], Experiment]],
    values: list[float],
    found: dict[Experiment, dict],
) -> dict[str, float]:
    """The value with the best AP for each arm. A grid that ends at its best value is made longer.

    Args:
        trials: arm -> its experiment with a value
        values: to begin with, rising; at least two.
        found: the results, to which those of the trials are added.
    """
    grids = {arm: sorted(values) for arm in trials}
    while True:
        found |= lab.run_all([trials[arm](x) for arm, grid in grids.items() for x in grid])
        best = {
            arm: max(grid, key=lambda x, trial=trials[arm]: found[trial(x)]["AP"])
            for arm, grid in grids.items()
        }
        too_short = [
            arm
            for arm, grid in grids.items()
            if best[arm] in (grid[0], grid[-1]) and len(grid) < len(values) + MOST_WIDENINGS
        ]
        if not too_short:
            return best
        for arm in too_short:
            _widen(grids[arm], best[arm])


def _widen(grid: list[float], best: float) -> None:
    """By one more value beyond the end that `best` is, as far from it as its neighbour is."""
    if best == grid[0]:
        grid.insert(0, _rounded(best * best / grid[1]))
    else:
        grid.append(_rounded(best * best / grid[-2]))


def _times(weights: dict[str, float], factor: float) -> dict[str, float]:
    return {term: _rounded(weight * factor) for term, weight in weights.items()}


def _rounded(x: float) -> float:
    return float(f"{x:.2g}")
