"""What one file is cleaned with: the options, the pseudonyms, and what identifies its patient."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from medcli.deidentify.identifiers import Finder
from medcli.deidentify.profile import Action, actions_for
from medcli.deidentify.pseudonyms import Pseudonyms


@dataclass(frozen=True)
class Policy:
    """Answers for every format alike: what becomes of a UID, a date, a patient's ID, a text.

    Args:
        options: Names from `tables.OPTIONS`.
        pseudonyms: Under the secret key.
        finder: What identifies this patient (everybody of the batch where the patient is not known).
        patient: The original Patient ID, or what stands for it; None when it is not known. Chooses the date shift.
        overrides: Actions of single attributes that the user set.
    """

    options: frozenset[str]
    pseudonyms: Pseudonyms
    finder: Finder
    patient: str | None
    overrides: Mapping[int, Action] = field(default_factory=dict)

    def actions(self, sop_class: str) -> dict[int, Action]:
        """Tag -> action at the top level of an object of this SOP Class ("" for what is nested)."""
        return actions_for(self.options, sop_class, tuple(sorted(self.overrides.items())))

    def text(self, text: str) -> str:
        """Free text with identifiers, and what looks like them, masked."""
        return self.finder.mask(text, free=True)

    def uid(self, uid: str) -> str:
        """The UID that stands for this one (itself under the option to retain UIDs)."""
        return uid if "uids" in self.options else self.pseudonyms.uid(uid)

    def date(self, text: str) -> str | None:
        """A date or date-time that starts with YYYYMMDD: kept, shifted, or None when dates must go."""
        if "modified-dates" in self.options:
            return None if self.patient is None else self.pseudonyms.shift(text, self.patient)
        return text if "full-dates" in self.options else None

    @property
    def patient_id(self) -> str:
        """The pseudonym of the patient."""
        return self.pseudonyms.patient(self.patient or "")
