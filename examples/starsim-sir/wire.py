"""Starsim's SIR model: one epidemic for each seed, as a table of its course."""

import os

os.environ.setdefault("STARSIM_INSTALL_FONTS", "0")  # no plot is made here

import numpy as np
import pandas as pd
import starsim as ss


def wire(entrypoint, params, seed):
    """Run one replicate.

    params: beta (per year), initial (share infected at the start), duration (mean, years),
    contacts (per agent), n_agents, years. Each has a default.
    """
    sim = ss.Sim(
        n_agents=int(params.get("n_agents", 1000)),
        dur=int(params.get("years", 40)),
        rand_seed=int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1),  # Starsim's seeds are smaller than the suite's
        diseases=ss.SIR(
            beta=float(params.get("beta", 0.1)),
            init_prev=ss.bernoulli(float(params.get("initial", 0.01))),
            dur_inf=ss.lognorm_ex(mean=ss.years(float(params.get("duration", 6)))),
        ),
        networks=ss.RandomNet(n_contacts=int(params.get("contacts", 4))),
        verbose=0,
    )
    sim.run()
    sir = sim.results.sir
    course = pd.DataFrame({
        "year": range(len(sir.n_susceptible)),
        "susceptible": [int(n) for n in sir.n_susceptible],
        "infected": [int(n) for n in sir.n_infected],
        "recovered": [int(n) for n in sir.n_recovered],
        "new_infections": [int(n) for n in sir.new_infections],
    })
    return {"epidemic": course.to_csv(index=False).encode()}
