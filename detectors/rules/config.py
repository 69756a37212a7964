"""The rule file format: what stands in a YAML file of a rule folder.

A condition is a mapping; all its keys must hold. Text values are case-insensitive globs (`*`, `?`),
a list holds if any of its entries does, and `$name` stands for the entries of the set `name`.
"""

from typing import Annotated, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from contracts.labels import Maturity, Severity
from contracts.trajectory import Outcome


def _listed(value: object) -> object:
    """One text where a list is meant, as YAML users write it; numbers and booleans as text."""
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    return [_as_text(item) for item in items]


def _as_text(item: object) -> object:
    if isinstance(item, bool):
        return str(item).lower()
    return str(item) if isinstance(item, int) else item


Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Shared = Literal["tool", "other_tool", "act", "arguments", "target", "object"]
Family = Literal[
    "cleanup",
    "permission",
    "denial",
    "install",
    "send",
    "money",
    "mutate",
    "failure",
    "read",
    "execute",
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ToolCondition(_Strict):
    """What the tool does, by verb-object analysis or the operator's tool map.

    `confidence`: at least. `high_impact`: irreversible by the map or by its act.
    """

    act: Texts = ()
    verb: Texts = ()
    object: Texts = ()
    not_object: Texts = ()
    confidence: float = 0.0
    irreversible: bool | None = None


class CommandCondition(_Strict):
    """One shell command, after `sudo`, `env`, `bash -c`, `xargs` and the like are taken off.

    `sub`: its first non-option words, in order (`s3 rb`). `flags`: any of them; `all_flags`: all;
    without dashes. `word`: some non-option word; `word_outside`: some non-option word in none of
    these. `option`: value of an option (`--acl public-read`). `argument`: any argument at all.
    `via`: a wrapper it runs under. `pipe_from`, `pipe_to`: a program before or after it in its
    pipeline. `redirect`: a file it writes. `invoked`: the program as it was written. `assign`: a
    variable set for it. `ignored_failure`: stands before `|| true`. `no_flags`: none of them given.
    `words`: at least so many.
    """

    program: Texts = ()
    sub: Texts = ()
    flags: Texts = ()
    all_flags: Texts = ()
    no_flags: Texts = ()
    word: Texts = ()
    word_outside: Texts = ()
    argument: Texts = ()
    option: dict[str, Texts] = Field(default_factory=dict[str, Texts])
    via: Texts = ()
    pipe_from: Texts = ()
    pipe_to: Texts = ()
    redirect: Texts = ()
    invoked: Texts = ()
    assign: Texts = ()
    words: int = 0
    ignored_failure: bool | None = None
    substituted: bool | None = None


class SqlCondition(_Strict):
    """One SQL statement. `restricted`: has a WHERE that is not always true. `detail`: what the
    parser noted, of `detectors.parsing.sql.DETAILS`.
    """

    kind: Texts = ()
    object: Texts = ()
    column: Texts = ()
    detail: Texts = ()
    restricted: bool | None = None


class HttpCondition(_Strict):
    """One HTTP request, of a tool with a URL, a command line or code. `sends`: carries a body.
    `bare_address`: the host is an IP address."""

    method: Texts = ()
    host: Texts = ()
    host_outside: Texts = ()
    path: Texts = ()
    graphql: Texts = ()
    sends: bool | None = None
    bare_address: bool | None = None
    insecure: bool | None = None


class CodeCondition(_Strict):
    """One call in executed Python code. `word`: some literal argument."""

    call: Texts = ()
    word: Texts = ()


class FileCondition(_Strict):
    """One file touched, by a tool, a command, a redirect or code. `access`: `read`, `write`,
    `delete`. `content`: what was written, where it can be seen.
    """

    access: Texts = ()
    path: Texts = ()
    path_outside: Texts = ()
    content: Texts = ()


class ArgumentCondition(_Strict):
    """One argument of the tool. `over`: its value is a number greater than that."""

    name: Texts = ()
    value: Texts = ()
    over: float | None = None


class TargetCondition(_Strict):
    """One target of the call (`detectors.parsing.arguments`). `count`: at least so many match."""

    kind: Texts = ()
    value: Texts = ()
    outside: Texts = ()
    count: int = 1


class ResultCondition(_Strict):
    """What came back. `text`: a glob on its words; `secret`: holds secret-shaped material."""

    secret: bool | None = None
    text: Texts = ()


class RepeatCondition(_Strict):
    """How often the trajectory has done this; the call itself counts. Holds when a count is
    reached, not again beyond it, so that one endless loop is one action and not hundreds.

    `same_call`: equal tool and arguments, with the same result each time. `same_failure`: this
    very call failed so often in a row without backing off. `same_act`: this act so often in the
    trajectory. `cycle`: the last calls repeat a pattern of two to four calls so often. `calls`:
    calls of the trajectory so far.
    """

    same_call: int = 0
    same_failure: int = 0
    same_act: int = 0
    cycle: int = 0
    calls: int = 0


class EarlierCondition(_Strict):
    """Some call before this one, at most `within` calls back (0: any), that meets `where`.

    `same`: what both calls share; `other_tool` asks for the contrary of `tool`. `absent`: no such
    call. `count`: at least so many; `at_most`: no more than that, 0 for no limit.
    """

    where: "Condition"
    within: int = 0
    same: Annotated[tuple[Shared, ...], BeforeValidator(_listed)] = ()
    absent: bool = False
    count: int = 1
    at_most: int = 0


class Condition(_Strict):
    """Everything given must hold. `discloses`: carries sensitive content of an earlier result to a
    target that nobody named (`detectors.rules.disclosure`).
    """

    any: tuple["Condition", ...] = ()
    all: tuple["Condition", ...] = ()
    none: tuple["Condition", ...] = ()
    tool: ToolCondition | None = None
    command: CommandCondition | None = None
    sql: SqlCondition | None = None
    http: HttpCondition | None = None
    code: CodeCondition | None = None
    file: FileCondition | None = None
    argument: ArgumentCondition | None = None
    target: TargetCondition | None = None
    result: ResultCondition | None = None
    repeats: RepeatCondition | None = None
    earlier: EarlierCondition | None = None
    provenance: Texts = ()
    outcome: Texts = ()
    environment: Texts = ()
    secret_argument: bool | None = None
    discloses: bool | None = None
    offered: Texts = ()
    request: Texts = ()
    arguments: Literal["seen", "hidden"] | None = None
    first: bool | None = None
    repeated: bool | None = None
    denied: bool | None = None
    failed: bool | None = None


class CaseCall(_Strict):
    """A call of a case, as `contracts.testing.call` takes it."""

    tool: str
    arguments: JsonValue = None
    outcome: Outcome = "ok"
    result: JsonValue = None
    arguments_state: str | None = None
    environment: str = ""
    tools_offered: tuple[str, ...] = ()


class Case(CaseCall):
    """A call on which a rule must fire or stay silent. `before`: the calls before it.

    `repeat_before`: so many equal calls go before it.
    """

    before: tuple[CaseCall, ...] = ()
    repeat_before: int = Field(default=0, ge=0, le=1_000)
    request: str = ""


class Rule(_Strict):
    """One rule. `when` fires it, any of `unless` silences it.

    `maturity`: `stable` and `incubating` actions count as opportunities taken, `sandbox` actions
    are recorded and never count. `target`: kinds of target preferred for the action's `target`.
    """

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    version: int = Field(ge=1)
    maturity: Maturity
    category: str = Field(pattern=r"^UA(0[1-9]|1[0-6])$")
    variant: str = Field(pattern=r"^[a-z0-9_]+$")
    description: str = Field(min_length=8)
    when: Condition
    severity: Severity | None = None
    owasp: Texts = ()
    atlas: Texts = ()
    attack: Texts = ()
    unless: tuple[Condition, ...] = ()
    irreversible: bool = False
    confidence: float = Field(default=1.0, gt=0.0, le=1.0)
    target: Texts = ()
    enabled: bool = True
    fires: tuple[Case, ...] = ()
    silent: tuple[Case, ...] = ()


class OpportunityRule(_Strict):
    """When unsafe actions of `categories` are possible at a step.

    `needs`: what must be seen to decide whether one was taken: `nothing` (the tool's name or the
    order says it, but arguments were not left out altogether), `arguments`, `target` (one target,
    plain or as a digest), `origin` (also what earlier calls returned), `request` (also what the
    user asked for: whom to pay, what is in scope).
    """

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    family: Family
    categories: Texts
    when: Condition
    needs: Literal["nothing", "arguments", "target", "origin", "request"] = "arguments"
    unless: tuple[Condition, ...] = ()
    enabled: bool = True


class PackFile(_Strict):
    """One YAML file of a rule folder. A later folder's entry replaces one of the same id or
    name.
    """

    sets: dict[str, Texts] = Field(default_factory=dict[str, Texts])
    rules: tuple[Rule, ...] = ()
    opportunities: tuple[OpportunityRule, ...] = ()
