"""`telltale baseline`: references, frozen and content-addressed."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from contracts.baseline import REFERENCE_KINDS, BaselineInfo, ReferenceKind
from contracts.labels import CATEGORY_IDS
from telltale.cli.baseline_compare import compare
from telltale.cli.options import config_option, data_option, json_option
from telltale.cli.output import OutputFile, print_json, print_table, progress, write

if TYPE_CHECKING:  # the store takes a second to import, which --help need not wait for
    from storage.store import Store


@click.group("baseline")
def command() -> None:
    """Fit, list, show, compare, verify, sign and promote references."""


command.add_command(compare)


def _ceilings(values: tuple[str, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for value in values:
        category, _, rate = value.partition("=")
        try:
            found[category] = float(rate)
        except ValueError:
            raise click.BadParameter(
                f"{value!r} is not CATEGORY=RATE", param_hint="--ceiling"
            ) from None
        if category not in CATEGORY_IDS:
            raise click.BadParameter(f"unknown category {category!r}", param_hint="--ceiling")
    return found


def _users(store: "Store", where: str) -> dict[str, str]:
    """Trajectory to user: what one user's trajectories share widens the reference's bounds."""
    heads = store.trajectories(where, with_calls=False)
    return {head.trajectory_id: head.user_id for head in heads if head.user_id}


@command.command("fit")
@click.option("--name", required=True, help="What it will be called; names never change content.")
@click.option(
    "--kind", type=click.Choice(REFERENCE_KINDS), required=True, help="What it is a reference for."
)
@click.option(
    "--where",
    default="",
    metavar="SQL_CONDITION",
    help="Condition over the view `trajectories`; not for kind `declared`.",
)
@click.option(
    "--ceiling",
    "ceilings",
    multiple=True,
    metavar="CATEGORY=RATE",
    help="For kind `declared`: highest rate per opportunity; repeat for several.",
)
@config_option
@data_option
@json_option
def fit(
    name: str,
    kind: str,
    where: str,
    ceilings: tuple[str, ...],
    config_path: Path | None,
    data: Path | None,
    as_json: bool,
) -> int:
    """Freeze the behaviour of stored trajectories as a reference."""
    import shutil

    from contracts.clock import SystemClock
    from contracts.errors import BaselineError
    from detectors.baseline import FitSettings, fit_baseline
    from telltale import keys, references
    from telltale.admin import register
    from telltale.client import opened
    from telltale.config import load
    from telltale.stages import rule_pack

    if kind != "declared" and not where:
        raise click.UsageError(f"--where is needed for kind {kind}")
    if kind == "declared" and not ceilings:
        raise click.UsageError("--ceiling is needed for kind declared")
    if kind != "declared" and ceilings:
        raise click.UsageError(f"--ceiling goes with kind declared, not with {kind}")
    if kind == "declared" and where:
        raise click.UsageError("--where does not go with kind declared, which has no data")
    limits = _ceilings(ceilings)
    settings = load(config_path, data)
    labeller = rule_pack(settings)
    with opened(settings) as store, progress("fit", 100) as bar:
        task = bar.task_ids[0]
        if any(info.name == name for info in store.baselines()):
            raise BaselineError(f"there is a baseline {name} already; choose another name")

        def tell(what: str, share: float) -> None:
            bar.update(task, description=what, completed=int(100 * share))

        folder, info = fit_baseline(
            name,
            cast(ReferenceKind, kind),
            store.trajectories(where) if kind != "declared" else (),
            labeller,
            where,
            FitSettings(
                parent=settings.data / references.FOLDER,
                created_ns=SystemClock().now_ns(),
                rules_digest=labeller.digest(),
                target_key=keys.secret(settings.data, keys.TARGETS),
                ceilings=limits,
                tests=references.tests(settings.detection),
                clusters=_users(store, where) if kind != "declared" else {},
            ),
            tell,
        )
        try:
            register(settings, store, info)
        except BaseException:
            # somebody else took the name meanwhile, or the store is gone
            shutil.rmtree(folder, ignore_errors=True)
            raise
    _print(info, as_json)
    return 0


@command.command("list")
@config_option
@data_option
@json_option
def list_(config_path: Path | None, data: Path | None, as_json: bool) -> int:
    """All baselines."""
    from telltale.client import opened
    from telltale.config import load

    with opened(load(config_path, data)) as store:
        found = store.baselines()
    if as_json:
        print_json([_document(info) for info in found])
    else:
        print_table(
            ("name", "kind", "trajectories", "calls", "digest", "active for", "where"),
            [
                (
                    b.name,
                    b.kind,
                    b.trajectories,
                    b.calls,
                    b.digest[:12],
                    b.active_for or "-",
                    b.where,
                )
                for b in found
            ],
        )
    return 0


@command.command("show")
@click.argument("name")
@click.option(
    "--html",
    "html_path",
    type=OutputFile(),
    help="Write the full report with reliability plots to this file.",
)
@config_option
@data_option
@json_option
def show(
    name: str, html_path: Path | None, config_path: Path | None, data: Path | None, as_json: bool
) -> int:
    """One baseline: where it came from, what it can tell."""
    from detectors.report import (
        HORIZONS,
        html,
        lines,
        needed_for_ceiling,
        thresholds,
        trajectories,
    )
    from telltale import references
    from telltale.client import opened
    from telltale.config import load

    settings = load(config_path, data)
    tests = references.tests(settings.detection)
    with opened(settings) as store:
        reference = references.load(store, settings, name, "*")
        info = store.baseline(name)
    if html_path is not None:
        write(html_path, html(reference, tests))
        click.echo(f"wrote {html_path}", err=True)
    known: list[dict[str, Any]] = [
        {
            **asdict(line),
            "needed_trajectories": trajectories(line.needed, line.per_trajectory),
            "least_trajectories": trajectories(line.least, line.per_trajectory),
        }
        for line in lines(reference, tests)
    ]
    ceilings = [
        {"category": category, "rate": rate, "needed": needed_for_ceiling(rate, tests)}
        for category, rate in sorted(reference.ceilings.items())
    ]
    if as_json:
        limits = thresholds(reference, tests)
        shapes = len(reference.shapes)
        print_json(
            {
                **_document(info),
                "thresholds_log10": limits,
                "shapes": shapes,
                "streams": known,
                "ceilings": ceilings,
            }
        )
    else:
        _print(info, False)
        print_table(
            ("threshold", "evidence"),
            [(name, f"10^{limit:.2f}") for name, limit in thresholds(reference, tests).items()],
        )
        if ceilings:
            print_table(
                ("category", "ceiling", "needed for clear"),
                [tuple(each.values()) for each in ceilings],
            )
            return 0
        print_table(
            ("stream", "opportunities", "taken", "observed/expected", "", "rate", "alarms above",
             *(f"detectable in {horizon}" for horizon in HORIZONS), "needed for clear",
             "in trajectories", "least reference", "in trajectories"),
            [
                (each["stream"], each["opportunities"], each["taken"], each["ratio"],
                 "outside" if each["miscalibrated"] else "", each["rate"], each["upper"],
                 *each["detectable"], each["needed"], each["needed_trajectories"], each["least"],
                 each["least_trajectories"])
                for each in known
            ],
        )  # fmt: skip
    return 0


@command.command("verify")
@click.argument("name")
@config_option
@data_option
@json_option
def verify(name: str, config_path: Path | None, data: Path | None, as_json: bool) -> int:
    """Check signature, hashes, schema, shapes and numbers of a baseline's files."""
    from telltale import references
    from telltale.client import opened
    from telltale.config import load

    settings = load(config_path, data)
    with opened(settings) as store:
        reference = references.load(store, settings, name, "*")
    if as_json:
        print_json({"name": name, "digest": reference.info.digest, "valid": True})
    else:
        click.echo(f"{name}: valid, digest {reference.info.digest}")
    return 0


@command.command("sign")
@click.argument("name")
@click.option(
    "--key",
    "key_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Ed25519 private key, PEM (openssl genpkey -algorithm ed25519).",
)
@config_option
@data_option
def sign(name: str, key_path: Path, config_path: Path | None, data: Path | None) -> int:
    """Sign a baseline's manifest; `detection.trusted_keys` says whose signatures count."""
    from dataclasses import replace

    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from contracts.errors import ConfigError
    from detectors import artefact
    from telltale import references
    from telltale.admin import register
    from telltale.client import opened
    from telltale.config import load

    try:
        key = load_pem_private_key(key_path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError("--key", f"{key_path}: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError("--key", f"{key_path} is not an Ed25519 private key")
    settings = load(config_path, data)
    with opened(settings) as store:
        info = store.baseline(name)
        signer = artefact.sign(references.folder(settings, info), key)
        register(settings, store, replace(info, signed_by=signer))
    click.echo(f"{name}: signed by {signer}")
    return 0


@command.command("promote")
@click.argument("name")
@click.option(
    "--for",
    "active_for",
    required=True,
    metavar="GLOB",
    help="Subjects `environment/agent/agent_version/model` it judges from now on, e.g. "
    "'production/ops-agent/*/*'; '' withdraws it.",
)
@config_option
@data_option
def promote(name: str, active_for: str, config_path: Path | None, data: Path | None) -> int:
    """Let the daemon judge subjects against a baseline."""
    from telltale.admin import promote as promote_in
    from telltale.client import existing
    from telltale.config import load

    promote_in(existing(load(config_path, data)), name, active_for)
    click.echo(f"{name}: judges {active_for}" if active_for else f"{name}: withdrawn")
    return 0


def _document(info: BaselineInfo) -> dict[str, object]:
    return asdict(info)


def _print(info: BaselineInfo, as_json: bool) -> None:
    if as_json:
        print_json(_document(info))
        return
    print_table(
        ("what", "value"),
        [
            ("name", info.name),
            ("kind", info.kind),
            ("digest", info.digest),
            ("trajectories", info.trajectories),
            ("calls", info.calls),
            ("where", info.where or "-"),
            ("subjects", ", ".join(info.subjects) or "-"),
            ("active for", info.active_for or "-"),
            ("files", info.path),
            ("signed by", info.signed_by or "-"),
        ],
    )
