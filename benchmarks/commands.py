"""Runs `telltale` commands as a user would, each in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def telltale(*arguments: str, data: Path, expect: tuple[int, ...] = (0,)) -> str:
    """Standard output of `telltale ARGUMENTS --data DATA`; RuntimeError on another exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "telltale", *arguments, "--data", str(data)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in expect:
        raise RuntimeError(
            f"telltale {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def judge(where: str, references: list[str], data: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Final verdict lines of `telltale judge --json` by (category, reference)."""
    options = [option for name in references for option in ("--reference", name)]
    text = telltale("judge", "--where", where, *options, "--json", data=data, expect=(0, 1, 2))
    lines = [json.loads(line) for line in text.splitlines()]
    return {(line["category"], line["reference"]): line for line in lines if "state" in line}
