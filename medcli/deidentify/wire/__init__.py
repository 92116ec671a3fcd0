"""DICOM files at the level of bytes: a tolerant reader that hides nothing, and a writer with fresh lengths.

`read` turns a file into a tree of elements whose values stay bytes in little endian; what it had to repair is
listed in `File.notes`, what it had to leave out in `File.dropped`. `write` turns the tree back into a file.
"""

from medcli.deidentify.wire.elements import Dataset, Element, File, Fragments, dictionary_vr
from medcli.deidentify.wire.reading import looks_like_dicom, read
from medcli.deidentify.wire.writing import write

__all__ = ["Dataset", "Element", "File", "Fragments", "dictionary_vr", "looks_like_dicom", "read", "write"]
