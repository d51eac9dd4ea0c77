"""The few errors a user can meet, each one line that names the culprit and the way out.

Commands turn them into exit codes (see `nas_skeleton.cli`); anything else that escapes is a bug.
"""

from __future__ import annotations


class NasSkeletonError(Exception):
    """Base of every error this package raises on purpose; its text is one line."""


class InputError(NasSkeletonError):
    """Wrong arguments, a bad file or an unusable machine: exit code 2."""


class StoppedEarly(NasSkeletonError):
    """A signal ended the work before it was complete; everything is saved: exit code 75."""
