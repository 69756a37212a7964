"""Keys of a data folder: made once, private, never half written."""

import os
import stat
import threading
from pathlib import Path

import pytest

from contracts.errors import ConfigError
from telltale import keys


def test_a_key_is_made_once_and_differs_by_name_and_folder(tmp_path: Path) -> None:
    first = keys.secret(tmp_path / "a", keys.REDACTION)
    assert len(first) == keys.SIZE_BYTES
    assert keys.secret(tmp_path / "a", keys.REDACTION) == first
    others = {keys.secret(tmp_path / "a", keys.ADMIN), keys.secret(tmp_path / "b", keys.REDACTION)}
    assert len(others | {first}) == 3


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    keys.secret(tmp_path, keys.TARGETS)
    folder = tmp_path / keys.FOLDER
    assert stat.S_IMODE((folder / keys.TARGETS).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_many_at_once_get_one_key(tmp_path: Path) -> None:
    found: list[bytes] = []
    failed: list[ConfigError] = []

    def ask() -> None:
        try:
            found.append(keys.secret(tmp_path, keys.ADMIN))
        except ConfigError as error:
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(set(found)) == 1


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_key_is_named_and_not_replaced(tmp_path: Path, content: bytes) -> None:
    keys.secret(tmp_path, keys.ADMIN)
    path = tmp_path / keys.FOLDER / keys.ADMIN
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"data: the key .*admin must have 32 bytes"):
        keys.secret(tmp_path, keys.ADMIN)
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / keys.FOLDER).write_text("a file where the folder should be")
    with pytest.raises(ConfigError) as caught:
        keys.secret(tmp_path, keys.ADMIN)
    assert caught.value.key == "data"


def test_no_key_stands_in_a_message(tmp_path: Path) -> None:
    made = keys.secret(tmp_path, keys.ADMIN)
    path = tmp_path / keys.FOLDER / keys.ADMIN
    os.truncate(path, 31)
    with pytest.raises(ConfigError) as caught:
        keys.secret(tmp_path, keys.ADMIN)
    assert made[:31].hex() not in str(caught.value)
