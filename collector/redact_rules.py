"""What secrets look like: vendors' prefixes and structures. Data; `redact_finder` runs it.

Patterns are RE2's, on bytes: it has no backtracking, so no text takes more than linear time. Shapes
follow the vendors' own documentation and the public rule table of gitleaks (config/gitleaks.toml).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ALNUM, HEX, LOWER_HEX, UPPER = "A-Za-z0-9", "A-Fa-f0-9", "a-f0-9", "A-Z0-9"
WORD = ALNUM + r"_\-"

START = r"(?:\b|\\[nrtbf]|\\u00[0-9a-fA-F]{2})"
r"""Start of a token. In JSON that is itself a text, `\n` and `\u003d` stand before tokens, too."""

_MIXED_RUN = re.compile(rb"(?=.*[0-9])(?=.*[A-Za-z])", re.S)
_NUMBERS = re.compile(rb"[0-9]+")
_REFERENCE = re.compile(
    rb"\$(?:[A-Z_][A-Z0-9_]*|[a-z_]+)$|[$%]?[{(]|%\w+%|<[^>]*>$|\*{3}|x{4,}$|\.{3}"
)


def always(secret: bytes) -> bool:
    """The pattern alone decides."""
    return True


def mixed(least: int) -> Callable[[bytes], bool]:
    """At least so long, with digits and letters, which no hyphenated or plain word has."""
    return lambda secret: len(secret) >= least and bool(_MIXED_RUN.match(secret))


def spelt_out(secret: bytes) -> bool:
    """Not a variable (`$PASSWORD`, `${{ x }}`), a placeholder (`<token>`) or stars."""
    return not _REFERENCE.match(secret)


def spelt_out_word(secret: bytes) -> bool:
    """As `spelt_out`, and no number: `-u 1000:1000` is a user and a group."""
    return spelt_out(secret) and not _NUMBERS.fullmatch(secret)


@dataclass(frozen=True, slots=True)
class Rule:
    """`pattern`: its first group is the secret; `accept` may still say that it is none."""

    name: str
    pattern: str
    accept: Callable[[bytes], bool] = always


def _prefixed(name: str, prefixes: str, body: str, least: int, exact: bool = False) -> Rule:
    """A vendor's token: one of the prefixes, then at least `least` characters of `body`, or, where
    `exact`, just so many.
    """
    words = prefixes.split()
    start = START if all(word[0].isalnum() for word in words) else ""
    end = f"(?:[^{body}]|$)" if exact else f"[{body}]*"
    alternatives = "|".join(re.escape(word) for word in words)
    token = f"(?:{alternatives})[{body}]{{{least}}}"
    return Rule(name, f"{start}({token}){end}" if exact else f"{start}({token}{end})")


VENDORS: tuple[Rule, ...] = (
    _prefixed("aws_access_key", "AKIA ASIA ABIA ACCA", UPPER, 16, exact=True),
    _prefixed("aws_bedrock", "ABSK", ALNUM + "+/=", 100),
    _prefixed("github", "ghp_ gho_ ghu_ ghs_ ghr_", ALNUM, 36),
    _prefixed("github", "github_pat_", ALNUM + "_", 22),
    _prefixed(
        "gitlab",
        "glpat- gldt- glrt- glcbt- glptt- glft- glimt- glagent- gloas- glsoat- glffct-",
        WORD + ".",
        20,
    ),
    _prefixed("slack", "xoxa- xoxb- xoxe- xoxe. xoxo- xoxp- xoxr- xoxs- xapp-", WORD + ".", 10),
    _prefixed("slack", "hooks.slack.com/services/ hooks.slack.com/workflows/", ALNUM + "/", 20),
    _prefixed(
        "openai",
        "sk-proj- sk-svcacct- sk-admin- sk-None-",
        WORD,
        20,
    ),
    _prefixed("anthropic", "sk-ant-", WORD, 20),
    _prefixed("openrouter", "sk-or-v1- sk-or-", ALNUM, 20),
    _prefixed("langfuse", "sk-lf-", ALNUM + "-", 20),
    _prefixed("langsmith", "lsv2_pt_ lsv2_sk_ ls__", ALNUM + "_", 20),
    _prefixed("google_api_key", "AIza", WORD, 35, exact=True),
    _prefixed("google_oauth", "ya29.", WORD + ".", 20),
    _prefixed("google_oauth", "GOCSPX-", WORD, 20),
    _prefixed("google_oauth", "1//0", WORD, 40),
    _prefixed("huggingface", "hf_ api_org_", ALNUM, 30),
    _prefixed("groq", "gsk_", ALNUM, 40),
    _prefixed("xai", "xai-", ALNUM, 40),
    _prefixed("perplexity", "pplx-", ALNUM, 32),
    _prefixed("replicate", "r8_", ALNUM, 30),
    _prefixed("tavily", "tvly-", WORD, 20),
    _prefixed("nvidia", "nvapi-", WORD, 40),
    _prefixed("fireworks", "fw_", ALNUM, 22),
    _prefixed("pinecone", "pcsk_", ALNUM + "_", 40),
    _prefixed("cerebras", "csk-", ALNUM, 40),
    _prefixed("firecrawl", "fc-", LOWER_HEX, 32, exact=True),
    _prefixed("e2b", "e2b_", LOWER_HEX, 40),
    _prefixed("stripe", "sk_live_ sk_test_ rk_live_ rk_test_ sk_prod_ rk_prod_", ALNUM, 10),
    _prefixed("stripe", "whsec_", ALNUM + "+/=", 24),
    _prefixed("square", "sq0atp- sq0csp- sq0idp-", WORD, 22),
    _prefixed("square", "EAAA", WORD, 60),
    _prefixed("shopify", "shpat_ shpca_ shppa_ shpss_", HEX, 32),
    _prefixed("npm", "npm_", ALNUM, 36),
    _prefixed("pypi", "pypi-AgEIcHlwaS5vcmc pypi-AgENdGVzdC5weXBpLm9yZ", WORD, 40),
    _prefixed("rubygems", "rubygems_", LOWER_HEX, 48),
    _prefixed("dockerhub", "dckr_pat_ dckr_oat_", WORD, 27),
    _prefixed("digitalocean", "dop_v1_ doo_v1_ dor_v1_", LOWER_HEX, 64),
    _prefixed("sendgrid", "SG.", WORD + ".", 60),
    _prefixed("mailgun", "key-", LOWER_HEX, 32, exact=True),
    _prefixed("brevo", "xkeysib- xsmtpsib-", ALNUM + "-", 40),
    _prefixed("vault", "hvs. hvb. hvr.", WORD, 24),
    _prefixed("doppler", "dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit.", ALNUM + "._-", 30),
    _prefixed("1password", "ops_eyJ", ALNUM + "+/=_-", 100),
    _prefixed("age", "AGE-SECRET-KEY-1", UPPER, 50),
    _prefixed("databricks", "dapi", LOWER_HEX + "-", 32),
    _prefixed("grafana", "glsa_ glc_", ALNUM + "_+/=", 32),
    _prefixed("new_relic", "NRAK- NRJS- NRAA-", ALNUM, 19),
    _prefixed("postman", "PMAK-", ALNUM + "-", 50),
    _prefixed("sentry", "sntrys_ sntryu_", WORD + "+/=", 40),
    _prefixed("linear", "lin_api_ lin_oauth_", ALNUM, 32),
    _prefixed("notion", "ntn_", ALNUM, 40),
    _prefixed("notion", "secret_", ALNUM, 43, exact=True),
    _prefixed("figma", "figd_ figo_", WORD, 30),
    _prefixed("atlassian", "ATATT3 ATCTT3 ATBB", WORD + "=", 24),
    _prefixed("supabase", "sbp_ sb_secret_", ALNUM + "_-", 30),
    _prefixed("planetscale", "pscale_tkn_ pscale_pw_ pscale_oauth_", WORD + ".", 32),
    _prefixed("netlify", "nfp_", ALNUM, 36),
    _prefixed("render", "rnd_", ALNUM, 28),
    _prefixed("fly", "fo1_ fm2_ fm1r_ fm1a_", ALNUM + "+/=_-", 40),
    _prefixed("heroku", "HRKU-", WORD, 36),
    _prefixed("pulumi", "pul-", LOWER_HEX, 40, exact=True),
    _prefixed("terraform", ".atlasv1.", WORD + "=", 50),
    _prefixed("circleci", "CCIPAT_ CCIPRJ_", WORD, 40),
    _prefixed("buildkite", "bkua_", LOWER_HEX, 40),
    _prefixed("sonar", "sqp_ squ_ sqa_", LOWER_HEX, 40),
    _prefixed("typeform", "tfp_", WORD + ".", 40),
    _prefixed("cloudflare", "cfut_ cfat_ cfk_", WORD, 30),
    _prefixed("tailscale", "tskey-", WORD, 20),
    _prefixed("ngrok", "ngrok_", ALNUM + "_", 40),
    _prefixed("contentful", "CFPAT-", WORD, 40),
    _prefixed("easypost", "EZAK EZTK", ALNUM, 54),
    _prefixed("dynatrace", "dt0c01. dt0s01. dt0s16.", UPPER + ".", 60),
    _prefixed("okta", "SSWS", WORD + " ", 40),
)

STRUCTURES: tuple[Rule, ...] = (
    # OpenAI's first form, used by others too: one unbroken run, so no hyphenated name is meant.
    Rule("openai", START + r"(sk-[A-Za-z]*[0-9][A-Za-z0-9]*)", mixed(23)),
    Rule("jwt", START + r"(eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{2,}\.[A-Za-z0-9_\-]*)"),
    # A cut or unended key is a key, too.
    Rule(
        "private_key",
        r"(-----BEGIN[ A-Z0-9]*PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=\s\\:,.]{16,}"
        r"(?:-----END[ A-Z0-9]*-----)?)",
    ),
    Rule(
        "url_password",
        r":\\?/\\?/[^\s/@:\"'<>\x00\\\[\]{}]*:([^\s/@\"'<>\x00\\]+)@",
        spelt_out,
    ),
    Rule("bearer", r"(?i)bearer[ \t]+([A-Z._~+/=:\-]*[0-9][A-Z0-9._~+/=:\-]*)", mixed(12)),
    Rule(
        "authorization",
        r"(?i)authorization\\*[\"']?[ \t]*[:=][ \t]*\\*[\"']?"
        r"(?:basic|token|apikey|digest|negotiate|splunk|bot|aws4-hmac-sha256)[ \t]+"
        r"([^\s\"'\\\x00]{6,})",
    ),
    Rule(
        "cookie",
        r"(?i)cookie\\*[\"']?[ \t]*:[ \t]*\\*[\"']?([^\s\"'\\\x00=;]+=[^\r\n\"'\\\x00]{4,})",
    ),
    Rule(
        "curl_password",
        r"(?i)\bcurl[ \t](?:[^\n\x00]*[ \t])?(?:-u|--user)[ =]*\\*[\"']?[^\s:\"'\x00\\]+:"
        r"([^\s\"'\x00\\]{3,})",
        spelt_out_word,
    ),
    Rule("sshpass_password", r"sshpass[ \t]+-p[ \t]*\\*[\"']?([^\s\"'\x00\\]+)", spelt_out),
    Rule(
        "query_signature",
        r"(?i)(?:[?&](?:key|code)|\bsig|signature|x-amz-security-token)="
        r"([A-Z%+/_.~\-]*[0-9][A-Z0-9%+/_.~\-]*=*)",
        mixed(16),
    ),
    Rule("telegram", r"\b[0-9]{8,10}:(AA[A-Za-z0-9_\-]{33})(?:[^A-Za-z0-9_\-]|$)"),
    Rule("discord_webhook", r"/api/webhooks/[0-9]{10,}/([A-Za-z0-9_\-]{40,})"),
    Rule("teams_webhook", r"(?i)/IncomingWebhook/([A-Za-z0-9]{20,}/[A-Fa-f0-9\-]{20,})"),
)

RULES: Sequence[Rule] = VENDORS + STRUCTURES
