"""`telltale baseline compare`: two references side by side."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from telltale.cli.options import config_option, data_option, json_option
from telltale.cli.output import print_json, print_table

if TYPE_CHECKING:  # they take a second to import, which --help need not wait for
    from detectors.baseline import Reference
    from detectors.sequential import Settings

SIDE = ("opportunities", "rate", "upper")
"""What `compare` tells of a stream; `upper` is the rate above which it alarms."""


@click.command("compare")
@click.argument("first")
@click.argument("second")
@config_option
@data_option
@json_option
def compare(
    first: str, second: str, config_path: Path | None, data: Path | None, as_json: bool
) -> int:
    """Two baselines side by side: rates per opportunity and what each would alarm above."""
    from telltale import references
    from telltale.client import opened
    from telltale.config import load

    settings = load(config_path, data)
    tests = references.tests(settings.detection)
    with opened(settings) as store:
        left, right = (
            _sides(references.load(store, settings, name, "*"), tests) for name in (first, second)
        )
    nothing = dict.fromkeys(SIDE)
    rows = [
        {
            "stream": stream,
            **{
                f"{name} {key}": value
                for name, side in ((first, left), (second, right))
                for key, value in side.get(stream, nothing).items()
            },
        }
        for stream in sorted(set(left) | set(right))
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(tuple(rows[0]) if rows else (), [tuple(row.values()) for row in rows])
    return 0


def _sides(reference: "Reference", tests: "Settings") -> dict[str, dict[str, object]]:
    """By stream; a ceiling has neither opportunities nor a rate of its own."""
    from detectors.report import lines

    return {
        **{each.stream: {key: getattr(each, key) for key in SIDE}
           for each in lines(reference, tests)},
        **{category: dict(zip(SIDE, (None, None, ceiling), strict=True))
           for category, ceiling in reference.ceilings.items()},
    }  # fmt: skip
