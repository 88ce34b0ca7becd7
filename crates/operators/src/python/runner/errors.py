"""The exceptions that tasks raise and meet, under Airflow's names."""


class AirflowException(Exception):
    """Fails the task; it is retried while there are tries left."""

    status_code = 500


class AirflowNotFoundException(AirflowException):
    """Something that was asked for does not exist."""

    status_code = 404


class AirflowBadRequest(AirflowException):
    status_code = 400


class AirflowConfigException(AirflowException):
    """A configuration option that is not set."""


class AirflowRuntimeError(AirflowException):
    """The worker could not do what was asked of it."""


class AirflowSensorTimeout(AirflowException):
    """A sensor has waited too long."""


class AirflowSkipException(AirflowException):
    """Skips the task."""


class AirflowFailException(AirflowException):
    """Fails the task; it is not tried again."""


class AirflowOptionalProviderFeatureException(AirflowException):
    """A feature whose package is not installed."""


class AirflowRescheduleException(AirflowException):
    """Ends this attempt; the task is called again at `reschedule_date` without using up a try."""

    def __init__(self, reschedule_date):
        super().__init__(f"reschedule at {reschedule_date}")
        self.reschedule_date = reschedule_date


class AirflowTaskTimeout(BaseException):
    """The task has run too long."""


class AirflowTaskTerminated(BaseException):
    """The task was told to stop. Not an `Exception`, so that `except Exception` lets it pass."""


class VariableNotFound(AirflowRuntimeError, AirflowNotFoundException, KeyError):
    """A variable that does not exist: KeyError was Airflow 2's answer, AirflowRuntimeError is Airflow 3's."""

    __str__ = Exception.__str__


class SetupError(Exception):
    """The task's function could not be called. The message says all; there is no traceback worth a look."""


# Users know them by this name, and so they print and are pickled.
for _class in list(globals().values()):
    if isinstance(_class, type) and issubclass(_class, BaseException) and _class is not SetupError:
        _class.__module__ = "airflow.exceptions"
del _class
