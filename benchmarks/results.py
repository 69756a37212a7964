"""Rows of a benchmark in a JSON file, written as they come and kept by the next run."""

import fcntl
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from detectors.evaluate import Report

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """What a row gave. `cells`, `realised`: reports by scenario, at the calibrated and at the
    guaranteed threshold; `thresholds`: the calibrated ones by category; `problem`: why there are
    no cells, "" where there are; `lines`: of a table of its own, as it is printed.
    """

    seconds: float
    cells: Mapping[str, Report] = field(default_factory=dict[str, Report])
    realised: Mapping[str, Report] = field(default_factory=dict[str, Report])
    thresholds: Mapping[int, float] = field(default_factory=dict[int, float])
    problem: str = ""
    lines: tuple[str, ...] = ()

    def to_json(self) -> Json:
        """Plain JSON values, NaN as null."""
        return {
            "seconds": round(self.seconds, 1),
            "cells": {name: each.to_json() for name, each in self.cells.items()},
            "realised": {name: each.to_json() for name, each in self.realised.items()},
            "thresholds": {str(column): value for column, value in self.thresholds.items()},
            "problem": self.problem,
            "lines": list(self.lines),
        }

    @classmethod
    def from_json(cls, value: Json) -> "Result":
        """What `to_json` gave."""
        return cls(
            value["seconds"],
            {name: _report(each) for name, each in value["cells"].items()},
            {name: _report(each) for name, each in value["realised"].items()},
            {int(column): each for column, each in value["thresholds"].items()},
            value["problem"],
            tuple(value["lines"]),
        )


def _report(value: Json) -> Report:
    values: Json = {name: math.nan if each is None else each for name, each in value.items()}
    return Report(**values)


class Results:
    """Rows by name, measured under one `setting` (JSON: size, seed); in memory without a `path`.

    Two runs may fill one file at the same time. Raises `ValueError` if the file was written under
    another setting.
    """

    def __init__(self, path: Path | None, setting: Json) -> None:
        self._path, self._setting = path, setting
        self._rows: dict[str, Result] = {}
        if path is not None and path.exists():
            self._rows = self._read(path)

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def get(self, names: Iterable[str]) -> dict[str, Result]:
        """Those of the named rows that are there, in that order."""
        return {name: self._rows[name] for name in names if name in self._rows}

    def put(self, name: str, result: Result) -> None:
        """Keep a row, in the file too."""
        self._rows[name] = result
        if self._path is None:
            return
        with self._path.with_name(self._path.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._path.exists():  # another run may have added rows
                self._rows = {**self._read(self._path), name: result}
            rows = {each: row.to_json() for each, row in self._rows.items()}
            text = json.dumps({"setting": self._setting, "rows": rows}, indent=1)
            draft = self._path.with_name(self._path.name + ".new")
            draft.write_text(text)
            draft.replace(self._path)

    def _read(self, path: Path) -> dict[str, Result]:
        held = json.loads(path.read_text())
        if held["setting"] != self._setting:
            raise ValueError(f"{path} holds rows of another size or seed; name another file")
        return {name: Result.from_json(each) for name, each in held["rows"].items()}
