"""Which references judge whom: promoted baselines from the registry, and the declared ceilings."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.baseline import BaselineInfo
from contracts.errors import BaselineError
from contracts.labels import CATEGORY_IDS
from contracts.ports import Labeller, Registry
from detectors.baseline import FitSettings, Reference, fit_baseline
from detectors.features import STREAMS
from detectors.sequential import Settings as TestSettings
from telltale.config import DetectionConfig, Settings

log = logging.getLogger("telltale.references")

FOLDER = "baselines"
"""Folder of the artefacts in the data folder."""
DEFAULTS = TestSettings()
ROOM = DEFAULTS.margin / (1 + DEFAULTS.tau)
"""Margin over upper rate at the default settings, 5/3."""
CEILINGS = "ceilings"
"""Name of the reference made of the configured ceilings."""


@dataclass(frozen=True, slots=True)
class InForce:
    """`broken`: name of each promoted baseline that could not be loaded, and why."""

    references: Sequence[Reference]
    broken: Mapping[str, str]


def tests(detection: DetectionConfig) -> TestSettings:
    """The configured settings of the sequential tests.

    The margin that `clear` excludes keeps the default's room above what does not matter: a margin
    at 1 + materiality could never be told from it.
    """
    return TestSettings(
        arl=detection.arl,
        tau=detection.materiality,
        margin=max(DEFAULTS.margin, ROOM * (1 + detection.materiality)),
        calibrated=detection.threshold == "calibrated",
        categories=STREAMS,
    )


def load(registry: Registry, settings: Settings, name: str, active_for: str) -> Reference:
    """The baseline `name`, verified against the registry's digest and, where keys are trusted, its
    signature. Raises `BaselineError`.
    """
    info = registry.baseline(name)
    trusted = [bytes.fromhex(key) for key in settings.detection.trusted_keys]
    return Reference.load(folder(settings, info), trusted, info.digest, active_for)


def folder(settings: Settings, info: BaselineInfo) -> Path:
    """Where a baseline's files are; the registry knows the folder's name, so data can be moved."""
    return settings.data / FOLDER / Path(info.path).name


def in_force(registry: Registry, settings: Settings, labeller: Labeller) -> InForce:
    """Everything that is promoted, and the ceilings for all subjects.

    A baseline that does not load is left out and named: the daemon goes on with the rest, is not
    ready, and says so.
    """
    references: list[Reference] = []
    broken: dict[str, str] = {}
    for info in registry.baselines():
        if not info.active_for:
            continue
        try:
            references.append(load(registry, settings, info.name, info.active_for))
        except BaselineError as error:
            log.error("promoted baseline refused: %s", error)
            broken[info.name] = str(error)
    ceilings = settings.detection.ceilings
    if ceilings:
        references.append(declared(ceilings, settings.data, labeller))
    return InForce(references, broken)


def declared(
    ceilings: Mapping[str, float], data: Path, labeller: Labeller, name: str = CEILINGS
) -> Reference:
    """A reference of declared ceilings for all subjects. Equal ceilings give the same artefact."""
    settings = FitSettings(parent=data / FOLDER, created_ns=0, ceilings=ceilings)
    folder, _ = fit_baseline(name, "declared", (), labeller, "", settings)
    return Reference.load(folder, active_for="*")


def known_categories(references: Sequence[Reference]) -> frozenset[str]:
    """Categories in which at least one of the references had opportunities, or a ceiling."""
    return frozenset(
        category
        for reference in references
        for calibration in reference.calibrations
        for category, known in zip(CATEGORY_IDS, calibration.knows(), strict=True)
        if known
    )
