"""A stochastic SIR model: susceptible, infectious, recovered.

Events happen one at a time, at exponential waiting times (Gillespie's direct method), so
that a seed decides everything.
"""

import random

# What a scenario multiplies the transmission rate by.
SCENARIOS = {"baseline": 1.0, "distancing": 0.6}


def simulate(
    *,
    scenario: str = "baseline",
    seed: int,
    beta: float = 0.3,
    gamma: float = 0.1,
    population: int = 1000,
    initial_infected: int = 5,
) -> dict[str, dict]:
    """Simulate one epidemic until nobody is infectious.

    beta: infections that one infectious person causes per day among susceptibles only
    gamma: recoveries of one infectious person per day
    Returns one row for each output: "final_size" and "peak".
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"unknown scenario {scenario!r}; there are {', '.join(sorted(SCENARIOS))}")
    if not 0 < initial_infected <= population or beta < 0 or gamma <= 0:
        raise ValueError("parameters are out of range")
    beta *= SCENARIOS[scenario]
    rng = random.Random(seed)
    day, susceptible, infectious = 0.0, population - initial_infected, initial_infected
    peak_day, peak = 0.0, infectious
    while infectious > 0:
        infection = beta * susceptible * infectious / population
        recovery = gamma * infectious
        day += rng.expovariate(infection + recovery)
        if rng.random() * (infection + recovery) < infection:
            susceptible -= 1
            infectious += 1
            if infectious > peak:
                peak_day, peak = day, infectious
        else:
            infectious -= 1
    infected = population - susceptible
    return {
        "final_size": {"infected": infected, "attack_rate": infected / population, "last_day": day},
        "peak": {"peak_day": peak_day, "peak_infectious": peak},
    }
