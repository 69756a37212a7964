"""What is installed is ours alone, complete, and light until it is needed."""

import importlib.metadata
import importlib.util
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("telltale", "contracts", "collector", "storage", "detectors", "alerts")
HEAVY = ("torch", "duckdb", "kafka", "grpc", "scipy", "uvicorn", "fastapi", "pyarrow")


@pytest.mark.parametrize("package", PACKAGES)
def test_nobody_else_owns_our_names(package: str) -> None:
    # The names are plain words: another distribution could ship one, and pip overwrites silently.
    # An editable install lists none of its packages.
    owners = set(importlib.metadata.packages_distributions().get(package, ()))
    assert owners <= {"telltale"}
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin == str(ROOT / package / "__init__.py") or owners == {"telltale"}


def test_every_room_ships_and_nothing_else() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert tuple(settings["tool"]["uv"]["build-backend"]["module-name"]) == PACKAGES
    assert settings["project"]["version"] == importlib.metadata.version("telltale")
    for package in PACKAGES:
        assert (files(package) / "py.typed").is_file(), package


def test_data_files_stand_inside_the_packages() -> None:
    assert any((files("storage") / "sql").iterdir())
    assert any((files("detectors") / "rules" / "data").iterdir())
    assert (files("telltale") / "samples" / "teacher.jsonl.gz").is_file()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["replay", "--help"]])
def test_help_needs_none_of_the_heavy_libraries(arguments: list[str], tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from telltale.cli import invoke\n"
        f"code = invoke({arguments!r})\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "print('LOADED', loaded)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "LOADED []" in done.stdout


def test_the_module_and_the_script_are_the_same_command(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("telltale")
    commands = [[sys.executable, "-m", "telltale"], [str(script)]]
    answers = [
        subprocess.run(
            [*command, "--version"], capture_output=True, text=True, cwd=tmp_path, check=True
        ).stdout
        for command in commands
        if Path(command[0]).exists()
    ]
    assert len(set(answers)) == 1
    assert importlib.metadata.version("telltale") in answers[0]


def test_requirements_are_kept_under_free_licences() -> None:
    """No requirement of ours is under BSL, AGPL or GPL."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for requirement in settings["project"]["dependencies"]:
        name = requirement.split("[")[0].split("=")[0].split(">")[0].split("<")[0].strip()
        document = importlib.metadata.metadata(name).json
        told = " ".join(
            [
                str(document.get("license_expression", "")),
                str(document.get("license", ""))[:200],
                *(str(c) for c in document.get("classifier", ()) if str(c).startswith("License")),
            ]
        )
        for forbidden in ("AGPL", "Affero", "GPL-", "GNU General Public", "Business Source"):
            assert forbidden not in told.replace("LGPL-", ""), (name, told)
