"""Every error the product raises on purpose: a stable code, an exit code, and what to do about it.

The first digit of a code is the exit code of the process: 1 fault, 2 settings or usage, 3 refused by
policy, 4 a proof failed, 5 a round failed. A message says what, why and what to do; it never quotes a
value from a row. `docs/reference/errors.md` lists them all (tested).
"""

from __future__ import annotations

from typing import Any, ClassVar


class FedprofileError(Exception):
    """Base of the tree. `what` is the fact at hand; `why` and `do` have defaults per class."""

    code: ClassVar[str] = "FP-101"
    why: str = "an unexpected fault in the product"
    do: str = "run again; if it repeats, report it with the code and the log"

    def __init__(self, what: str, *, why: str | None = None, do: str | None = None) -> None:
        self.what = what
        self.why = self.why if why is None else why
        self.do = self.do if do is None else do
        super().__init__(f"{what}: {self.why}. {self.do[:1].upper()}{self.do[1:]}. [{self.code}]")

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.what, self.why, self.do)

    @property
    def exit_code(self) -> int:
        """Exit code of the process: the first digit of the code."""
        return int(self.code[3])

    def as_json(self) -> dict[str, dict[str, str]]:
        """The `{"error": ...}` object that `--json` prints."""
        return {"error": {"code": self.code, "what": self.what, "why": self.why, "do": self.do}}


class SettingsInvalid(FedprofileError):
    """A plan, manifest or policy file does not say what it must; all faults are listed at once."""

    code = "FP-201"
    why = "the file does not say what it must"
    do = "correct the lines named above"


class SourceMissing(FedprofileError):
    """A file or table that a manifest or command names is not there."""

    code = "FP-202"
    why = "it is not there"
    do = "check the path, or set FEDPROFILE_DATA to the folder that holds the tables"


class SourceUnreadable(FedprofileError):
    """A source is there but cannot be read to its end."""

    code = "FP-203"
    why = "the file is cut or is not of the kind that the manifest names"
    do = "copy the file again, or correct its kind"


class ColumnMissing(FedprofileError):
    """The manifest names columns that the table lacks."""

    code = "FP-204"
    why = "the table has no such column"
    do = "correct the column's name in the manifest"


class ColumnTypeWrong(FedprofileError):
    """A column's type cannot play the role that the manifest gives it."""

    code = "FP-205"
    why = "the column's type cannot play that role"
    do = "name another column, or convert it at the source"


class TimezoneMissing(FedprofileError):
    """Times without a zone, and the manifest does not say which zone they are in."""

    code = "FP-206"
    why = "the times carry no zone"
    do = 'state `timezone` in the manifest, for example timezone = "Europe/London"'


class CountryUnknown(FedprofileError):
    """Rows name a country that the manifest does not map to an ISO 3166 code."""

    code = "FP-207"
    why = "the manifest maps no ISO 3166 code to it"
    do = "add the name to [country_codes] in the manifest"


class RegionNameTaken(FedprofileError):
    """Two regions of one federation bear one name."""

    code = "FP-208"
    why = "a region's name is its identity in a federation"
    do = "give each region a name of its own"


class RegionsOverlap(FedprofileError):
    """One row of a shared file is claimed by two regions' rules."""

    code = "FP-209"
    why = "a person belongs to one region, and two rules over one file claim the same rows"
    do = "make the regions' rules disjoint"


class FolderBusy(FedprofileError):
    """Another process holds the folder's lock."""

    code = "FP-210"
    why = "another process works in this folder"
    do = "wait for it to end, or end it"


class FolderUnknown(FedprofileError):
    """The folder is not what the command expects (no region, no run, or one already there)."""

    code = "FP-211"
    why = "the folder does not hold what this command works on"
    do = "name the right folder, or make it with its init command"


class FolderMismatch(FedprofileError):
    """A folder's fixed facts (plan, fold, manifest, hold-out) differ from what is asked now."""

    code = "FP-212"
    why = "these facts are fixed for the folder's life"
    do = "use another --out folder"


class UsageWrong(FedprofileError):
    """A command was called with arguments that do not go together."""

    code = "FP-213"
    why = "the arguments do not go together"
    do = "see --help"


class PlanNotApproved(FedprofileError):
    """The region has not approved this plan's digest."""

    code = "FP-301"
    why = "this region has not approved the plan's digest"
    do = "review it with `fedprofile region approve DIR PLAN`"


class BudgetExceeded(FedprofileError):
    """The charge would take a population over its epsilon limit."""

    code = "FP-302"
    why = "the population's privacy budget would be exceeded"
    do = "wait for the rolling period to free budget, lower the plan's epsilon, or raise the budget"


class TooFewSubjects(FedprofileError):
    """The eligible set is below the region's minimum."""

    code = "FP-303"
    why = "the eligible set for this purpose is below the region's minimum"
    do = "lower the detail, or wait for more people"


class NoLawfulBasis(FedprofileError):
    """The manifest records no lawful basis for the purpose."""

    code = "FP-304"
    why = "the manifest records no lawful basis for this purpose"
    do = "record one under [lawful_basis], or do not process for this purpose"


class GateFailed(FedprofileError):
    """A data quality gate found more violations than it allows."""

    code = "FP-305"
    why = "a data quality gate found more violations than it allows"
    do = "see the gate's counts with `fedprofile region check DIR`, and mend the source"


class RequestConflict(FedprofileError):
    """The same run, round, step, attempt and kind was asked before with another content."""

    code = "FP-306"
    why = "this slot was used by another request"
    do = "ask in a new attempt"


class RequestUnknown(FedprofileError):
    """A message is not in the closed set, or has an unknown field, type, shape or size."""

    code = "FP-307"
    why = "it is not in the closed set of requests"
    do = "use the request forms of privacy/release.py and this protocol version"


class RequestSpent(FedprofileError):
    """The request was charged, but a crash took its answer; it is never answered again."""

    code = "FP-308"
    why = "it was charged and its answer was lost; fresh noise for one charge is never drawn"
    do = "ask in a new attempt"


class RunClosed(FedprofileError):
    """The run was closed, or a newer run took its place."""

    code = "FP-309"
    why = "the run is closed in this region"
    do = "start a new run"


class ModelForeign(FedprofileError):
    """A model of a simulation is offered to a real region folder, or the reverse."""

    code = "FP-310"
    why = "models of simulations serve inside their own folder only"
    do = "train a model in a real run"


class ProfileStale(FedprofileError):
    """A profile is past its freshness limit."""

    code = "FP-311"
    why = "the profile is older than 72 hours"
    do = "run `fedprofile region refresh DIR`, or take the score as it is with --allow-stale"


class BorderCrossed(FedprofileError):
    """Personal rows of two storage countries would meet on one machine."""

    code = "FP-312"
    why = "personal rows of two storage countries may not meet on one machine"
    do = "simulate with public or synthetic data; personal rows stay where they are stored"


class ModelRefused(FedprofileError):
    """Model values from the centre are not finite, not of the plan's shape, or too large."""

    code = "FP-313"
    why = "the values are not those of the plan's model"
    do = "send finite values of the plan's shape within its norm bound"


class SubjectUnknown(FedprofileError):
    """No profile may be shown for this identifier."""

    code = "FP-314"
    why = "this region holds no profile that may be shown for it"
    do = "check the identifier, the purpose, and the person's consent"


class PurposeRefused(FedprofileError):
    """The region's policy does not allow the purpose or the terms of the plan."""

    code = "FP-315"
    why = "the region's policy.toml does not allow it"
    do = "change the plan, or have the region's officers change the policy"


class LedgerBroken(FedprofileError):
    """The ledger's hash chain does not hold."""

    code = "FP-401"
    why = "an entry was altered, removed or reordered"
    do = "restore the folder from a backup and report the incident"


class LogBroken(FedprofileError):
    """The audit log's tree does not match its entries."""

    code = "FP-402"
    why = "an entry or a tree node was altered"
    do = "restore the folder from a backup and report the incident"


class QuorumMissed(FedprofileError):
    """Fewer regions than the quorum answered in time."""

    code = "FP-501"
    why = "too few regions answered within the time limit"
    do = "see who is missing above; start the regions, then --resume"


class AttemptsSpent(FedprofileError):
    """The plan's attempts are used up."""

    code = "FP-502"
    why = "the attempts that the plan allows, and the budget reserves, are used up"
    do = "mend the failing region, then start a new run"


class CheckpointFailed(FedprofileError):
    """A checkpoint could not be written; the one before it stands."""

    code = "FP-503"
    why = "the checkpoint could not be written, the one before it stands"
    do = "free space or mend the disk, then --resume"


class ReleaseInconsistent(FedprofileError):
    """A region's release does not fit the request that it answers."""

    code = "FP-504"
    why = "the answer does not fit the request"
    do = "check that hub and region run the same version"


def _again(kind: type[FedprofileError], what: str, why: str, do: str) -> FedprofileError:
    return kind(what, why=why, do=do)


def by_code(code: str) -> type[FedprofileError]:
    """Returns the error class of a code; the base class where the code is unknown."""
    known = {each.code: each for each in FedprofileError.__subclasses__()}
    return known.get(code, FedprofileError)
