"""The command ``infogeo certify``."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infogeo._system.progress import Progress, progress_bar
from infogeo.cli._common import (
    Commands,
    HelpFormatter,
    UsageError,
    add_network,
    first_line,
    folder_name,
    require,
    say,
    warnings_in_a_line,
    whole_number,
    writable_folder,
)

if TYPE_CHECKING:
    import numpy as np
    import torch
    from matplotlib.figure import Figure

    from infogeo.cli._loading import Batches

_EXPLANATION = """\
The factory is a function without arguments that returns a torch.nn.Module whose outputs are logits.
It is looked for in the current folder, too. The bound on its Lipschitz constant is computed layer
by layer; --constant takes one of your own, which the attack may prove wrong.

  infogeo certify --model package.models:make --weights w.pt --inputs x.npy --labels y.npy -o out

Exit status: 0 if all is well; 1 if the certified accuracy at the largest radius is below
--at-least, or if the attack changes a class that the constant certifies; 2 if something has to be
put right.
"""


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "certify",
        help="certify a network's predictions by its Lipschitz constant, and attack them",
        description="Bounds the Lipschitz constant of a network, and with it the share of inputs "
        "that no perturbation of a size can take to another class; beside it, the accuracy that "
        "projected gradient descent leaves. Writes certify.json and certify.png.",
        epilog=_EXPLANATION,
        formatter_class=HelpFormatter,
    )
    add_network(parser, is_required=True)
    parser.add_argument(
        "--labels",
        metavar="FILE",
        type=Path,
        required=True,
        help="the true classes, integers: a .npy file, or FILE.npz:NAME",
    )
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", required=True, type=folder_name, help="where to write"
    )
    parser.add_argument(
        "--order",
        choices=("2", "inf"),
        default="2",
        help="the norm of perturbations (default: %(default)s)",
    )
    parser.add_argument(
        "--radii",
        metavar="NUMBERS",
        type=_radii,
        help="sizes of perturbations, with commas between them (default: 21 of them, from 0 to the "
        "largest that is certified)",
    )
    parser.add_argument(
        "--constant", metavar="L", type=_positive, help="a Lipschitz constant of your own"
    )
    parser.add_argument(
        "--at-least",
        metavar="SHARE",
        type=_share,
        help="the certified accuracy that is asked for at the largest one of --radii",
    )
    _add_attack(parser)
    parser.add_argument("--batch-size", metavar="N", default=256, type=whole_number(1), help="256")
    parser.add_argument("--json", action="store_true", help="print json, for programs")
    parser.set_defaults(run=_run)


def _add_attack(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the attack")
    group.add_argument(
        "--attacked",
        metavar="N",
        default=200,
        type=whole_number(0),
        help="how many inputs are attacked, the first ones (default: %(default)s)",
    )
    group.add_argument("--num-steps", metavar="N", default=40, type=whole_number(1), help="40")
    group.add_argument("--restarts", metavar="N", default=2, type=whole_number(1), help="2")
    group.add_argument("--seed", metavar="N", default=0, type=whole_number(0, 2**63 - 1), help="0")
    group.add_argument(
        "--clip",
        metavar=("LOW", "HIGH"),
        nargs=2,
        type=float,
        help="the box that attacked inputs stay in, such as 0 1 for images",
    )


def _run(options: argparse.Namespace) -> int:
    if options.weights is not None and options.untrained:
        raise UsageError("infogeo certify: --weights and --untrained contradict each other")
    if options.at_least is not None and options.radii is None:  # 0 at the largest of its own
        raise UsageError("infogeo certify: --at-least needs --radii, to say for which radius")
    require("infogeo certify", torch="torch", matplotlib="plot")
    with (
        writable_folder(options.output),
        progress_bar() as progress,
        warnings_in_a_line("infogeo certify"),
    ):
        progress("loading", 0.0)
        found = _certify(options, progress)
        from matplotlib import style

        from infogeo.plot import report
        from infogeo.plot._style import REPORT

        with style.context(REPORT):
            image = report.to_png(_figure(found))
        report.write_file(options.output / "certify.png", image)
        text = json.dumps(found, indent=2, allow_nan=False) + "\n"
        report.write_file(options.output / "certify.json", text)
    say(text.strip() if options.json else _as_text(found, options.output))
    is_short = options.at_least is not None and found["certified_accuracy"][-1] < options.at_least
    return 1 if is_short or found["broken_certificates"] else 0


# ---------------------------------------------------------------- the numbers


def _certify(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    import numpy as np
    import torch

    from infogeo import pullback
    from infogeo.cli import _loading
    from infogeo.lipschitz import certificates

    device = _loading.device(options.device)
    metric = _loading.metric(options.model, options.weights, options.untrained, None, device)
    if metric.head is not pullback.heads.categorical:
        raise UsageError("infogeo certify: the model must return logits of classes")
    inputs = _loading.Batches(options.inputs, options.batch_size, metric.model)
    order = float(options.order)
    progress("bounding", 0.0)
    constant = options.constant or _bound(metric.model, order, inputs)
    logits = _logits(metric.model, inputs, options.inputs, device, progress)
    labels = _loading.labels(options.labels, *logits.shape)
    certify = certificates.margin_radius if order == 2 else certificates.l_inf_radius
    radii = certify(logits, lipschitz_constant=constant)
    is_right = logits.argmax(1) == labels
    sizes = options.radii
    if sizes is None:
        largest = float(radii[is_right & np.isfinite(radii)].max(initial=0.0))
        sizes = np.linspace(0.0, largest, 21).tolist() if largest > 0.0 else [0.0]
    certified = [float((is_right & (radii > size)).mean()) for size in sizes]
    count = min(options.attacked, len(logits))
    left, broken = None, 0
    if count:
        generator = torch.Generator(device=device).manual_seed(options.seed)
        is_left = _attack(
            metric.model,
            inputs,
            labels[:count],
            is_right[:count],
            sizes,
            generator,
            options,
            progress,
        )
        left = is_left.mean(1).tolist()
        is_certified = is_right[:count] & (radii[:count] > np.array(sizes)[:, None])
        broken = int((is_certified & ~is_left).any(0).sum())
    return {
        "inputs": len(logits),
        "accuracy": float(is_right.mean()),
        "order": options.order,
        "lipschitz_constant": constant,
        "constant_is_given": options.constant is not None,
        "median_radius": float(np.median(np.where(is_right, radii, 0.0))),
        "radii": sizes,
        "certified_accuracy": certified,
        "attacked_inputs": count,
        "attacked_accuracy": left,
        "attack": {"num_steps": options.num_steps, "restarts": options.restarts,
                   "seed": options.seed, "clip": options.clip},
        "broken_certificates": broken,
    }  # fmt: skip


def _bound(model: Any, order: float, inputs: Batches) -> float:
    from infogeo.lipschitz.layers import lipschitz_bound

    try:
        bound = lipschitz_bound(model, order=order, input_shape=inputs.input_shape)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"infogeo certify: {error} (or give --constant, a bound of your own)"
        ) from None
    if bound == 0.0:
        raise UsageError(
            "infogeo certify: the network is constant, its Lipschitz constant is 0: each class is "
            "certified at every radius. Are these the weights of a trained network?"
        )
    if not bound < math.inf:
        raise UsageError(
            f"infogeo certify: the bound on the Lipschitz constant is {bound:g} (give --constant, "
            "a bound of your own)"
        )
    return bound


def _logits(
    model: Any, inputs: Batches, path: Path, device: torch.device, progress: Progress
) -> np.ndarray:
    import numpy as np
    import torch

    parts = []
    with torch.no_grad():
        for k in range(len(inputs)):
            progress("predicting", k / len(inputs))
            x = inputs[k]
            try:
                z = model(x.to(device))
            except (RuntimeError, ValueError, TypeError) as error:
                raise UsageError(
                    f"infogeo certify: the model fails on {path}, whose inputs have shape "
                    f"{inputs.input_shape}: {first_line(error)}"
                ) from None
            if not torch.is_tensor(z) or z.ndim != 2 or z.shape[1] < 2 or len(z) != len(x):
                seen = tuple(z.shape) if torch.is_tensor(z) else type(z).__name__
                raise UsageError(
                    f"infogeo certify: the model must return a row of two or more logits for each "
                    f"input: of {len(x)} inputs it returned {seen}"
                )
            parts.append(z.double().cpu().numpy())
    logits = np.concatenate(parts)
    if not np.isfinite(logits).all():
        raise UsageError("infogeo certify: the model must return finite logits")
    return logits


def _attack(
    model: Any,
    inputs: Batches,
    labels: np.ndarray,
    is_right: np.ndarray,
    sizes: list[float],
    generator: torch.Generator,
    options: argparse.Namespace,
    progress: Progress,
) -> np.ndarray:
    """Return whether each input withstands the attack, a row for each size; from small to large."""
    import numpy as np
    import torch

    from infogeo import robustness

    is_left = np.zeros((len(sizes), len(labels)), dtype=bool)
    alive = is_right.copy()
    for step, k in enumerate(np.argsort(sizes, kind="stable")):
        progress("attacking", step / len(sizes))
        for part in np.array_split(np.flatnonzero(alive), -(-int(alive.sum()) // inputs.size) or 1):
            if sizes[k] == 0.0 or len(part) == 0:
                continue
            try:
                attack = robustness.pgd_attack(
                    model,
                    inputs.rows(part).to(generator.device),
                    radius=sizes[k],
                    target=torch.from_numpy(labels[part]),
                    order=float(options.order),
                    num_steps=options.num_steps,
                    restarts=options.restarts,
                    clip=options.clip,
                    generator=generator,
                )
            except (TypeError, ValueError) as error:
                raise UsageError(f"infogeo certify: {error}") from None
            alive[part[attack.success.cpu().numpy()]] = False
        is_left[k] = alive
    return is_left


# ---------------------------------------------------------------- what is shown


_NORMS = {"2": "l2", "inf": "the maximum norm"}


def _as_text(found: dict[str, Any], folder: Path) -> str:
    whose = "given" if found["constant_is_given"] else "at most"
    lines = [
        f"{found['inputs']} inputs, accuracy {found['accuracy']:.4f}; Lipschitz constant {whose} "
        f"{found['lipschitz_constant']:.6g} in {_NORMS[found['order']]}",
        f"{'radius':>10}  {'certified':>9}  {'attacked':>9}",
    ]
    left = found["attacked_accuracy"] or [None] * len(found["radii"])
    for radius, certified, attacked in zip(
        found["radii"], found["certified_accuracy"], left, strict=True
    ):
        shown = "" if attacked is None else f"{attacked:.4f}"
        lines.append(f"{radius:>10.4g}  {certified:>9.4f}  {shown:>9}".rstrip())
    if found["attacked_inputs"]:
        lines.append(f"attacked: the first {found['attacked_inputs']} inputs")
    if found["broken_certificates"]:
        lines.append(
            f"{found['broken_certificates']} inputs have another class within a radius that the "
            "constant certifies: it is too small"
        )
    return "\n".join([*lines, f"figure: {folder}/certify.png"])


def _figure(found: dict[str, Any]) -> Figure:
    from matplotlib.figure import Figure

    from infogeo.plot._style import BLUE

    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    ax = figure.add_subplot()
    ax.plot(found["radii"], found["certified_accuracy"], "o-", ms=4, color=BLUE, label="certified")
    if found["attacked_accuracy"] is not None:
        count = found["attacked_inputs"]
        whose = "" if count == found["inputs"] else f", first {count} inputs"
        ax.plot(found["radii"], found["attacked_accuracy"], "s--", ms=4, color="0.35",
                label=f"left by the attack{whose}")  # fmt: skip
    ax.set(
        xlabel=f"size of the perturbation, {_NORMS[found['order']]}",
        ylabel="accuracy",
        ylim=(-0.03, 1.03),
    )
    ax.legend()
    return figure


# ---------------------------------------------------------------- numbers in options


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return value


def _positive(text: str) -> float:
    value = _number(text)
    if value == 0.0:
        raise argparse.ArgumentTypeError("the constant must be above 0")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if value > 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return value


def _radii(text: str) -> list[float]:
    return sorted({_number(part) for part in text.split(",")})
