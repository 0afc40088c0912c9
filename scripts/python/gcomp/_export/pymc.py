"""export_pymc: a PyMC model's log-density and gradient."""

import pytensor
from pymc.pytensorf import rewrite_pregrad

from .pytensor import export_pytensor


def logp_and_gradient(model, jacobian=True, gradient=True, pregrad=False):
    """(inputs, outputs, output names): the raw graph export_pymc writes."""
    logp = model.logp(jacobian=jacobian)
    outputs, names = [logp], ["logp"]
    if gradient:
        wrt = model.continuous_value_vars
        cost = rewrite_pregrad(logp) if pregrad else logp
        outputs += pytensor.grad(cost, wrt, disconnected_inputs="ignore")
        names += [f"grad_{v.name}" for v in wrt]
    return list(model.value_vars), outputs, names


def export_pymc(model, path, *, jacobian=True, gradient=True, pregrad=False, data=(), name=None):
    """Writes the log-density of a PyMC model and its gradient to `path` as a gcomp graph.

    Inputs are the model's value variables (on the unconstrained scale where the model transforms them:
    "tau_log__"), in its order. Outputs are "logp", a scalar, then "grad_<value variable>" for each
    continuous one. Parameters out of their range give -inf, as in PyMC's compiled functions (if the
    model's check_bounds is False the checks are left out).

    jacobian   include the log-Jacobian terms of the transforms
    gradient   False: the log-density only
    pregrad    True: differentiate the log-density as PyTensor's canonicalize and stabilize rewrites leave
               it, as model.compile_dlogp does; by default the graph is exported as PyMC builds it
    data       names of pm.Data variables that become inputs (after the value variables); the values of
               the others are constants
    """
    inputs, outputs, names = logp_and_gradient(model, jacobian, gradient, pregrad)
    known = {v.name: v for v in model.data_vars}
    for wanted in data:
        if wanted not in known:
            raise ValueError(f"data: the model has no pm.Data named {wanted!r}")
    return export_pytensor(
        inputs + [known[d] for d in data],
        outputs,
        path,
        output_names=names,
        name=name or model.name or None,
        checks="ninf" if model.check_bounds else "remove",
    )
