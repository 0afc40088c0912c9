"""Builds seven PyMC models and exports their log-density and gradient as gcomp graphs.

    python graphs/export_pymc_models.py [--only NAME] [--out FOLDER]

Needs pymc 5.28.5 and pytensor 2.38.3 (Python 3.11) and the gcomp package (scripts/python). The data are
the published ones where they are small (eight schools) or come with ArviZ, which PyMC depends on (radon);
the rest is simulated with a fixed seed, so that every run writes the same bytes.

`MODELS` and `points` are also what the tests and `scripts/bench_pymc.py` use.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import pymc as pm
import pytensor.tensor as pt

HERE = pathlib.Path(__file__).resolve().parent


def eight_schools():
    """Non-centred hierarchical normal model (Rubin 1981)."""
    y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    sigma = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
    with pm.Model() as model:
        mu = pm.Normal("mu", 0.0, 5.0)
        tau = pm.HalfCauchy("tau", 5.0)
        eta = pm.Normal("eta", 0.0, 1.0, shape=8)
        theta = pm.Deterministic("theta", mu + tau * eta)
        pm.Normal("obs", theta, sigma, observed=y)
    return model


def radon_data():
    """Log radon, floor, county index and log uranium per county: 919 houses in 85 counties."""
    import arviz

    root = pathlib.Path(arviz.__file__).parent
    path = root / "data" / "example_data" / "code" / "radon" / "radon.json"
    raw = json.loads(path.read_text())
    county = np.array(raw["county"], dtype="int64") - 1
    return np.array(raw["y"]), np.array(raw["x"], dtype="float64"), county, np.array(raw["u"])


def radon():
    """Varying intercepts (with a county-level predictor) and varying slopes, non-centred."""
    y, floor, county, uranium = radon_data()
    counties = len(uranium)
    with pm.Model() as model:
        gamma = pm.Normal("gamma", 0.0, 10.0, shape=2)
        mu_b = pm.Normal("mu_b", 0.0, 10.0)
        sigma_a = pm.HalfNormal("sigma_a", 1.0)
        sigma_b = pm.HalfNormal("sigma_b", 1.0)
        z_a = pm.Normal("z_a", 0.0, 1.0, shape=counties)
        z_b = pm.Normal("z_b", 0.0, 1.0, shape=counties)
        a = gamma[0] + gamma[1] * uranium + sigma_a * z_a
        b = mu_b + sigma_b * z_b
        sigma_y = pm.Exponential("sigma_y", 1.0)
        pm.Normal("obs", a[county] + b[county] * floor, sigma_y, observed=y)
    return model


def logistic():
    """Logistic regression: 500 observations, 5 predictors and an intercept."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(500, 5))
    truth = np.array([0.8, -1.2, 0.0, 0.5, 2.0])
    y = (rng.uniform(size=500) < 1.0 / (1.0 + np.exp(-(x @ truth - 0.3)))).astype("int64")
    with pm.Model() as model:
        alpha = pm.Normal("alpha", 0.0, 2.5)
        beta = pm.Normal("beta", 0.0, 2.5, shape=5)
        pm.Bernoulli("obs", logit_p=alpha + pt.dot(x, beta), observed=y)
    return model


def mixture():
    """Normal mixture of three ordered components, 300 observations."""
    rng = np.random.default_rng(12)
    centre = np.array([-2.0, 0.5, 3.0])
    spread = np.array([0.5, 0.8, 1.0])
    which = rng.choice(3, size=300, p=[0.3, 0.5, 0.2])
    y = centre[which] + spread[which] * rng.normal(size=300)
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(3))
        mu = pm.Normal(
            "mu",
            0.0,
            5.0,
            shape=3,
            transform=pm.distributions.transforms.ordered,
            initval=np.array([-1.0, 0.0, 1.0]),
        )
        sigma = pm.HalfNormal("sigma", 2.0, shape=3)
        pm.NormalMixture("obs", w=w, mu=mu, sigma=sigma, observed=y)
    return model


def weibull():
    """Weibull survival regression with right censoring, 200 subjects."""
    rng = np.random.default_rng(13)
    x = rng.normal(size=(200, 2))
    scale = np.exp(1.0 + x @ np.array([0.5, -0.7]))
    time = scale * rng.weibull(1.4, size=200)
    censored = time > 6.0
    time = np.where(censored, 6.0, time)
    with pm.Model() as model:
        intercept = pm.Normal("intercept", 0.0, 5.0)
        beta = pm.Normal("beta", 0.0, 2.0, shape=2)
        alpha = pm.Gamma("alpha", 2.0, 1.0)
        rate = pt.exp(intercept + pt.dot(x, beta))
        pm.Weibull("obs", alpha, rate[~censored], observed=time[~censored])
        # The log of the survival function at the time of censoring.
        pm.Potential("censored", -((6.0 / rate[censored]) ** alpha).sum())
    return model


def bayesian_nn():
    """A 2-5-5-1 tanh network for two half moons, 200 points."""
    rng = np.random.default_rng(14)
    angle = rng.uniform(0.0, np.pi, size=200)
    label = np.arange(200) % 2
    x = np.where(
        label[:, None] == 0,
        np.stack([np.cos(angle), np.sin(angle)], axis=1),
        np.stack([1.0 - np.cos(angle), 0.5 - np.sin(angle)], axis=1),
    ) + 0.2 * rng.normal(size=(200, 2))
    start = np.random.default_rng(15)
    with pm.Model() as model:
        w1 = pm.Normal("w_in", 0.0, 1.0, shape=(2, 5), initval=start.normal(size=(2, 5)))
        w2 = pm.Normal("w_mid", 0.0, 1.0, shape=(5, 5), initval=start.normal(size=(5, 5)))
        w3 = pm.Normal("w_out", 0.0, 1.0, shape=5, initval=start.normal(size=5))
        hidden = pt.tanh(pt.dot(pt.tanh(pt.dot(x, w1)), w2))
        pm.Bernoulli("obs", p=pm.math.sigmoid(pt.dot(hidden, w3)), observed=label)
    return model


def hsgp():
    """Poisson counts over time with a Hilbert-space approximate Gaussian process, 20 basis functions."""
    rng = np.random.default_rng(16)
    t = np.linspace(0.0, 10.0, 120)
    counts = rng.poisson(np.exp(1.0 + 0.8 * np.sin(t)))
    with pm.Model() as model:
        length = pm.InverseGamma("length", 3.0, 3.0)
        eta = pm.Exponential("eta", 1.0)
        baseline = pm.Normal("baseline", 0.0, 2.0)
        cov = eta**2 * pm.gp.cov.Matern52(1, ls=length)
        gp = pm.gp.HSGP(m=[20], c=1.5, cov_func=cov)
        f = gp.prior("f", X=t[:, None])
        pm.Poisson("obs", mu=pt.exp(baseline + f), observed=counts)
    return model


MODELS = {
    f.__name__: f
    for f in (eight_schools, radon, logistic, mixture, weibull, bayesian_nn, hsgp)
}


# Two points outside the support of each model, as {value variable: number for all its elements}; the
# others stay near their start. Chosen where the infinities and NaN of the gradient do not depend on the
# order of operations (PyTensor's own modes agree there; where they do not, no answer is the right one).
OUTSIDE = {
    "eight_schools": ({"tau_log__": 800.0}, {"tau_log__": -np.inf}),
    "radon": ({"sigma_y_log__": -800.0}, {"sigma_a_log__": 800.0}),
    "logistic": ({"beta": np.inf}, {"beta": -np.inf}),
    "mixture": ({"sigma_log__": -800.0}, {"sigma_log__": 800.0}),
    "weibull": ({"intercept": 800.0}, {"beta": -800.0}),
    "bayesian_nn": ({"w_out": 1e200}, {"w_mid": -np.inf}),
    "hsgp": ({"length_log__": -800.0}, {"eta_log__": 800.0}),
}


def points(name, model):
    """Five points (dictionaries by value-variable name): three random ones around the start, then the two
    of OUTSIDE."""
    start = {n: np.asarray(v) for n, v in model.initial_point().items()}
    out = []
    for seed in (1, 2, 3):
        rng = np.random.default_rng(seed)
        out.append({n: np.asarray(v + 0.3 * rng.normal(size=v.shape)) for n, v in start.items()})
    for far in OUTSIDE[name]:
        out.append({n: np.full_like(v, far[n]) if n in far else v for n, v in out[0].items()})
    return out


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=sorted(MODELS))
    parser.add_argument("--out", default=str(HERE), help="folder to write into")
    args = parser.parse_args(argv)
    sys.path.insert(0, str(HERE.parent / "scripts" / "python"))
    import gcomp

    for name, build in MODELS.items():
        if args.only in (None, name):
            path = pathlib.Path(args.out) / f"{name}.json"
            gcomp.export_pymc(build(), path, name=name)
            print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
