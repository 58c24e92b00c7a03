"""A stochastic SIR model for Calabaria."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from modelops_calabaria import BaseModel, ParameterSet, ParameterSpace, ParameterSpec, model_output


class SIR(BaseModel):
    """Susceptible, infectious, recovered, in steps of one day."""

    POPULATION = 10_000
    DAYS = 180

    def __init__(self, space: ParameterSpace | None = None):
        super().__init__(space or self.parameter_space(), base_config={})

    @staticmethod
    def parameter_space() -> ParameterSpace:
        return ParameterSpace([
            ParameterSpec("beta", 0.05, 1.0, "float", doc="infections per infectious person and day"),
            ParameterSpec("gamma", 0.05, 0.5, "float", doc="recoveries per infectious person and day"),
            ParameterSpec("initial_infected", 1, 100, "int", doc="infectious people on day 0"),
        ])

    def build_sim(self, params: ParameterSet, config: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "beta": float(params["beta"]),
            "gamma": float(params["gamma"]),
            "initial_infected": int(params["initial_infected"]),
        }

    def run_sim(self, state: dict[str, Any], seed: int) -> dict[str, list]:
        rng = np.random.default_rng(seed)
        infectious = state["initial_infected"]
        susceptible = self.POPULATION - infectious
        prevalence, incidence = [infectious], [0]
        for _ in range(self.DAYS):
            force = 1.0 - np.exp(-state["beta"] * infectious / self.POPULATION)
            infections = int(rng.binomial(susceptible, force))
            recoveries = int(rng.binomial(infectious, 1.0 - np.exp(-state["gamma"])))
            susceptible -= infections
            infectious += infections - recoveries
            prevalence.append(infectious)
            incidence.append(infections)
        return {"prevalence": prevalence, "incidence": incidence}

    @model_output("prevalence")
    def prevalence(self, raw: dict[str, list], seed: int) -> pl.DataFrame:
        return pl.DataFrame({"day": range(len(raw["prevalence"])), "infectious": raw["prevalence"]})

    @model_output("incidence")
    def incidence(self, raw: dict[str, list], seed: int) -> pl.DataFrame:
        return pl.DataFrame({"day": range(len(raw["incidence"])), "infections": raw["incidence"]})
