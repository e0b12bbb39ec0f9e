"""deploy/backup.sh keeps a dump only when it is whole, and deploy/postgres/archive.sh a file of the log."""

import os
import re
import resource
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[3]
ARCHIVE = ROOT / "deploy/postgres/archive.sh"
EARLIER = "aigen-20260101T000000Z.dump"
PASSWORD = "not-for-the-process-list"


@dataclass(frozen=True)
class Place:
    """A folder with an earlier dump, PostgreSQL's programs, and others that replace some of them."""

    folder: Path
    programs: Path
    replaced: Path
    url: str

    def back_up(self, *command: str, file_size: int | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
        """Runs the script on the test's database. `file_size`: the most bytes that a file may have."""
        (self.folder.parent / "services").write_text(
            f"[aigen]\ndbname={psycopg.conninfo.conninfo_to_dict(self.url)['dbname']}\npassword={PASSWORD}\n"
        )
        path = f"{self.replaced}:{self.programs}:/usr/bin:/bin"
        known = psycopg.conninfo.conninfo_to_dict(self.url)
        where = {f"PG{name.upper()}": str(known[name]) for name in ("host", "port", "user") if name in known}
        services = {"PGSERVICEFILE": str(self.folder.parent / "services")}

        def limit() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write fails, as on a full disk
            if file_size is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

        return subprocess.run(
            [ROOT / "deploy/backup.sh", self.folder, "service=aigen", *command],
            env={"PATH": path, **where, **services, **settings},
            preexec_fn=limit,
            input="for the program that reads after this one",
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def replace(self, program: str, script: str) -> None:
        """Puts a shell script in the place of a program. `$REAL` in it is the real one."""
        path = self.replaced / program
        path.write_text(f"#!/bin/sh\nREAL={self.programs / program}\n{script}\n")
        path.chmod(0o755)

    def kept(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> Place:
    with closing(psycopg.connect(database_url, autocommit=True)) as connection:
        connection.execute("CREATE TABLE noise AS SELECT gen_random_uuid() FROM generate_series(1, 20000)")
        [row] = connection.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchall()
    for name in ("backup", "replaced"):
        (tmp_path / name).mkdir()
    (tmp_path / "backup" / EARLIER).write_text("an earlier dump")
    return Place(tmp_path / "backup", Path(row[0]), tmp_path / "replaced", database_url)


def test_a_dump_can_be_restored_and_is_for_its_owner_only(place: Place, empty_database_url: str) -> None:
    done = place.back_up()

    assert (done.stderr, done.returncode) == ("", 0)
    dump = Path(done.stdout.strip())
    assert place.kept() == {EARLIER, dump.name}
    assert dump.stat().st_mode & 0o777 == 0o600
    restore = [place.programs / "pg_restore", "--exit-on-error", "--single-transaction", "--no-owner"]
    subprocess.run([*restore, f"--dbname={empty_database_url}", dump], check=True, timeout=60)
    with closing(psycopg.connect(empty_database_url)) as connection:
        assert connection.execute("SELECT count(*) FROM noise").fetchall() == [(20000,)]


BROKEN = {
    "pg_dump dies in the middle": ("pg_dump", '"$REAL" "$@" | head -c 400000; kill -9 $$'),
    "pg_dump ends in the middle and says that all is well": ("pg_dump", '"$REAL" "$@" | head -c 400000'),
    "pg_dump writes nothing and says that all is well": ("pg_dump", ":"),
    "pg_dump cannot connect": ("pg_dump", 'PGPORT=1 exec "$REAL" "$@"'),
    "pg_restore is not installed": ("pg_restore", "exit 127"),
    "the disk does not take the dump": ("sync", "exit 1"),
}


@pytest.mark.parametrize(("program", "script"), BROKEN.values(), ids=BROKEN)
def test_what_fails_leaves_the_earlier_dump_and_no_other(place: Place, program: str, script: str) -> None:
    place.replace(program, script)
    assert place.back_up().returncode != 0
    assert place.kept() == {EARLIER}


def test_a_full_disk_leaves_the_earlier_dump_and_no_other(place: Place) -> None:
    done = place.back_up(file_size=50_000)
    assert done.returncode != 0
    assert "File too large" in done.stderr
    assert place.kept() == {EARLIER}


def test_a_stopped_backup_leaves_the_earlier_dump_and_no_other(place: Place) -> None:
    place.replace("pg_dump", '"$REAL" "$@" | head -c 400000; kill -TERM $PPID')
    assert place.back_up().returncode != 0
    assert place.kept() == {EARLIER}


def test_the_part_that_runs_elsewhere_fails_for_all(place: Place) -> None:
    place.replace("elsewhere", '"$@"; exit 3')
    assert place.back_up("elsewhere").returncode == 3
    assert place.kept() == {EARLIER}


def test_old_dumps_go_after_a_new_one_is_whole_and_only_those_of_the_same_database(place: Place) -> None:
    other = place.folder / "aigen-of-another-20260101T000000Z.dump"
    other.write_text("")
    for path in place.folder.iterdir():
        os.utime(path, (0, 0))
    place.replace("pg_restore", "exit 1")
    place.back_up()
    assert place.kept() == {EARLIER, other.name}
    (place.replaced / "pg_restore").unlink()
    dump = Path(place.back_up().stdout.strip())
    assert place.kept() == {dump.name, other.name}


def test_the_dumps_of_a_database_with_a_similar_name_stay(place: Place) -> None:
    other = place.folder / "aigen-2-20260101T000000Z.dump"
    other.write_text("")
    os.utime(other, (0, 0))
    place.back_up()
    assert other.exists()


def test_dumps_are_kept_for_14_days_or_as_many_as_are_wanted(place: Place) -> None:
    dumps = {days: place.folder / f"aigen-{days:08}T000000Z.dump" for days in (1, 3, 13, 15)}
    for days, path in dumps.items():
        path.write_text("")
        os.utime(path, (then := time.time() - days * 86400 + (60 if days < 14 else -60), then))
    for settings, kept in ({"BACKUP_DAYS": ""}, {1, 3, 13}), ({"BACKUP_DAYS": "2"}, {1}):
        assert place.back_up(**settings).returncode == 0
        assert {days for days, path in dumps.items() if path.exists()} == kept


@pytest.mark.parametrize("days", ["two weeks", "-1", "0", "08"])
def test_a_wrong_number_of_days_deletes_nothing_and_is_named(place: Place, days: str) -> None:
    os.utime(place.folder / EARLIER, (0, 0))
    done = place.back_up(BACKUP_DAYS=days)
    assert (done.returncode, done.stderr) == (2, f"BACKUP_DAYS is '{days}'. It has to be a number from 1.\n")
    assert place.kept() == {EARLIER}


def test_two_that_begin_in_the_same_second_do_not_disturb_each_other(place: Place) -> None:
    place.replace("date", "echo 20260202T000000Z")
    other = place.folder.parent / "other"
    place.replace(
        "pg_dump",
        f'if mkdir {other}; then "$REAL" "$@"; until [ -e {other}/done ]; do sleep 0.05; done; '
        f'else "$REAL" "$@"; touch {other}/done; fi',
    )
    with ThreadPoolExecutor(2) as both:
        ended = [each.result() for each in [both.submit(place.back_up), both.submit(place.back_up)]]
    assert [done.returncode for done in ended] == [0, 0]
    assert place.kept() == {EARLIER, "aigen-20260202T000000Z.dump"}


def test_what_a_killed_backup_left_is_deleted_like_an_old_dump(place: Place) -> None:
    place.replace("pg_dump", "echo half; kill -9 $PPID")
    place.back_up()
    [left] = place.kept() - {EARLIER}
    os.utime(place.folder / left, (0, 0))
    (place.replaced / "pg_dump").unlink()
    dump = Path(place.back_up().stdout.strip())
    assert place.kept() == {EARLIER, dump.name}


def test_a_folder_that_it_makes_is_for_its_owner_only(place: Place) -> None:
    made = replace(place, folder=place.folder / "made")
    assert made.back_up().returncode == 0
    assert made.folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_not_on_disk_is_a_failure(place: Place) -> None:
    place.replace("sync", f'[ "$1" != {place.folder} ]')
    assert place.back_up().returncode != 0
    assert EARLIER in place.kept()


def test_it_leaves_standard_input_to_others(place: Place) -> None:
    place.replace("pg_dump", '[ -z "$(cat)" ] && exec "$REAL" "$@"')
    assert place.back_up().returncode == 0


def test_no_command_line_has_the_password(place: Place) -> None:
    for program in ("pg_dump", "pg_restore"):
        place.replace(program, f'echo "$@" >>{place.folder.parent}/arguments; exec "$REAL" "$@"')
    assert place.back_up().returncode == 0
    arguments = (place.folder.parent / "arguments").read_text()
    assert "service=aigen" in arguments
    assert PASSWORD not in arguments


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_no_documented_command_hides_that_a_backup_failed(page: Path) -> None:
    """The exit status of a pipe is that of its last part."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    backing_up = re.compile(r"(pg_dump|pg_dumpall|pg_basebackup|\btar\b)[^\n]*[^|]\|[^|]")
    assert not [block for block in blocks if backing_up.search(block) and "pipefail" not in block]


def archive(folder: Path, segment: Path, path: str | None = None) -> int:
    command = ["/bin/sh", ARCHIVE, folder, segment, segment.name]
    environment = {"PATH": path or os.environ["PATH"]}
    return subprocess.run(command, env=environment, check=False, capture_output=True).returncode


def test_the_archive_takes_a_file_of_the_log_once_and_never_another_in_its_place(tmp_path: Path) -> None:
    (folder := tmp_path / "archive").mkdir()
    segment = tmp_path / "000000010000000000000001"
    segment.write_bytes(b"content")
    assert [archive(folder, segment), archive(folder, segment)] == [0, 0]
    segment.write_bytes(b"other")
    assert archive(folder, segment) != 0
    assert (folder / segment.name).read_bytes() == b"content"
    assert (folder / segment.name).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == [segment.name]


def test_a_file_of_the_log_that_is_there_is_on_disk_before_postgresql_deletes_its_own(tmp_path: Path) -> None:
    """The earlier call may have been killed before its name was on disk."""
    (folder := tmp_path / "archive").mkdir()
    (programs := tmp_path / "programs").mkdir()
    segment = tmp_path / "000000010000000000000001"
    segment.write_bytes(b"content")
    assert archive(folder, segment) == 0
    (programs / "sync").write_text(f'#!/bin/sh\n[ "$1" != {folder} ]\n')
    (programs / "sync").chmod(0o755)
    assert archive(folder, segment, f"{programs}:{os.environ['PATH']}") != 0


@pytest.mark.parametrize("broken", ["cp", "sync", "mv"])
def test_a_file_of_the_log_that_could_not_be_kept_is_not_there_and_is_offered_again(
    tmp_path: Path, broken: str
) -> None:
    (folder := tmp_path / "archive").mkdir()
    (programs := tmp_path / "programs").mkdir()
    segment = tmp_path / "000000010000000000000001"
    segment.write_bytes(b"content" * 1000)
    (programs / broken).write_text(f'#!/bin/sh\n[ {broken} = mv ] || {shutil.which("cp")} "$@"\nexit 1\n')
    (programs / broken).chmod(0o755)
    assert archive(folder, segment, f"{programs}:{os.environ['PATH']}") != 0
    assert not (folder / segment.name).exists()
    assert archive(folder, segment) == 0
    assert (folder / segment.name).read_bytes() == segment.read_bytes()
