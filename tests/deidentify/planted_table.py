"""The attributes that the Basic Profile names: the published table where it is there, else the main ones."""

import json
from dataclasses import dataclass
from pathlib import Path

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword

TABLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "deid" / "ps3_15_e1_1_2026d.json"
OPTIONS = {
    "retain_uids": "uids",
    "retain_device_identity": "device",
    "retain_institution_identity": "institution",
    "retain_patient_characteristics": "patient",
    "retain_longitudinal_full_dates": "full-dates",
    "retain_longitudinal_modified_dates": "modified-dates",
    "retain_safe_private": "safe-private",
    "clean_descriptors": "descriptors",
    "clean_structured_content": "structured",
    "clean_graphics": "graphics",
}
DEVICE = """StationName DeviceSerialNumber GantryID DetectorID PlateID CassetteID GeneratorID DeviceLabel
    DeviceDescription ScheduledStationName PerformedStationName TreatmentMachineName XRaySourceID
    LensSerialNumber
    UniqueDeviceIdentifier SourceSerialNumber ScheduledStudyLocation ManufacturerDeviceIdentifier UDISequence
    ScheduledStationNameCodeSequence PerformedStationNameCodeSequence TransducerIdentificationSequence"""
INSTITUTION = """InstitutionName InstitutionAddress InstitutionalDepartmentName InstitutionCodeSequence
    ClinicalTrialSiteID ClinicalTrialSiteName ClinicalTrialCoordinatingCenterName"""
PATIENT = "PatientSize PatientWeight EthnicGroup SmokingStatus PatientSexNeutered"
DATES = """StudyDate SeriesDate AcquisitionDate ContentDate AcquisitionDateTime StudyTime SeriesTime AcquisitionTime
    ContentTime InstanceCreationDate InstanceCreationTime PerformedProcedureStepStartDate AdmittingDate
    PerformedProcedureStepStartTime PerformedProcedureStepEndDate ScheduledProcedureStepStartDate LastMenstrualDate
    ScheduledProcedureStepEndDate DateOfSecondaryCapture RadiopharmaceuticalStartDateTime AdmittingTime
    RadiopharmaceuticalStopDateTime FrameReferenceDateTime FrameAcquisitionDateTime StructureSetDate
    StructureSetTime RTPlanDate RTPlanTime PresentationCreationDate PresentationCreationTime ObservationDateTime
    VerificationDateTime IssueDateOfImagingServiceRequest StudyVerifiedDate StudyReadDate StudyArrivalDate
    StudyCompletionDate DateOfLastCalibration TreatmentDate ReviewDate InterpretationApprovalDate
    DischargeDate ScheduledAdmissionDate ProcedureStepCancellationDateTime CurveDate OverlayDate Date DateTime"""
DESCRIPTORS = """RequestingService ServiceEpisodeDescription RequestAttributesSequence StudyDescription
    SeriesDescription ImageComments PatientComments ProtocolName VisitComments
    DerivationDescription AcquisitionComments AdditionalPatientHistory Allergies FrameComments Occupation
    PerformedProcedureStepDescription RequestedProcedureDescription ScheduledProcedureStepDescription MedicalAlerts
    ReasonForStudy StudyComments RequestedProcedureComments ImagingServiceRequestComments InterpretationText
    CommentsOnThePerformedProcedureStep ContrastBolusAgent AcquisitionProtocolDescription PatientState
    SpecialNeeds DischargeDiagnosisDescription AdmittingDiagnosesDescription StructureSetLabel StructureSetName
    ROIName ROIDescription RTPlanLabel RTPlanName ReasonForTheRequestedProcedure PreMedication ContentSequence
    AcquisitionContextSequence GraphicAnnotationSequence ConfidentialityConstraintOnPatientDataDescription"""
REMOVED = """ConfidentialityConstraintOnPatientDataDescription UID PatientBirthName PatientMotherBirthName
    OtherPatientNames OtherPatientIDs PatientAddress
    PatientTelephoneNumbers PatientTelecomInformation MilitaryRank BranchOfService CountryOfResidence
    RegionOfResidence
    MedicalRecordLocator PatientInsurancePlanCodeSequence PatientReligiousPreference PatientInstitutionResidence
    IssuerOfPatientID OtherPatientIDsSequence CurrentPatientLocation ReferringPhysicianAddress
    ReferringPhysicianTelephoneNumbers ReferringPhysicianIdentificationSequence PhysiciansOfRecord
    PerformingPhysicianName NameOfPhysiciansReadingStudy OperatorsName RequestingPhysician
    ScheduledPerformingPhysicianName ReviewerName InterpretationRecorder InterpretationTranscriber
    InterpretationAuthor PhysicianApprovingInterpretation DistributionName DistributionAddress
    HumanPerformerName HumanPerformerOrganization VerifyingObserverName VerifyingOrganization PersonName
    PersonAddress PersonTelephoneNumbers OrderEnteredBy OrderEntererLocation OrderCallbackPhoneNumber
    NamesOfIntendedRecipientsOfResults PatientTransportArrangements PerformedLocation AdmissionID
    ServiceEpisodeID FillerOrderNumberImagingServiceRequest
    PlacerOrderNumberImagingServiceRequest RequestedProcedureID RequestedProcedureLocation ScheduledProcedureStepID
    PerformedProcedureStepID PatientBirthTime ResultsID InterpretationID InterpretationIDIssuer ResponsiblePerson
    ResponsibleOrganization ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialSubjectID
    ContentCreatorName ActualHumanPerformersSequence
    OriginalAttributesSequence PersonIdentificationCodeSequence
    PerformingPhysicianIdentificationSequence VerifyingObserverSequence AuthorObserverSequence ParticipantSequence
    CustodialOrganizationSequence ModifiedAttributesSequence TextString StudyID ContainerIdentifier"""
UIDS = """ReferencedPatientSequence ReferencedStudySequence InstanceCreatorUID IrradiationEventUID
    SynchronizationFrameOfReferenceUID ConcatenationUID TransactionUID
    DimensionOrganizationUID FiducialUID DoseReferenceUID TrackingUID TargetUID StorageMediaFileSetUID
    RelatedFrameOfReferenceUID PaletteColorLookupTableUID ObservationUID SpecimenUID"""


@dataclass(frozen=True)
class Row:
    """`keeps`: the options under which the value may stay as it is; `cleaned`: it may stay with identifiers
    masked."""

    tag: int
    vr: str
    keeps: tuple[str, ...]
    cleaned: bool


def load_table() -> tuple[str, dict[int, Row]]:
    """The name of the source, and its rows by tag."""
    if not TABLE.is_file():
        return "own list", own_rows()
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    rows = (_row(raw) for raw in table["rows"])
    return table["standard"], {row.tag: row for row in rows if row}


def _row(raw: dict) -> Row | None:
    try:
        tag = int(raw["tag"], 16)
    except ValueError:
        return None
    if not raw["vr"] or tag < 0x00080000:
        return None
    options = {OPTIONS[name]: action for name, action in raw["options"].items()}
    keeps = [name for name, action in options.items() if action == "K"]
    if raw["vr"] in ("TM", "DT") and "modified-dates" in options:
        keeps += ["modified-dates"] if raw["vr"] == "TM" else []  # only whole days are shifted
    if raw["vr"] == "AE" and "device" in options:
        keeps.append("device")
    cleaned = "U" in raw["basic"] and raw["vr"] == "SQ"  # the sequence stays, with new UIDs in it
    cleaned |= any(
        action == "C" for name, action in options.items() if name not in ("modified-dates", "device")
    )
    return Row(tag, raw["vr"], tuple(keeps), cleaned)


def own_rows() -> dict[int, Row]:
    """The most important 220 attributes, for a machine without the published table."""
    rows = {}
    for words, keeps, cleaned in (
        (DEVICE, ("device",), False), (INSTITUTION, ("institution",), False), (PATIENT, ("patient",), False),
        (DATES, ("full-dates",), False), (DESCRIPTORS, (), True), (REMOVED, (), False), (UIDS, ("uids",), False),
    ):  # fmt: skip
        for keyword in words.split():
            tag = tag_for_keyword(keyword)
            if tag is None or not dictionary_has_tag(tag):
                raise KeyError(keyword)
            vr = dictionary_VR(tag)
            extra = ("modified-dates",) if vr == "TM" and "full-dates" in keeps else ()
            rows[tag] = Row(tag, vr, keeps + extra, cleaned)
    return rows
