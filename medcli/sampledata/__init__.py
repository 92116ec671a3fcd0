"""Made-up but realistic images with known truth, for the demo, the tests and teaching.

from medcli.sampledata import write_sample
config = write_sample("classification", Path("sample/chest"), cases=40, format="dicom")
"""

from medcli.sampledata.write import write_sample

__all__ = ["write_sample"]
