"""What users rely on: names, signatures, and docstrings that agree with them."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest
from numpydoc.validate import validate

import infogeo

# The signatures of the design, as users write them. More parameters may be added, none removed.
SIGNATURES = {
    "fisher_rao_distance": "a, b, *, check",
    "simplex.fisher_rao_distance": "p, q, *, check",
    "simplex.fisher_rao_squared_distance": "p, q, *, check",
    "simplex.fisher_rao_geodesic": "p, q, t, *, check",
    "simplex.e_geodesic": "p, q, t, *, check",
    "simplex.m_geodesic": "p, q, t, *, check",
    "simplex.alpha_geodesic": "p, q, t, *, alpha, check",
    "simplex.exp_map": "p, v, *, check",
    "simplex.log_map": "p, q, *, check",
    "simplex.boundary_time": "p, v, *, check",
    "simplex.inner_product": "p, u, v, *, check",
    "simplex.norm": "p, v, *, check",
    "simplex.parallel_transport": "p, q, v, *, check",
    "simplex.e_transport": "p, q, v, *, check",
    "simplex.m_transport": "p, q, v, *, check",
    "simplex.sphere_embedding": "p, *, check",
    "simplex.from_sphere": "u, *, check",
    "simplex.natural_parameters": "p, *, check",
    "simplex.from_natural_parameters": "theta, *, check",
    "simplex.expectation_parameters": "p, *, check",
    "simplex.from_expectation_parameters": "eta, *, check",
    "simplex.e_representation": "p, v, *, check",
    "simplex.m_representation": "p, score, *, check",
    "simplex.fisher_information": "p, *, check",
    "simplex.christoffel_symbols": "p, *, alpha, check",
    "simplex.entropy": "p, *, base, check",
    "simplex.kl_divergence": "p, q, *, base, check",
    "simplex.chi_square_divergence": "p, q, *, check",
    "simplex.jensen_shannon_distance": "p, q, *, base, check",
    "simplex.jensen_shannon_divergence": "p, q, *, base, check",
    "simplex.total_variation_distance": "p, q, *, check",
    "simplex.jeffreys_divergence": "p, q, *, base, check",
    "simplex.alpha_divergence": "p, q, *, alpha, check",
    "simplex.renyi_divergence": "p, q, *, order, base, check",
    "simplex.hellinger_distance": "p, q, *, check",
    "simplex.bhattacharyya_coefficient": "p, q, *, check",
    "simplex.e_mean": "points, *, weights, axis, check",
    "simplex.m_mean": "points, *, weights, axis, check",
    "logits.canonical": "z, *, check",
    "logits.sphere_embedding": "z, *, check",
    "logits.to_simplex": "z, *, check",
    "logits.from_simplex": "p, *, check",
    "logits.quotient_norm": "z, *, order, check",
    "logits.fisher_information": "z, *, check",
    "logits.apply_fisher": "z, v, *, check",
    "logits.apply_inverse_fisher": "z, g, *, check",
    "logits.natural_gradient": "z, g, *, check",
    "logits.fisher_rao_distance": "z, w, *, check",
    "logits.fisher_rao_squared_distance": "z, w, *, check",
    "logits.fisher_rao_geodesic": "z, w, t, *, check",
    "logits.e_geodesic": "z, w, t, *, check",
    "logits.m_geodesic": "z, w, t, *, check",
    "logits.alpha_geodesic": "z, w, t, *, alpha, check",
    "logits.exp_map": "z, v, *, check",
    "logits.log_map": "z, w, *, check",
    "logits.kl_divergence": "z, w, *, base, check",
    "logits.chi_square_divergence": "z, w, *, check",
    "logits.jensen_shannon_distance": "z, w, *, base, check",
    "logits.jensen_shannon_divergence": "z, w, *, base, check",
    "logits.total_variation_distance": "z, w, *, check",
    "logits.jeffreys_divergence": "z, w, *, base, check",
    "logits.alpha_divergence": "z, w, *, alpha, check",
    "logits.renyi_divergence": "z, w, *, order, base, check",
    "logits.hellinger_distance": "z, w, *, check",
    "logits.bhattacharyya_coefficient": "z, w, *, check",
    "logits.e_mean": "points, *, weights, axis, check",
    "logits.m_mean": "points, *, weights, axis, check",
    "simplex.volume": "num_outcomes",
    "simplex.random_uniform": "num_outcomes, size, *, rng",
    "multivariate_normal.MultivariateNormal": "mean, cov, *, check",
    "multivariate_normal.MultivariateNormal.fit": "samples, labels, *, shrinkage, check",
    "multivariate_normal.MultivariateNormal.stack": "points",
    "multivariate_normal.connect": "a, b, *, rtol, max_steps, throw, check",
    "multivariate_normal.distance_bounds": "a, b, *, check",
    "multivariate_normal.e_geodesic": "a, b, t, *, check",
    "multivariate_normal.e_mean": "points, *, weights, axis, check",
    "multivariate_normal.e_transport": "a, b, v, *, check",
    "multivariate_normal.entropy": "a, *, check",
    "multivariate_normal.exp_map": "a, v, *, check",
    "multivariate_normal.expectation_parameters": "a, *, check",
    "multivariate_normal.fisher_information": "a, *, check",
    "multivariate_normal.fisher_rao_distance": "a, b, *, rtol, max_steps, check",
    "multivariate_normal.fisher_rao_geodesic": "a, b, t, *, rtol, max_steps, check",
    "multivariate_normal.fisher_rao_squared_distance": "a, b, *, rtol, max_steps, check",
    "multivariate_normal.fixed_covariance_distance": "a, b, *, check",
    "multivariate_normal.fixed_mean_distance": "a, b, *, check",
    "multivariate_normal.from_expectation_parameters": "eta_1, eta_2, *, check",
    "multivariate_normal.from_natural_parameters": "theta_1, theta_2, *, check",
    "multivariate_normal.hellinger_distance": "a, b, *, check",
    "multivariate_normal.inner_product": "a, u, v, *, check",
    "multivariate_normal.jeffreys_divergence": "a, b, *, check",
    "multivariate_normal.kl_divergence": "a, b, *, check",
    "multivariate_normal.log_map": "a, b, *, rtol, max_steps, check",
    "multivariate_normal.m_geodesic": "a, b, t, *, check",
    "multivariate_normal.m_mean": "points, *, weights, axis, check",
    "multivariate_normal.m_transport": "a, b, v, *, check",
    "multivariate_normal.natural_parameters": "a, *, check",
    "multivariate_normal.norm": "a, v, *, check",
    "normal.Normal": "mean, std, *, check",
    "normal.Normal.stack": "points",
    "normal.Normal.fit": "samples, labels, *, check",
    "normal.Tangent": "mean, std, *, check",
    "normal.fisher_rao_distance": "a, b, *, check",
    "normal.fisher_rao_squared_distance": "a, b, *, check",
    "normal.diagonal_fisher_rao_distance": "a, b, *, check",
    "normal.diagonal_fisher_rao_squared_distance": "a, b, *, check",
    "normal.fisher_rao_geodesic": "a, b, t, *, check",
    "normal.e_geodesic": "a, b, t, *, check",
    "normal.m_geodesic": "a, b, t, *, check",
    "normal.exp_map": "a, v, *, check",
    "normal.log_map": "a, b, *, check",
    "normal.inner_product": "a, u, v, *, check",
    "normal.norm": "a, v, *, check",
    "normal.parallel_transport": "a, b, v, *, check",
    "normal.e_transport": "a, b, v, *, check",
    "normal.m_transport": "a, b, v, *, check",
    "normal.fisher_information": "a, *, check",
    "normal.christoffel_symbols": "a, *, check",
    "normal.sectional_curvature": "a, u, v, *, check",
    "normal.natural_parameters": "a, *, check",
    "normal.from_natural_parameters": "theta_1, theta_2, *, check",
    "normal.expectation_parameters": "a, *, check",
    "normal.from_expectation_parameters": "eta_1, eta_2, *, check",
    "normal.entropy": "a, *, check",
    "normal.kl_divergence": "a, b, *, check",
    "normal.jeffreys_divergence": "a, b, *, check",
    "normal.hellinger_distance": "a, b, *, check",
    "normal.e_mean": "points, *, weights, axis, check",
    "normal.m_mean": "points, *, weights, axis, check",
    "inference.interval": "counts_a, counts_b, *, level",
    "inference.homogeneity_test": "counts_a, counts_b",
    "inference.goodness_of_fit": "counts, p",
    "inference.k_sample_test": "counts",
    "inference.prediction_test": "p, q, *, space, num_draws, seed, block_size",
    "inference.diagonal_interval": "a, b, *, size_a, size_b, level",
    "inference.bootstrap": "statistic, *, num_draws, seed, batch_size",
    "inference.jackknife": "statistic, *, num_groups, seed",
    "inference.mean_standard_error": "points, *, space, num_groups, seed",
    "inference.distance_standard_errors": "points, sizes, *, space",
    "mean.frechet_mean": "points, *, space, weights, axis, tol, max_steps, throw",
    "neighbors.pairwise_distance": "a, b, *, space, block_size, check",
    "neighbors.nearest": "queries, points, *, num_neighbors, space, check",
    "family.ExponentialFamily": "features, log_base, *, check",
    "family.ExponentialFamily.through": "points, *, check",
    "family.ExponentialFamily.log_partition": "self, theta",
    "family.ExponentialFamily.log_probabilities": "self, theta",
    "family.ExponentialFamily.probabilities": "self, theta",
    "family.ExponentialFamily.expectation_parameters": "self, theta",
    "family.ExponentialFamily.natural_parameters": "self, eta",
    "family.ExponentialFamily.negative_entropy": "self, eta",
    "family.ExponentialFamily.fisher_information": "self, theta",
    "family.ExponentialFamily.expectation_fisher_information": "self, eta",
    "family.ExponentialFamily.kl_divergence": "self, theta_1, theta_2",
    "family.ExponentialFamily.e_geodesic": "self, theta_1, theta_2, t",
    "family.ExponentialFamily.m_geodesic": "self, theta_1, theta_2, t",
    "family.ExponentialFamily.contains": "self, p, *, tol",
    "family.MixtureFamily": "features, targets, *, check",
    "family.MixtureFamily.through": "points, *, check",
    "family.MixtureFamily.contains": "self, p, *, tol",
    "family.MixtureFamily.residual": "self, p",
    "family.m_projection": "p, E",
    "family.e_projection": "q, M",
    "family.intersection": "E, M",
    "family.em": "E, M, theta, *, tol, max_steps, throw",
    "maxent.c_maximize": (
        "features, targets, *, log_base, lower, upper, penalty, initial_theta, callback, tol, "
        "max_steps, throw, check"
    ),
    "maxent.max_entropy": (
        "features, targets, *, lower, upper, penalty, initial_theta, callback, tol, max_steps, "
        "throw, check"
    ),
    "maxent.least_violation": "features, targets, *, log_base, tol, max_steps, throw, check",
    "maxent.conditional": "features, labels, *, penalty, log_base, sample_weight, fit_intercept",
    "maxent.match_frequencies": "p, frequencies, *, groups, weights, space, tol, max_steps, throw",
    "maxent.estimate_frequencies": (
        "p, training_frequencies, *, confusion, weights, space, tol, max_steps, throw"
    ),
    "maxent.balance": (
        "covariates, targets, *, weights, total, lower, upper, tolerance, by, normalize, tol, "
        "max_steps, throw"
    ),
    "maxent.fit_margins": "table, margins, *, tol, max_steps, throw",
    "pullback.PullbackMetric": "model, head, *, temperature, strategy, chunk_size",
    "pullback.PullbackMetric.factor": "self, x",
    "pullback.PullbackMetric.scaled_factor": "self, x",
    "pullback.PullbackMetric.boundary_distance": "self, x",
    "pullback.fit_temperature": "logits, labels, *, throw, check",
    "pullback.heads.normal_fixed_std": "std",
    "pullback.comparison.is_gradient_norm_preserving": "metric, x, *, rtol",
    "pullback.comparison.is_locally_lipschitz": "metric, x, *, constant, rtol",
    "pullback.comparison.isometry_defect": "metric, x",
    "pullback.comparison.lipschitz_constant_at": "metric, x",
    "pullback.input_metrics.diagonal": "weights",
    "pullback.input_metrics.full": "matrix",
    "pullback.input_metrics.InputMetric.norm": "self, x, v, *, check",
    "pullback.PullbackMetric.matrix": "self, x",
    "pullback.PullbackMetric.norm": "self, x, v",
    "pullback.PullbackMetric.inner_product": "self, x, u, v",
    "pullback.PullbackMetric.spectrum": "self, x, *, num_values",
    "pullback.PullbackMetric.log_spectrum": "self, x",
    "pullback.PullbackMetric.trace": "self, x",
    "pullback.PullbackMetric.hutchinson_trace": "self, x, *, num_samples, generator",
    "pullback.PullbackMetric.rank": "self, x, *, rtol",
    "pullback.PullbackMetric.output_distance": "self, x0, x1",
    "pullback.PullbackMetric.length": "self, path",
    "pullback.PullbackMetric.energy": "self, path",
    "pullback.PullbackMetric.segment_length": "self, x0, x1, *, num_segments, rtol",
    "pullback.PullbackMetric.distance": "self, x0, x1, *, num_segments, tol, max_steps, throw",
    "pullback.PullbackMetric.horizontal": "self, x, v",
    "pullback.PullbackMetric.vertical": "self, x, v",
    "pullback.PullbackMetric.kernel_walk": "self, x, v, *, num_steps, num_corrections",
    "pullback.PullbackMetric.leaf_path": "self, x0, x1, *, num_steps, clip",
    "pullback.PullbackMetric.leaf_curvature": "self, x, u, v",
    "pullback.WeightMetric.match_weights": "self, w0, w1, *, max_steps, throw",
    "pullback.WeightMetric.match_activations": "self, w0, w1",
    "pullback.WeightMetric.explained_change": "self, x1, w1",
    "pullback.WeightMetric.prediction_std": "self, x, prior_precision, *, inputs, losses",
    "pullback.WeightMetric.log_marginal_likelihood": "self, prior_precision, losses",
    "pullback.WeightMetric.barrier": "self, w0, w1, loss, *, num_points",
    "pullback.merge_scans": "folders, out",
    "pullback.quantities.direction": "metric, x",
    "pullback.quantities.outputs": "metric, x",
    "pullback.quantities.sensitivity": "metric, x",
    "pullback.read_scan": "folder",
    "pullback.scan": "model, loader, *, quantities, out, shard, progress",
    "pullback.Scan.column": "self, name",
    "pullback.Scan.parts": "self",
    "lipschitz.curved.Space": "kappa, dim",
    "lipschitz.curved.Space.distance": "self, z, w, *, check",
    "lipschitz.curved.Exponential": "space, *, radius",
    "lipschitz.curved.Fold": "space, activation",
    "lipschitz.curved.Isometry": "space, *, generator, device, dtype",
    "lipschitz.curved.Rescaling": "space, factor",
    "lipschitz.layers.OrthogonalConv2d": "in_channels, out_channels, kernel_size, bias",
    "lipschitz.layers.OrthogonalLinear": "in_features, out_features, bias, *, parametrization",
    "lipschitz.layers.GroupSort": "group_size, *, dim",
    "lipschitz.layers.Householder": "num_features, *, dim",
    "lipschitz.layers.L1Projection.forward": "self, weight",
    "lipschitz.layers.NormPool": "group_size",
    "lipschitz.layers.Scaling": "factor",
    "lipschitz.layers.as_linear": "layer, input_shape",
    "lipschitz.layers.freeze": "model, *, order",
    "lipschitz.layers.jacobian_spectrum": "model, x, *, chunk_size",
    "lipschitz.layers.lipschitz_bound": "model, *, order, input_shape",
    "lipschitz.layers.operator_norm": "weight, *, domain_order, codomain_order",
    "lipschitz.layers.parseval_step": "weight, *, beta",
    "lipschitz.losses.tau_cross_entropy": "logits, target, *, tau",
    "lipschitz.losses.offset_cross_entropy": "logits, target, *, offset, tau",
    "lipschitz.losses.multiclass_hinge": "logits, target, *, margin",
    "lipschitz.losses.binary_tau_cross_entropy": "f, y, *, tau",
    "lipschitz.losses.kantorovich_rubinstein": "f, y",
    "lipschitz.losses.multiclass_kantorovich_rubinstein": "logits, target",
    "lipschitz.losses.multiclass_hkr": "logits, target, *, margin, weight",
    "lipschitz.losses.hkr": "f, y, *, margin, weight",
    "lipschitz.losses.mean_certifiable_robustness": "f, y",
    "lipschitz.certificates.margin_radius": "logits, *, lipschitz_constant",
    "lipschitz.certificates.fisher_rao_radius": "logits, *, lipschitz_constant",
    "lipschitz.certificates.drift_bound": "radius, *, lipschitz_constant",
    "lipschitz.certificates.binary_radius": "f, *, lipschitz_constant",
    "lipschitz.certificates.pairwise_radius": "logits, weight, *, lipschitz_constant",
    "lipschitz.certificates.l_inf_radius": "logits, *, lipschitz_constant",
    "lipschitz.certificates.confidence_bound": "logits, radius, *, lipschitz_constant",
    "lipschitz.certificates.total_variation_bound": "radius, *, lipschitz_constant",
    "lipschitz.certificates.accept": "logits, radius, *, lipschitz_constant",
    "lipschitz.certificates.coverage": "logits, target, radii, *, lipschitz_constant",
    "lipschitz.propagation.linearize": "model, point, *, check",
    "lipschitz.propagation.propagate": "model, point, *, num_nodes, check",
    "lipschitz.smoothing.votes": "model, x, *, std, num_samples, generator, chunk_size",
    "lipschitz.smoothing.certify": "counts, *, std, confidence",
    "lipschitz.smoothing.drift_bound": "radius, *, std",
    "lipschitz.smoothing.sampling_bound": "num_samples, num_outcomes, *, confidence",
    "pullback.check_differentiable": "model, x, *, step, check",
    "robustness.boundary_distance": "logits, *, check",
    "robustness.robustness_indicator": "model, x, *, head, temperature, check",
    "robustness.isometry_criterion": "model, x, *, radius, head, temperature, check",
    "robustness.spectral_attack": "model, x, *, radius, num_steps, clip, temperature, check",
    "robustness.pgd_attack": "model, x, *, radius, target, order, num_steps, restarts, clip",
    "robustness.isometry_penalty": "model, x, *, radius, head, temperature, check",
    "robustness.trace_penalty": "model, x, *, num_probes, generator, head, temperature, check",
    "interop.distributions.from_distribution": "distribution, *, check",
    "plot.explained_change": "found, *, num_groups, ax",
    "plot.geodesic_circle": "center, radius, *, num_points, check",
    "plot.balls": "center, radii, *, ax, colors",
    "plot.distances": "d, *, quantiles, ax",
    "plot.distances_by_class": "d, classes, *, ax",
    "plot.drift_over_time": "found, *, times, tolerance, ax",
    "plot.intervals": "found, *, names, tolerance, ax",
    "plot.family": "member, *, ax",
    "plot.geodesics": "p, q, *, ax",
    "plot.geodesic_polar": "center, radii, ax, *, num_geodesics, color",
    "plot.half_plane": "ax",
    "plot.level_sets": "function, levels, *, ax, colors",
    "plot.means": "points, *, weights, ax",
    "plot.normal_ellipses": "normals, ax, *, scale",
    "plot.simplex": "ax",
    "plot.ellipses": "metric, xs, *, radius, reach, color, ax",
    "plot.filmstrip": "points, *, captions, num_frames, limits, ax",
    "plot.spectrum": "spectrum, *, label, color, ax",
    "plot.sensitivity": "x, spectrum, *, index, component, ax",
}

# numpydoc's checks that matter: a summary, every parameter documented and none invented,
# types and descriptions present, returns and sections in order.
DOCSTRING_CHECKS = {
    "GL06", "GL07", "GL08", "SS01", "PR01", "PR02", "PR03", "PR04", "PR07", "RT01", "RT03", "YD01",
}  # fmt: skip


def resolve(dotted):
    """Return the object that a dotted name below infogeo stands for."""
    target = infogeo
    for part in dotted.split("."):
        target = getattr(target, part)
    return target


def public_modules():
    """Yield the dotted names of all public modules that import without further extras."""
    for info in pkgutil.walk_packages(infogeo.__path__, "infogeo."):
        if not any(part.startswith("_") for part in info.name.split(".")[1:]):
            yield info.name


def public_objects():
    """Yield (dotted name) of each public function, class and method."""
    for module_name in public_modules():
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", ()):
            target = getattr(module, name)
            if not (inspect.isclass(target) or inspect.isroutine(target)) or target is Any:
                continue
            yield f"{module_name}.{name}"
            if inspect.isclass(target) and target.__module__.startswith("infogeo"):
                for method, member in vars(target).items():
                    if not method.startswith("_") and inspect.isfunction(member):
                        yield f"{module_name}.{name}.{method}"


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_keep_their_promise(name):
    signature = inspect.signature(resolve(name))
    promised = [part.strip() for part in SIGNATURES[name].split(",")]
    keyword_only = promised.index("*") if "*" in promised else len(promised)
    positional = [
        p.name
        for p in signature.parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    keywords = {p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY}
    assert positional[:keyword_only] == promised[:keyword_only]
    assert set(promised[keyword_only + 1 :]) <= keywords


def test_submodules_are_listed_and_load():
    for name in infogeo.__all__:
        assert getattr(infogeo, name) is not None
    assert dir(infogeo) == sorted(infogeo.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        infogeo.nothing  # noqa: B018


@pytest.mark.parametrize("name", sorted(public_objects()))
def test_docstrings_agree_with_signatures(name):
    problems = [
        f"{code}: {text}" for code, text in validate(name)["errors"] if code in DOCSTRING_CHECKS
    ]
    assert not problems


@pytest.mark.parametrize("name", sorted(public_modules()))
def test_public_modules_say_what_they_export(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for exported in module.__all__:
        assert hasattr(module, exported)
    assert set(dir(module)) == set(module.__all__)


REFERENCE = (Path(__file__).parent.parent.parent / "docs" / "api.rst").read_text("utf-8")

# Commands, what they are made of, and functions that are documented as methods.
NOT_IN_THE_REFERENCE = re.compile(
    r"infogeo\.(cli|cli\.demo(\.\w+)?|plot\.report|pullback\.(leaves|paths|weight_\w+))\.\w+"
)


def listed_in_reference(text):
    """Return the pairs (module, name) of the lists of a reference."""
    listed, module = [], None
    for line in text.splitlines():
        if line.startswith((".. automodule:: ", ".. currentmodule:: ")):
            module = line.split(":: ")[1]
        elif re.fullmatch(r"   \w+", line):
            listed.append((module, line.strip()))
    return listed


def missing_from_reference(text):
    """Return what public modules export and a reference lists from none of them."""
    modules = {name: importlib.import_module(name) for name in public_modules()}
    listed = {
        id(getattr(importlib.import_module(m), name)) for m, name in listed_in_reference(text)
    }
    missing = set()
    for dotted in public_objects():
        module, _, name = dotted.rpartition(".")
        if module not in modules or NOT_IN_THE_REFERENCE.fullmatch(dotted):
            continue  # methods stand with their classes
        if id(getattr(modules[module], name)) not in listed:
            missing.add(dotted)
    return missing


def test_reference_lists_what_there_is():
    for module, name in listed_in_reference(REFERENCE):
        assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"
    assert missing_from_reference(REFERENCE) == set()


def test_a_function_of_one_module_does_not_stand_for_that_of_another():
    head, heading, tail = REFERENCE.partition(":: infogeo.normal\n")
    for name in ("exp_map", "fisher_rao_distance", "kl_divergence"):
        tail = tail.replace(f"   {name}\n", "", 1)
    missing = missing_from_reference(head + heading + tail)
    assert missing == {
        f"infogeo.normal.{name}" for name in ("exp_map", "fisher_rao_distance", "kl_divergence")
    }
