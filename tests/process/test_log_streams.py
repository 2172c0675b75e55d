"""Output and uncaught errors as records."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import warnings

import pytest

from trioservice.process.log_streams import Uncaught


def said_by(body: str, *, captured: bool = True) -> list[str]:
    """What is logged when a process captures its streams and does *body*."""
    script = f"""if True:
        import fcntl, logging, os, subprocess, sys, threading
        from trioservice.process.log_streams import CapturedStreams
        book = os.fdopen(fcntl.fcntl(3, fcntl.F_DUPFD_CLOEXEC, 10), "w", buffering=1)
        logging.basicConfig(stream=book, level="INFO", format="%(name)s %(levelname)s %(message)s")
        {"CapturedStreams()" if captured else ""}
        {body}
    """
    done = subprocess.run(
        f"{sys.executable} -c '{script}' 3>&1 >/dev/null 2>/dev/null",
        shell=True,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_each_line_that_is_printed_is_a_record() -> None:
    """By Python, by descriptor, by a program that was started."""
    body = """
        print("one"); print("two", file=sys.stderr)
        os.write(1, b"three\\n\\nfour\\n")
        subprocess.run(["echo", "five"], check=True)
    """.strip()
    assert sorted(said_by(body)) == [
        "stderr ERROR two",
        "stdout INFO five",
        "stdout INFO four",
        "stdout INFO one",
        "stdout INFO three",
    ]


def test_what_is_no_text_is_shown_as_bytes() -> None:
    """And breaks nothing."""
    assert said_by(r'os.write(1, b"\xff\xfe\n"); print("\udc80")') == [
        r"stdout INFO \xff\xfe",
        r"stdout INFO \udc80",
    ]


def test_the_last_words_are_not_lost() -> None:
    """Without an end of line; by a function at exit; a traceback of Python's own."""
    assert said_by('sys.stdout.write("no end of line")') == ["stdout INFO no end of line"]
    assert said_by('import atexit; atexit.register(print, "bye")') == ["stdout INFO bye"]
    assert said_by("raise ValueError")[-1] == "stderr ERROR ValueError"


def test_much_at_once_from_many_threads_blocks_nobody() -> None:
    """The pipe is emptied while they print."""
    body = """
        work = [threading.Thread(target=lambda: [print("x" * 200) for _ in range(500)]) for _ in range(4)]
        for each in work: each.start()
        for each in work: each.join()
    """.strip()
    lines = said_by(body)
    assert sum(line.count("x" * 200) for line in lines) == 2000


def test_a_line_without_an_end_is_not_waited_for_for_ever() -> None:
    """A progress bar, or a file by mistake: memory has an end."""
    assert said_by('print("x" * 100000, end="")') == [
        "stdout INFO " + "x" * 65536,
        "stdout INFO " + "x" * (100000 - 65536),
    ]


def test_a_stream_that_somebody_logs_to_is_left_alone() -> None:
    """Or each record would come back as one more, for ever."""
    body = """
        logging.getLogger("theirs").addHandler(logging.StreamHandler())
        CapturedStreams()
        logging.getLogger("theirs").error("once"); print("printed")
    """.strip()
    assert said_by(body, captured=False) == ["theirs ERROR once", "stdout INFO printed"]


def test_a_handler_that_fails_does_not_feed_on_its_own_complaints() -> None:
    """What logging prints of a failure would be twenty records that fail."""
    body = """
        class Broken(logging.Handler):
            def emit(self, record):
                try: raise ValueError
                except ValueError: self.handleError(record)
        logging.getLogger().addHandler(Broken())
        logging.error("once")
    """.strip()
    assert said_by(body) == ["root ERROR once"]


def test_a_program_that_outlives_us_does_not_keep_us() -> None:
    """It holds the pipe, and we do not wait for it."""
    assert said_by('subprocess.Popen(["sleep", "20"]); print("going")') == ["stdout INFO going"]


# ---- errors that nobody can catch


def test_a_warning_is_a_record_of_its_own_logger(caplog: pytest.LogCaptureFixture) -> None:
    """As logging does it."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with Uncaught():
            warnings.warn("mind the gap", stacklevel=1)
    assert [record.name for record in caplog.records] == ["py.warnings"]
    assert "mind the gap" in caplog.text


def test_a_thread_that_fails_is_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its traceback; one that ends by SystemExit has not failed."""
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)

    def run(error: BaseException) -> None:
        raise error

    with Uncaught():
        for error in (ValueError("no"), SystemExit()):
            thread = threading.Thread(target=run, args=(error,), name="worker")
            thread.start()
            thread.join()
    (record,) = caplog.records
    assert record.getMessage() == "the thread worker has failed"
    assert "ValueError: no" in caplog.text
    assert threading.excepthook is threading.__excepthook__


class Grudge:
    def __del__(self) -> None:
        raise ValueError("no")


def test_an_error_in_a_finalizer_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python prints those, and a daemon has nobody to read it."""
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    with Uncaught():
        Grudge()
        gc.collect()
    assert "Grudge.__del__" in caplog.text
    assert "ValueError: no" in caplog.text
    assert sys.unraisablehook is sys.__unraisablehook__


def test_hooks_of_the_application_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever set one meant it."""

    def mine(args: object) -> None:
        raise AssertionError("nothing fails here")

    monkeypatch.setattr(threading, "excepthook", mine)
    monkeypatch.setattr(sys, "unraisablehook", mine)
    logging.captureWarnings(True)
    try:
        with Uncaught():
            assert threading.excepthook is mine
            assert sys.unraisablehook is mine
        assert warnings.showwarning.__module__ == "logging"
    finally:
        logging.captureWarnings(False)
