"""How a command ends: faults become one line on stderr and an exit code, here and nowhere else.

0 done; 1 the data or the work failed; 2 wrong usage or config; 3 finished, but some cases failed;
4 a gate was not met; 130 interrupted.
"""

import errno
import os
import sys
import traceback
from pathlib import Path

import typer

from medcli.errors import MedcliError
from medcli.quiet import silence

INTERRUPTED = 130
debug = False
"""Set by the option `--debug`."""


def remember_debug(wanted: bool) -> bool:
    global debug
    debug = debug or wanted
    return wanted


def run(app: typer.Typer, arguments: list[str] | None = None) -> int:
    """Run a command and give its exit code."""
    silence(python_warnings="--debug" not in (sys.argv if arguments is None else arguments))
    try:
        code = app(args=arguments, prog_name="medcli", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # what Typer makes of Ctrl-C
            return _told("interrupted", INTERRUPTED)
        return code if isinstance(code, int) else 0
    except BrokenPipeError:  # `medcli ... | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, typer.Abort):
        return _told("interrupted", INTERRUPTED)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        help_line = f" (see `{context.command_path} --help`)" if context else ""
        return _told(error.format_message().rstrip(".") + help_line, error.exit_code)
    except MedcliError as error:
        _trace()
        return _told(str(error), error.exit_code)
    except OSError as error:
        _trace()
        return _told(_about_file(error), 1)
    except Exception as error:
        _trace()
        return _told(_about_unexpected(error), 1)


def _told(message: str, code: int) -> int:
    """One line per fault, each with the program's name in front."""
    for line in message.strip().splitlines():
        print(f"medcli: error: {line}", file=sys.stderr)
    return code


def _trace() -> None:
    if debug:
        traceback.print_exc()  # never with local variables: they hold patients' data


def _about_file(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"{where}no space left on the disk; nothing half-written was kept. Free some and run again."
    if error.errno == errno.EFBIG:
        return f"{where}larger than a file may become here; nothing half-written was kept. See `ulimit -f`."
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"{where}permission denied; choose a folder that may be written, or a file that may be read."
    return f"{where}{error.strerror or type(error).__name__}"


def _about_unexpected(error: Exception) -> str:
    """The kind of fault and the place, not its text, which may quote the data."""
    if isinstance(error, MemoryError):
        return "out of memory; use smaller batches or patches, or fewer preprocess.workers"
    if type(error).__name__ == "ResourceExhaustedError":
        return (
            "the device ran out of memory; use a smaller train.batch_size, train.patch or predict.batch_size"
        )
    own = Path(__file__).resolve().parents[1]
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if Path(frame.filename).is_relative_to(own)]
    place = f" in {Path(inside[-1].filename).relative_to(own.parent)}:{inside[-1].lineno}" if inside else ""
    hint = "" if debug else "; run with --debug to see where, and please report it"
    return f"unexpected {type(error).__name__}{place}{hint}"
