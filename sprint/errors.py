"""Errors, designed for whoever catches them.

    SprintError                 everything this project raises on purpose; str(error) is one sentence for a person
    ├── InputError              bad data, file, option or request: the user can mend it (exit code 2, HTTP 400)
    │   ├── ConfigError         a configuration file or option
    │   └── ProtocolError       a text that does not follow the round protocol
    └── LLMError                the engine behind the LLM seam failed
        ├── LLMUnavailable      it could not be reached or refused for load (HTTP 503)
        ├── LLMTimeout          it did not answer in time (HTTP 504)
        ├── EndpointFailed      it is a server elsewhere, which refused the call or broke (HTTP 502)
        └── ContextOverflow     the prompt does not fit its context window (HTTP 400)

Broken invariants are not in this tree: they raise `AssertionError` and propagate.
"""


class SprintError(Exception):
    """Root of the errors raised on purpose. The message is one sentence: what is wrong, where, what was expected."""


class InputError(SprintError, ValueError):
    """Bad input that the user can mend.

    `field` names the option, column or request parameter at fault, where there is one.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class ConfigError(InputError):
    """A configuration file or command-line option is wrong."""


class ProtocolError(InputError):
    """A text does not follow the round protocol."""


class LLMError(SprintError):
    """The engine behind the LLM seam failed."""


class LLMUnavailable(LLMError):
    """The engine could not be reached, or refused the call because it is overloaded."""


class LLMTimeout(LLMError, TimeoutError):
    """The engine did not answer in time."""


class EndpointFailed(LLMError):
    """The engine is a server elsewhere, and it refused the call or broke."""


class ContextOverflow(LLMError):
    """The prompt does not fit the engine's context window."""
