"""Warnings that advise to set a parameter, which not every graph lets its user set."""

from __future__ import annotations

from typing import Self


class AdvisedWarning(str):
    """A warning with advice at its end.

    Attributes:
        plain: the warning without the advice.
        parameter: of the stage, that the advice is about.
    """

    plain: str
    parameter: str

    def __new__(cls, plain: str, advice: str, parameter: str) -> Self:
        warning = super().__new__(cls, f"{plain}; {advice}")
        warning.plain, warning.parameter = plain, parameter
        return warning

    def of(self, what: str) -> AdvisedWarning:
        """The same warning, said of `what`."""
        return AdvisedWarning(f"{what}: {self.plain}", self[len(self.plain) + 2 :], self.parameter)
