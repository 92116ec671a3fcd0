"""What goes wrong while a file is read, as one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medcli.errors import FormatError, MedcliError


@contextmanager
def explained(path: Path, what: str) -> Iterator[None]:
    """Turn the faults of libraries into FormatError; `what` is read from `path`: "image" or "mask".

    A library's text may quote the header, so it is not shown.
    """
    try:
        yield
    except MedcliError:
        raise
    except MemoryError as error:
        raise FormatError(f"{path}: the {what} does not fit into memory.") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FormatError(f"{path}: cannot be opened ({reason}).") from error
    except Exception as error:
        raise FormatError(
            f"{path}: cannot be read as {'an' if what[0] in 'aeiou' else 'a'} {what} ({type(error).__name__} while "
            "decoding); it is damaged or of a kind that is not supported, export it again."
        ) from error
