"""The one exception tree: every error a user can meet says what, where and what is allowed.

`code` is the stable name used in recipes, events and HTTP answers; `status` is the HTTP status of the same error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeAlias

MOST_LISTED = 24
"""Names, or faults of one input, that a message lists."""

Allowed: TypeAlias = str | Iterable[str]
"""What would be accepted: in words, or the names that exist."""


def listing(names: Iterable[str]) -> str:
    """The names as a message lists them, separated by commas; a very long list is cut."""
    names = list(names)
    more = f", and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return (", ".join(names[:MOST_LISTED]) + more) or "none"


class FlowsError(Exception):
    """Base of all errors that acestep_flows raises on purpose. `field` and `allowed` are empty where there is none."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    field: str = ""
    allowed: str = ""

    @property
    def public(self) -> str:
        """The message for clients of a server: without names of the server's own stores and machines."""
        return str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross processes; the default would call __init__ with the finished message.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[FlowsError], args: tuple[Any, ...], fields: dict[str, Any]) -> FlowsError:
    error = kind.__new__(kind)
    Exception.__init__(error, *args)
    error.__dict__.update(fields)
    return error


def _allowed_texts(allowed: Allowed) -> tuple[str, str]:
    """All that is allowed, for the attribute; and as much of it as a message has."""
    if isinstance(allowed, str):
        return allowed, allowed
    names = list(allowed)
    return ", ".join(names) or "none", listing(names)


def node_of(error: BaseException) -> str:
    """The node to blame: the node of a stage error, or the one in an input error's `where`; empty without one."""
    where = getattr(error, "where", "")
    if isinstance(where, str) and where.startswith("node "):
        return where.removeprefix("node ").partition(",")[0]
    node = getattr(error, "node", "")
    return node if isinstance(node, str) else ""


class InputError(FlowsError):
    """A value from outside is not usable.

    Args:
        what: the problem, with the value found.
        where: the field, file or option it was found in.
        allowed: what would be accepted. Of many names the message lists the first.
        field: name of the field alone, if `where` is not that.

    Attributes:
        allowed: a text; names are separated by commas, and all of them are there.
        faults: the errors that this one stands for; empty for a single one.
    """

    code = "invalid_input"
    status = 422
    faults: tuple[InputError, ...] = ()

    def __init__(self, what: str, *, where: str = "", allowed: Allowed = "", field: str = "") -> None:
        self.what, self.where = what, where
        self.field = field or (where.partition(", ")[2] if where.startswith("node ") else where)
        self.allowed, in_short = _allowed_texts(allowed)
        prefix = f"{where}: " if where else ""
        suffix = f" (allowed: {in_short})" if in_short else ""
        super().__init__(f"{prefix}{what}{suffix}")

    @classmethod
    def of_several(cls, faults: Sequence[InputError]) -> InputError:
        """One error for several: their messages together, and the field of the first. A long list is cut."""
        faults = [part for fault in faults for part in fault.faults or (fault,)]
        if len(faults) == 1:
            return faults[0]
        if len(faults) > MOST_LISTED:
            faults = [*faults[:MOST_LISTED], InputError(f"and {len(faults) - MOST_LISTED} more")]
        whole = InputError("; ".join(map(str, faults)), field=faults[0].field)
        whole.allowed, whole.faults = faults[0].allowed, tuple(faults)
        return whole


class CheckpointError(InputError):
    """A weights file is missing, truncated, or not the one expected."""

    code = "checkpoint"


class UnsupportedMedia(InputError):
    """The body of a request has a media type that its route does not take."""

    code = "unsupported_media_type"
    status = 415


class NotFound(FlowsError):
    """A named thing (graph, stage, run, asset, adapter) does not exist.

    Args:
        what: what does not exist, and what does.
        where: the field that named it, if known.
        allowed: the names that exist, or their form. `what` says it too, perhaps shorter.
        field: name of the field alone, if `where` is not that.
    """

    code = "not_found"
    status = 404

    def __init__(self, what: str, *, where: str = "", allowed: Allowed = "", field: str = "") -> None:
        self.what, self.where, self.field = what, where, field or where
        self.allowed, _ = _allowed_texts(allowed)
        super().__init__(f"{where}: {what}" if where else what)


class Conflict(FlowsError):
    """The request contradicts an earlier one, or what goes on: an idempotency key that was used for something else.

    Args:
        field: of the request that has the contradiction, if there is one.
    """

    code = "conflict"
    status = 409

    def __init__(self, what: str, *, field: str = "") -> None:
        self.what, self.field = what, field
        super().__init__(what)


class ChangedJob(Conflict):
    """The folder of a bulk job holds a job with other rows or options."""


@dataclass(frozen=True)
class Problem:
    """One finding of the graph checker. `line` and `column` count from 1; 0 means unknown."""

    rule: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    node: str = ""

    def __str__(self) -> str:
        place = ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)]).strip(":")
        node = f"node {self.node}: " if self.node else ""
        return f"{place}: {node}{self.message}" if place else f"{node}{self.message}"


class GraphError(FlowsError):
    """A graph does not check; carries all problems at once."""

    code = "invalid_graph"
    status = 422

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class StageError(FlowsError):
    """A stage failed on one item.

    Args:
        node: the node of the graph, empty outside a graph.
        stage: the stage's name.
        cause: the exception behind it.
    """

    code = "stage_failed"

    def __init__(self, node: str, stage: str, cause: BaseException) -> None:
        self.node, self.stage, self.cause = node, stage, cause
        where = f"node {node} ({stage})" if node and node != stage else stage
        self._place = f"{where}: {type(cause).__name__}"
        super().__init__(f"{self._place}: {cause}")

    @property
    def public(self) -> str:
        """As the message, with what the cause says in public."""
        return f"{self._place}: {self.cause.public}" if isinstance(self.cause, FlowsError) else str(self)


class TrainingError(FlowsError):
    """Training cannot go on: a loss or a gradient that is not finite. The last good state is saved."""

    code = "training_failed"


class StorageError(FlowsError):
    """Something could not be written: no space, no permission, not a folder."""

    code = "storage"
    status = 507
    _public = ""

    @classmethod
    def hiding(cls, what: str, reason: str) -> Self:
        """An error whose reason is for the operator: it may name hosts, buckets and users."""
        error = cls(f"{what}: {reason}")
        error._public = f"{what}; the server's log has the reason"
        return error

    @property
    def public(self) -> str:
        """The message without its reason, if that was to be hidden."""
        return self._public or str(self)


class Unavailable(StorageError):
    """A store is not available at the moment; nothing was written, so retry after `retry_after` seconds."""

    code = "unavailable"
    status = 503
    retry_after: float = 5.0


class MissingPackage(FlowsError):
    """An optional package is not installed.

    Args:
        modules: what is missing.
        who: what needs it, with a verb: "serve needs".
        install: the command that installs it.
    """

    code = "missing_package"
    status = 501

    def __init__(self, modules: Sequence[str], who: str, install: str) -> None:
        self.modules = tuple(modules)
        shown = modules if len(modules) <= 4 else [*modules[:3], f"{len(modules) - 3} more packages"]
        names = " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
        verb = "is" if len(modules) == 1 else "are"
        super().__init__(f"{who} {names}, which {verb} not installed: {install}")


class DownloadError(FlowsError):
    """A file could not be fetched: no connection, a refusal, or content other than expected."""

    code = "download"
    status = 502


class Unreachable(FlowsError):
    """A server does not answer."""

    code = "unreachable"
    status = 502


class Overloaded(FlowsError):
    """No room now; `retry_after` is in seconds. `limit` is the limit of the caller's key that was reached, if any."""

    code = "overloaded"
    status = 503

    def __init__(self, what: str, *, retry_after: float = 1.0, limit: str = "") -> None:
        self.what, self.retry_after, self.limit = what, retry_after, limit
        super().__init__(what)


class RateLimited(Overloaded):
    """This caller asks for too much at once; others are served."""

    code = "rate_limited"
    status = 429


class QuotaExceeded(RateLimited):
    """A caller has used up what it may use in a day, or keep. It says what is used, what is allowed, and until when."""

    code = "quota_exceeded"


class TooLarge(FlowsError):
    """A request has more bytes than are accepted."""

    code = "too_large"
    status = 413


class Unauthorized(FlowsError):
    """The request has no API key, or not one of ours."""

    code = "unauthorized"
    status = 401


class Forbidden(FlowsError):
    """Whoever sent the request may not do this, with any key: a page of another site."""

    code = "forbidden"
    status = 403


class DeadlineExceeded(FlowsError):
    """The run's deadline passed; it stopped at a step boundary."""

    code = "deadline_exceeded"
    status = 504


class TimedOut(FlowsError, TimeoutError):
    """Whoever waited for a run gave up. The run goes on, and can be waited for again. It is a TimeoutError, too."""

    code = "timed_out"
    status = 504
    field = "timeout"


class Cancelled(FlowsError):
    """The run was cancelled; it stopped at a step boundary."""

    code = "cancelled"
    status = 409


class LostProcess(FlowsError):
    """The process that worked on a stage died; stages are pure, so the call may be made again."""

    code = "lost_process"
    status = 503
