"""Options that several subcommands share, each with one meaning."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def data_option(function: F) -> F:
    """`--data DIR`: the data folder."""
    return click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        default=None,
        help="The data folder.  [default: ./telltale-data, or TELLTALE_DATA]",
    )(function)


def json_option(function: F) -> F:
    """`--json`: JSON instead of tables."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")(
        function
    )


def config_option(function: F) -> F:
    """`--config FILE`: the YAML file of settings."""
    return click.option(
        "--config",
        "config_path",
        type=click.Path(dir_okay=False, path_type=Path),
        default=None,
        help="YAML file of settings; TELLTALE_* variables win over it.",
    )(function)


def where_option(function: F) -> F:
    """`--where CONDITION`: which trajectories."""
    return click.option(
        "--where",
        required=True,
        metavar="SQL_CONDITION",
        help="Condition over the view `trajectories`, e.g. \"agent = 'ops' and model = 'm-8b'\".",
    )(function)
