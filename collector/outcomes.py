"""What the text of a failure or an answer says about a call that did not succeed."""

import re
from typing import Literal

import orjson

from contracts.span import Value
from contracts.trajectory import Outcome

Refusal = Literal["denied", "unknown_tool", "invalid_arguments", ""]

HEAD = 2_000
"""Characters of a text that are read: what happened stands at its beginning."""

_UNKNOWN = re.compile(
    r"\b(?:unknown|unrecogni[sz]ed|nonexistent|non-existent|undefined|unregistered|unavailable|"
    r"hallucinated) (?:tool|function|plugin)|"
    r"no (?:such )?(?:tool|function)(?: (?:named|called|with (?:the )?name)|\b.{0,40}\bfound)|"
    r"(?:tool|function|plugin)s? ?[`'\"\w.:()-]* ?(?:was |is |could |does |do |can )?(?:not|n't) "
    r"(?:be )?(?:found|exist|registered|available|recogni[sz]ed|defined|known|supported|declared)|"
    r"[`'\"][\w.-]+[`'\"] (?:is|was) not (?:a |an )?(?:valid|known|registered|available|existing|"
    r"recogni[sz]ed) ?(?:tool|function)?|"
    r"not (?:a|an) (?:valid|known|registered|available|existing) (?:tool|function)|"
    r"tool ?not ?found|no ?such ?tool|unknown ?tool|"
    r"(?:tried|attempted) to call (?:unavailable|unknown|a non)|"
    r"available tools(?: are)?:",
    re.I,
)
_INVALID = re.compile(
    r"validation ?(?:error|failed|failure)|fails? (?:schema )?validation|schema validation|"
    r"(?:invalid|malformed|unparsable|bad|wrong|incorrect|unexpected) (?:tool |function |keyword )?"
    r"(?:argument|arguments|args|input|inputs|parameter|parameters|json|call arguments)|"
    r"(?:missing|requires?d?) (?:\d+ )?(?:a |the )?(?:required |positional |keyword(?:-only)? )*"
    r"(?:argument|parameter|field|propert|input)|"
    r"required (?:property|properties|field|argument|parameter)|field required|"
    r"(?:mandatory|required)[\w ]{0,30} (?:input )?(?:parameters?|arguments?|fields?)[\w ]{0,20} "
    r"(?:not present|missing|absent)|"
    r"got an unexpected keyword|unexpected keyword argument|type_error\.|value_error\.|"
    r"(?:argument|parameter)s? (?:do|does|did)(?: not|n't) (?:match|conform)|"
    r"(?:could not|cannot|can't|failed to|error|unable to) (?:be )?"
    r"(?:pars|decod|deserializ|bind|cast)\w* .{0,40}(?:argument|parameter|input|json)|"
    r"did not match (?:the )?(?:expected )?schema|is not of type|is a required property|"
    r"(?:argument|parameter|input)s? (?:parsing|validation|decoding|binding) "
    r"(?:failed|error|failure)|"
    r"(?:argument|parameter|field|property)s? \S{1,60} (?:is|are|was|were) "
    r"(?:required|missing|invalid)|"
    r"arguments? (?:is|are|was|were) (?:invalid|missing)",
    re.I,
)
_INVALID_TYPE = re.compile(
    r"validation|invalid_?(?:tool_?)?(?:arg|input|param)|zoderror|badarg|argumentexception|"
    r"argumenterror|jsondecode|jsonparse|tool_?input_?error|type_?validation|schema_?error|"
    r"invalid_?params|-32602",
    re.I,
)
_UNKNOWN_TYPE = re.compile(r"no_?such_?tool|unknown_?tool|tool_?not_?found|missingtool", re.I)
_DENIED_TYPE = re.compile(
    r"den(?:y|ied)|permission|forbidden|unauthori[sz]ed|not_?allowed|reject|refus|blocked|"
    r"approval|guardrail|policy|tripwire|cancel_?by_?user|user_?abort|disallow",
    re.I,
)
_DENIED = re.compile(
    r"\b(?:user|human|operator|reviewer|supervisor|administrator|admin|policy|hook|guardrail|"
    r"middleware|moderator|approver) (?:has |have )?(?:explicitly )?"
    r"(?:rejected|denied|declined|refused|blocked|disapproved|cancell?ed|vetoed|"
    r"did not (?:approve|allow|permit|consent)|does not want|doesn't want|chose not)|"
    r"(?:tool|function|call|action|execution|invocation|request|operation|command|it) "
    r"(?:call |execution |use |invocation |request )?(?:\S+ )?(?:was |is |has been |been |were )?"
    r"(?:rejected|denied|declined|refused|blocked|vetoed|disallowed|prohibited|"
    r"not (?:been )?(?:approved|allowed|permitted|authori[sz]ed|confirmed|executed because))|"
    r"(?:rejected|denied|declined|refused|blocked|vetoed|cancell?ed|disapproved) by "
    r"(?:the |a |an |your )?(?:user|human|operator|reviewer|supervisor|admin|policy|hook|guardrail|"
    r"middleware|approver|rule|security|safety|permission)|"
    r"(?:permission|access|approval|authori[sz]ation|request) (?:to .{0,40} )?"
    r"(?:was |is |has been )?"
    r"(?:denied|refused|rejected|not granted)|"
    r"(?:against|violates?|prohibited by|forbidden by|blocked by) (?:the |our |company |a )?"
    r"(?:policy|policies|rules?|guardrail|hook)|"
    r"execution[- _]denied|execution blocked",
    re.I,
)
_DENIED_LOOSELY = re.compile(
    r"(?:requires?|need(?:s|ed)?|awaiting|pending|lacks?) (?!no\b)(?:a |an |explicit )?"
    r"(?:human|user|manual|manager|operator)?[\w' -]{0,12}"
    r"(?:approval|a human|confirmation|sign-?off|authori[sz]ation)|"
    r"not (?:allowed|permitted|authori[sz]ed|approved)\b|"
    r"\b(?:denied|rejected|declined|refused|forbidden|disallowed|vetoed|prohibited)\b",
    re.I,
)
_SYSTEM_DENIAL = re.compile(
    r"errno|eacces|eperm|: permission denied|http|status code|40[13]\b", re.I
)
_FAILED = re.compile(
    r"^\W*(?:error|exception|failed|failure|traceback|tool (?:error|failed)|fatal)\b|"
    r"\b(?:error|exception) (?:executing|running|calling|invoking|while|in tool|occurred)|"
    r"\b\w+(?:Error|Exception)\b\s*[:(]",
    re.I,
)


# What follows spares the patterns above, which take 20 us each, most of the texts.
_UNKNOWN_SIGNS = ("tool", "function", "plugin", "s not ", "to call ")
_INVALID_SIGNS = (
    "argument",
    " args",
    "input",
    "parameter",
    "json",
    "field",
    "propert",
    "validation",
    "schema",
    "_error.",
    "unexpected keyword",
    "is not of type",
)
_DENIED_SIGNS = (
    "denied",
    "rejected",
    "declined",
    "refused",
    "blocked",
    "approve",
    "cancel",
    "vetoed",
    "prohibited",
    "allow",
    "permit",
    "authori",
    "consent",
    "confirmed",
    "executed because",
    "not granted",
    "not want",
    "n't want",
    "chose not",
    "polic",
    "rule",
    "guardrail",
    "hook",
)
_DENIED_LOOSELY_SIGNS = (
    *_DENIED_SIGNS,
    "approval",
    "a human",
    "confirmation",
    "signoff",
    "sign-off",
    "forbidden",
)
_FOLDED = {0x130: "i", 0x131: "i", 0x17F: "s"}
"""Letters outside ASCII that a pattern without case takes for one in it and `lower` does not."""


def _found(pattern: re.Pattern[str], signs: tuple[str, ...], text: str, lowered: str) -> bool:
    """Whether `pattern` is in `text`; one of `signs` stands in every lower-case text it is in."""
    for sign in signs:  # a generator costs as much as the search
        if sign in lowered:
            return pattern.search(text) is not None
    return False


def lowered(text: str) -> str:
    """`text` in the lower case in which patterns without case compare."""
    return text.lower() if text.isascii() else text.translate(_FOLDED).lower()


def flat(value: Value) -> str:
    """The text in which signs of failure are looked for, at most `HEAD` characters."""
    if isinstance(value, str):
        return value[:HEAD]
    if value is None or isinstance(value, (bool, int, float)):
        return ""
    try:
        return orjson.dumps(value)[: 4 * HEAD].decode("utf-8", "ignore")[:HEAD]
    except (TypeError, orjson.JSONEncodeError):
        return repr(value)[:HEAD]


_LOOKUP = re.compile(
    r"key ?error|name ?error|lookup ?error|reference ?error|is not (?:a function|defined)|"
    r"undefined",
    re.I,
)


def refusal(text: str, error_type: str = "", *, tool: str = "", loose: bool = False) -> Refusal:
    """Which refusal a failure's text and type tell of, "" if none.

    `tool`: a failed lookup of this name is an unknown tool. `loose`: the call failed or is known
    not to have run, so a bare "not allowed" is enough.
    """
    if error_type:
        if _UNKNOWN_TYPE.search(error_type):
            return "unknown_tool"
        if _INVALID_TYPE.search(error_type):
            return "invalid_arguments"
    head = text[:HEAD]
    if head:
        low = lowered(head)
        if _found(_UNKNOWN, _UNKNOWN_SIGNS, head, low):
            return "unknown_tool"
        if _found(_INVALID, _INVALID_SIGNS, head, low):
            return "invalid_arguments"
        if loose and tool and tool in head and _LOOKUP.search(f"{error_type} {head[:200]}"):
            return "unknown_tool"
        if _found(_DENIED, _DENIED_SIGNS, head, low) or (
            loose and _found(_DENIED_LOOSELY, _DENIED_LOOSELY_SIGNS, head, low)
        ):
            return "" if _SYSTEM_DENIAL.search(head) else "denied"
    if error_type and _DENIED_TYPE.search(error_type) and not _SYSTEM_DENIAL.search(head):
        return "denied"
    return ""


def says_refused(value: Value) -> Refusal:
    """A refusal told by the result of a call whose span says all went well.

    Only short texts and error objects count: a document that speaks of refusals is no refusal.
    """
    if isinstance(value, dict):
        kind = value.get("type") or value.get("status") or value.get("outcome")
        if isinstance(kind, str) and re.search(r"den(?:y|ied)|reject|blocked|refus", kind, re.I):
            return "denied"
        if any(value.get(key) for key in ("error", "denied", "rejected", "blocked")):
            return refusal(flat(value))
        return ""
    if isinstance(value, str) and len(value) <= 400:
        return refusal(value)
    return ""


def says_failed(value: Value) -> bool:
    """Whether an answering message reports a failure of the tool."""
    if isinstance(value, dict):
        return bool(value.get("is_error") or value.get("isError") or value.get("error")) or (
            value.get("status") in ("error", "failed", "failure")
        )
    return isinstance(value, str) and bool(_FAILED.search(value[:300]))


def outcome_of_failure(text: str, error_type: str, tool: str) -> Outcome:
    """The outcome of a call whose span reports a failure."""
    return refusal(text, error_type, tool=tool, loose=True) or "error"
