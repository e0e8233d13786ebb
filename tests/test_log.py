"""`tractor.log`: levels, what a record carries, the console, and log specifications."""

import logging
from collections.abc import Iterator

import pytest
import trio

from tractor import log as tlog
from tractor._types import Aid
from tractor.log import (
    CUSTOM_LEVELS,
    LogSpec,
    StackLevelAdapter,
    add_log_level,
    apply_logspec,
    at_least_level,
    get_console_log,
    get_logger,
    get_loglevel,
    parse_logspec,
    set_actor_info,
)

PKG = "tractor_log_test"  # loggers live for ever; these are nobody else's
ANN = Aid("ann", "a" * 32, 7)


class Records(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record)


@pytest.fixture
def records() -> Iterator[Records]:
    """What the loggers below `PKG` record, all levels on."""
    handler = Records()
    logger = logging.getLogger(PKG)
    logger.addHandler(handler)
    logger.setLevel(1)
    yield handler
    logger.setLevel(logging.NOTSET)
    for each in list(logger.handlers):
        logger.removeHandler(each)
    set_actor_info(None)


def fields(record: logging.LogRecord) -> tuple[object, ...]:
    """The three that we add."""
    names = "actor_name", "actor_uid", "task"
    return tuple(getattr(record, name) for name in names)


# -- Levels ----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "number"), CUSTOM_LEVELS.items())
def test_each_level_has_a_method(records: Records, name: str, number: int) -> None:
    """Every level of ours is logged at its number and name by a method of its own."""
    getattr(get_logger("x", PKG), name.lower())("told %s", name)
    [record] = records.seen
    assert (record.levelno, record.levelname) == (number, name)
    assert record.getMessage() == f"told {name}"


def test_levels_are_those_of_the_contract() -> None:
    """The numbers are public and do not change."""
    names = ("TRANSPORT", "RUNTIME", "DEVX", "IO", "CANCEL", "PDB")
    assert [CUSTOM_LEVELS[name] for name in names] == [5, 15, 17, 21, 22, 500]


def test_record_names_the_line_of_the_caller(records: Records) -> None:
    """File, line and function are where the method was called, for each kind."""
    log = get_logger("x", PKG)
    log.runtime("ours")
    log.info("the stdlib's")
    line = test_record_names_the_line_of_the_caller.__code__.co_firstlineno
    where = [(r.filename, r.lineno, r.funcName) for r in records.seen]
    name = test_record_names_the_line_of_the_caller.__name__
    assert where == [("test_log.py", line + n, name) for n in (3, 4)]


def test_stacklevel_is_counted_from_the_caller(records: Records) -> None:
    """A helper passes `stacklevel=2` and its own caller shows."""

    def helper() -> None:
        get_logger("x", PKG).cancel("on behalf", stacklevel=2)

    helper()
    name = test_stacklevel_is_counted_from_the_caller.__name__
    assert records.seen[0].funcName == name


def test_add_log_level_adds_a_method_and_is_idempotent(records: Records) -> None:
    """A level of the user's own works like ours, however often it is registered."""
    for _ in range(2):
        add_log_level("tractor_test", 33, "green")
    get_logger("x", PKG).tractor_test("hi")  # type: ignore[attr-defined]
    [record] = records.seen
    assert (record.levelno, record.levelname) == (33, "TRACTOR_TEST")
    assert record.filename == "test_log.py"


@pytest.mark.parametrize(
    ("name", "value", "color", "message"),
    [
        ("cancel", 23, "red", "another number"),
        ("tractor_other", 20, "red", "called 'INFO'"),
        ("process", 34, "red", "hide the method"),
        ("tractor_other", 34, "mauve", "no colour 'mauve'"),
    ],
)
def test_add_log_level_refuses_a_clash(
    name: str, value: int, color: str, message: str
) -> None:
    """A level that would break another is refused, and nothing is changed."""
    before = dict(CUSTOM_LEVELS)
    with pytest.raises(ValueError, match=message):
        add_log_level(name, value, color)
    assert before == CUSTOM_LEVELS


def test_level_is_the_effective_one(records: Records) -> None:
    """A sub-logger without a level of its own has its parent's."""
    logging.getLogger(PKG).setLevel(17)
    log = get_logger("x", PKG)
    assert log.level == 17
    assert log.at_least_level("cancel")
    assert log.at_least_level(17)
    assert not at_least_level(log, "runtime")
    assert records.seen == []


def test_unknown_level_is_named_with_those_there_are() -> None:
    """A typing error in a level says what would have been right."""
    with pytest.raises(ValueError, match=r"'lout'.*transport.*cancel"):
        get_logger("x", PKG).at_least_level("lout")


def test_the_package_logs_errors_only_by_default() -> None:
    """Nobody who did not ask sees more than errors."""
    assert get_loglevel() == tlog.DEFAULT_LEVEL == "ERROR"


# -- Names -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pkg_name", "expected"),
    [
        ("ipc", "tractor", "tractor.ipc"),
        ("tractor.ipc", "tractor", "tractor.ipc"),
        ("tractor", "tractor", "tractor"),
        ("", "tractor", "tractor"),
        ("tractors", "tractor", "tractor.tractors"),
        ("mine.part", "", "mine.part"),
        (None, "tractor", "tractor.tests"),
        (None, "tests", "tests"),
    ],
)
def test_get_logger_puts_the_name_below_the_package(
    name: str | None, pkg_name: str, expected: str
) -> None:
    """Names are literal, but the package's is not doubled, and none is the caller's."""
    assert get_logger(name, pkg_name).name == expected


def test_get_logger_wraps_a_given_logger() -> None:
    """Any logger of the stdlib can have our methods."""
    logger = logging.getLogger("elsewhere")
    assert get_logger(logger=logger).logger is logger


# -- What a record carries -------------------------------------------------------------


def test_record_without_runtime_or_task(records: Records) -> None:
    """Outside of everything the fields are there, and say so."""
    get_logger("x", PKG).info("hi")
    assert fields(records.seen[0]) == ("-", None, "-")


async def test_record_names_actor_and_task(records: Records) -> None:
    """Inside, a record says which actor, which uid, and which task."""
    set_actor_info(lambda: ANN)
    task = trio.lowlevel.current_task().name
    log = get_logger("x", PKG)
    log.info("from a task")
    await trio.to_thread.run_sync(lambda: log.info("from a thread"))
    assert [fields(record) for record in records.seen] == [
        ("ann", ANN.uid, task),
        ("ann", ANN.uid, "-"),
    ]


def test_extra_fields_of_the_caller_are_kept(records: Records) -> None:
    """`extra` works as with the stdlib, and wins over ours."""
    get_logger("x", PKG).info("hi", extra={"task": "mine", "more": 1})
    [record] = records.seen
    assert fields(record) == ("-", None, "mine")
    assert vars(record)["more"] == 1


def test_nothing_is_computed_for_a_level_that_is_off(records: Records) -> None:
    """Neither the provider nor the formatting of an argument is called."""

    class Fragile:
        def __str__(self) -> str:
            raise AssertionError

    def provider() -> Aid | None:
        raise AssertionError

    set_actor_info(provider)
    logging.getLogger(PKG).setLevel("ERROR")
    log = get_logger("x", PKG)
    log.transport("%s", Fragile())
    log.info("%s", Fragile())
    assert records.seen == []


# -- The console -----------------------------------------------------------------------


def test_console_shows_one_line_with_all_fields(
    records: Records, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line names level, actor, process, task and place, once and without colour."""
    set_actor_info(lambda: ANN)
    for _ in range(2):
        log = get_console_log("runtime", name="sub", pkg_name=PKG)
    get_console_log("runtime", pkg_name=PKG)
    log.runtime("hello")
    [line] = capsys.readouterr().err.splitlines()
    assert " RUNTIME " in line
    assert " ann@" in line
    assert " test_log.py:" in line
    assert line.endswith(" hello")
    assert len(records.seen) == 1


def test_console_formats_records_of_foreign_loggers(
    records: Records, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record from a plain stdlib logger is shown as well, its fields left blank."""
    get_console_log("info", logging.getLogger(PKG))
    logging.getLogger(f"{PKG}.plain").info("hello")
    assert " INFO      -@" in capsys.readouterr().err
    assert len(records.seen) == 1


@pytest.mark.parametrize(
    ("isatty", "no_color", "colored"),
    [(True, "", True), (True, "1", False), (False, "", False)],
)
@pytest.mark.usefixtures("records")
def test_colours_need_a_terminal_and_consent(
    isatty: bool,
    no_color: str,
    colored: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Colours are used only on a terminal, and only where NO_COLOR is not set."""
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr("sys.stderr.isatty", lambda: isatty)
    get_console_log("cancel", pkg_name=PKG).cancel("hello")
    assert ("\x1b[33mCANCEL\x1b[0m" in capsys.readouterr().err) is colored


@pytest.mark.usefixtures("records")
def test_get_console_log_without_level_changes_nothing() -> None:
    """Asking for the logger alone neither sets a level nor adds a handler."""
    logger = logging.getLogger(PKG)
    before = logger.level, list(logger.handlers)
    log = StackLevelAdapter(logger)
    assert get_console_log(logger=log) is log
    assert (logger.level, logger.handlers) == before


# -- Log specifications ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "default", "expected"),
    [
        (False, "info", (None, {})),
        (True, None, ("ERROR", {})),
        (True, "info", ("INFO", {})),
        ("cancel", None, ("CANCEL", {})),
        ("7", None, ("7", {})),
        ("ipc:io", None, (None, {"ipc": "IO"})),
        ("ipc:io, spawn.x:5", "info", ("INFO", {"ipc": "IO", "spawn.x": "TRANSPORT"})),
    ],
)
def test_parse_logspec(
    spec: LogSpec, default: str | None, expected: tuple[object, ...]
) -> None:
    """The grammar: a truth value, a level, or levels of parts."""
    assert parse_logspec(spec, default) == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("info,ipc:io", "'info' is not 'part:level'"),
        ("ipc:io,", "'' is not 'part:level'"),
        ("tractor.ipc:io", "leave 'tractor' out"),
        ("loud", "no log level 'loud'"),
        ("ipc:loud", "no log level 'loud'"),
        ("", "no log level ''"),
    ],
)
def test_parse_logspec_refuses(spec: str, message: str) -> None:
    """Mixed forms, doubled package names and unknown levels are errors."""
    with pytest.raises(ValueError, match=message):
        parse_logspec(spec)


def test_apply_logspec_sets_levels(
    records: Records, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each logger gets its level, and what passes it is shown."""
    primary, loggers = apply_logspec("a:runtime,b:error", "info", PKG)
    assert primary == "INFO"
    assert {name: log.level for name, log in loggers.items()} == {
        PKG: 20,
        "a": 15,
        "b": 40,
    }
    for log in loggers.values():
        log.runtime("hello from %s", log.name)
    assert f"hello from {PKG}.a" in capsys.readouterr().err
    assert [record.name for record in records.seen] == [f"{PKG}.a"]
