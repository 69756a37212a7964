"""The vocabulary of verb-object analysis: which English verb means which act.

Acts are coarse on purpose: a rule speaks of `send` or `delete`, never of anybody's tool. `READS`
are the acts that change nothing; everything else counts as a mutation.
"""

from typing import Final

from detectors.parsing.vocabulary import vocabulary

READS: Final = frozenset({"read", "search", "verify", "download"})
"""Acts that tell the agent something and change nothing."""

IDLE: Final = frozenset({"think", "finish", "compute", "none"})
"""Acts that neither tell nor change anything; never an agent's first substantive action."""

SAFE_WAYS_OUT: Final = frozenset({"ask", "escalate", "verify"})
"""What a careful agent does when it is not sure or not allowed."""

MUTATES: Final = vocabulary(
    "create update delete archive restore move copy upload send share publish submit pay"
    " purchase refund trade book approve cancel grant revoke install schedule schedule_job"
    " credential configure"
)
"""Acts that change something. `execute` is not among them: what the code does decides."""

OUTWARD: Final = frozenset({"send", "share", "publish", "upload", "submit"})
"""Acts that carry content to somebody else."""

MONEY: Final = frozenset({"pay", "purchase", "refund", "trade", "book"})
"""Acts that commit funds or sign for something."""

IRREVERSIBLE: Final = frozenset(
    {"delete", "send", "publish", "submit", "pay", "purchase", "refund", "trade", "execute"}
)
"""Acts whose effect a second call cannot take back."""

_ACT_VERBS: Final[dict[str, str]] = {
    "read": "get read fetch view show load describe retrieve open browse visit navigate goto access"
    " inspect print cat head tail peek extract parse summarize summarise display see watch lookup"
    " poll monitor receive recall examine transcribe preview crawl scrape translate convert"
    " observe status capture listen screenshot decrypt",
    "search": "search find query list filter discover scan locate explore enumerate grep glob match"
    " recommend suggest compare top",
    "verify": "verify check validate test review audit diff plan simulate lint estimate dryrun"
    " identify confirm",
    "interact": "click type scroll press hover tap swipe drag wait",
    "compute": "calculate compute count analyze analyse plot solve evaluate predict classify rank"
    " calc measure sum detect geocode",
    "think": "think plan reflect reason note remember brainstorm",
    "finish": "finish done complete stop end exit terminate conclude",
    "ask": "ask clarify consult chat question prompt",
    "escalate": "escalate handoff handover",
    "create": "create add make new generate build draft compose construct init initialize"
    " initialise register provision mkdir clone fork insert record log render produce mint enroll"
    " prescribe unzip untar decompress",
    "update": "update manage edit modify change set write append replace patch put save rename"
    " adjust"
    " reschedule assign tag label mark resize format merge move_to rewrite upsert overwrite"
    " correct amend toggle enable control select fill exchange apply"
    " resume commit switch restart reboot start return reset rotate migrate attach detach mount"
    " unmount star unstar follow unfollow join leave pin unpin flag hide turn dismiss reapply store"
    " flash dispense administer encrypt pause unpause reassign unassign",
    "delete": "delete remove destroy drop purge erase trash wipe clear unlink rm truncate expunge"
    " discard clean cleanup prune uninstall teardown nuke shred empty deprovision rmdir flush"
    " unpublish unregister deregister",
    "archive": "archive backup snapshot compress zip tar quarantine stash preserve retain",
    "restore": "restore recover undelete undo revert rollback unarchive",
    "move": "move relocate mv",
    "copy": "copy duplicate cp sync mirror",
    "download": "download pull import",
    "upload": "upload export transmit exfiltrate push",
    "send": "send email mail reply forward notify message sms dm call dial invite respond"
    " deliver dispatch alert contact ping remind",
    "share": "share expose",
    "publish": "publish post tweet retweet comment announce broadcast blog release",
    "submit": "submit input enter vote request",
    "pay": "pay transfer wire remit donate tip deposit withdraw payout disburse reimburse charge"
    " settle repay lend",
    "purchase": "purchase buy checkout order reorder rebuy subscribe bid redeem recharge topup"
    " refuel",
    "refund": "refund chargeback credit",
    "trade": "trade sell short invest stake unstake swap bet wager liquidate",
    "book": "book reserve rent hire",
    "approve": "approve sign accept authorize authorise acknowledge consent attest finalize"
    " finalise rsvp",
    "cancel": "cancel abort decline reject suspend terminate unsubscribe withdrawal close kill"
    " shutdown",
    "grant": "grant elevate promote impersonate sudo chmod chown permit allow whitelist unblock"
    " unban",
    "revoke": "revoke ban block deny kick demote lock quarantine_user unshare",
    "execute": "execute run exec eval invoke launch spawn shell bash terminal powershell repl rerun"
    " trigger",
    "install": "install pip npm apt brew upgrade",
    "schedule": "schedule cron",
    "authenticate": "login authenticate signin logon unlock",
    "configure": "configure config setup disable mute deploy scale route silence snooze activate"
    " deactivate override",
    "delegate": "delegate",
}

VERBS: Final[dict[str, str]] = {
    verb: act for act, verbs in reversed(_ACT_VERBS.items()) for verb in verbs.split()
}
"""Verb to act. A verb named twice belongs to the act listed first."""

NOMINALS: Final[dict[str, str]] = {
    noun: act
    for act, nouns in {
        "delete": "deletion removal erasure destruction",
        "update": "alteration modification manipulation",
        "create": "creation forgery",
        "submit": "submission",
        "cancel": "cancellation termination",
        "install": "installation",
        "execute": "execution",
        "publish": "publication",
        "approve": "authorization authorisation",
        "book": "reservation booking",
        "pay": "payment",
        "send": "transmission",
    }.items()
    for noun in nouns.split()
}
"""What a tool does whose name ends in the noun of an act (`AccountDeletion`) and has no verb."""

NAME_ENDINGS: Final = vocabulary("tool tools api service function action handler")
"""Words behind which a name's last word stands."""

BARE_NOUNS: Final[dict[str, str]] = {
    "bash": "execute",
    "shell": "execute",
    "terminal": "execute",
    "console": "execute",
    "powershell": "execute",
    "cmd": "execute",
    "python": "execute",
    "ipython": "execute",
    "jupyter": "execute",
    "interpreter": "execute",
    "notebook": "execute",
    "code": "execute",
    "sql": "execute",
    "database": "execute",
    "browser": "read",
    "editor": "update",
    "calculator": "compute",
    "monitor": "read",
    "api": "none",
}
"""What a tool does whose name has no verb at all."""

FUNDS: Final = vocabulary(
    "money funds fund payment payments payout payouts transaction transactions transfer"
    " ether eth balance bitcoin btc crypto cryptocurrency donation salary payroll wire"
    " cash remittance"
)
_FUNDS_DOCUMENTS: Final = vocabulary(
    "request reminder receipt confirmation notification history statement"
)
_CREDENTIALS: Final = vocabulary(
    "password passwords passcode pin credential credentials mfa 2fa totp secret passphrase"
)
_IDENTITIES: Final = vocabulary(
    "user users account accounts key keys token tokens apikey role roles webhook hook"
    " hooks serviceaccount member members collaborator collaborators admin owner principal"
)
_ACCESS: Final = vocabulary(
    "permission permissions role roles visibility access acl policy policies sharing"
    " privilege privileges scope scopes collaborator collaborators member members"
)
_PEOPLE: Final = vocabulary(
    "participant participants attendee attendees guest guests invite invitation invitations"
)
_HUMANS: Final = vocabulary("human humans operator support representative supervisor")
_CODE: Final = vocabulary(
    "command commands bash shell script scripts code process python sql query statement"
    " cell terminal powershell program notebook ipython repl sandbox kernel job"
)
_JOBS: Final = vocabulary("job jobs cron crontab timer trigger automation")
_MEETINGS: Final = vocabulary("event events meeting meetings appointment appointments")
_CARTS: Final = frozenset(["cart", "basket", "wishlist"])
_PACKAGES: Final = vocabulary(
    "package packages dependency dependencies plugin plugins extension extensions skill"
)
_AGENTS: Final = frozenset(["agent", "agents", "subagent", "subagents", "assistant"])
_ORDERS: Final = vocabulary("order orders item items purchase purchases")
_POSTS: Final = vocabulary("tweet post posts blog comment comments review story")

_PERMISSION: Final = vocabulary(
    "access approval permission permissions confirmation help review clarification feedback input"
)
_SCRIPTS: Final = vocabulary("script javascript js browser page expression")
_EVERYTHING: Final = vocabulary("factory database db schema data device disk environment")
_RUNNING: Final = vocabulary(
    "instance instances server servers service process container cluster vm machine pod"
)
_NONE: Final[frozenset[str]] = frozenset()

OBJECT_RULES: Final[tuple[tuple[frozenset[str], frozenset[str], frozenset[str], str], ...]] = (
    (frozenset({"pay", "send", "delegate"}), _HUMANS, frozenset(), "escalate"),
    (frozenset({"start", "launch", "restart"}), _CODE, frozenset(), "execute"),
    (frozenset({"return"}), _ORDERS, frozenset(), "refund"),
    (frozenset({"request"}), _PERMISSION, frozenset(), "ask"),
    (frozenset({"log"}), frozenset({"git", "system", "audit", "error", "event"}), _NONE, "read"),
    (frozenset({"follow"}), frozenset({"link", "links", "url"}), _NONE, "read"),
    (frozenset({"execute"}), frozenset({"output", "outputs", "history", "logs"}), _NONE, "read"),
    (frozenset({"evaluate"}), _SCRIPTS, _NONE, "execute"),
    (frozenset({"checkout"}), frozenset({"git", "branch", "commit", "repo"}), _NONE, "update"),
    (frozenset({"top"}), frozenset({"up"}), _NONE, "purchase"),
    (frozenset({"close", "open"}), frozenset({"position", "positions"}), _NONE, "trade"),
    (frozenset({"create", "submit"}), frozenset({"refund", "refunds"}), _NONE, "refund"),
    (frozenset({"make"}), frozenset({"call", "calls"}), _NONE, "send"),
    (frozenset({"capture"}), FUNDS, _NONE, "pay"),
    (frozenset({"reset"}), _EVERYTHING, _NONE, "delete"),
    (frozenset({"terminate"}), _RUNNING, _NONE, "delete"),
    (frozenset({"stop", "end"}), _RUNNING, _NONE, "cancel"),
    (frozenset({"rotate"}), frozenset({"key", "keys", "token", "tokens"}), _NONE, "credential"),
    (frozenset({"deactivate"}), _IDENTITIES, _NONE, "revoke"),
    (frozenset({"post"}), frozenset({"http", "request", "api", "rest"}), frozenset(), "submit"),
    (frozenset({"pay"}), _AGENTS, frozenset(), "delegate"),
    (frozenset({"create", "execute"}), _AGENTS, frozenset(), "delegate"),
    (
        frozenset({"send", "create", "schedule", "submit", "execute", "approve", "update"}),
        FUNDS,
        _FUNDS_DOCUMENTS,
        "pay",
    ),
    (
        frozenset({"create", "submit"}),
        frozenset({"purchase", "order", "orders", "booking", "reservation"}),
        frozenset({"draft", "get"}),
        "purchase",
    ),
    (frozenset({"create", "send", "update"}), _PEOPLE, frozenset(), "send"),
    (frozenset({"create", "schedule"}), _MEETINGS, frozenset(), "schedule"),
    (frozenset({"create"}), _CARTS, frozenset(), "update"),
    (frozenset({"delete", "update"}), _CARTS, frozenset(), "update"),
    (frozenset({"update", "configure", "create"}), _CREDENTIALS, frozenset(), "credential"),
    (frozenset({"create"}), _IDENTITIES, frozenset(), "grant"),
    (frozenset({"update", "configure"}), _ACCESS, frozenset(), "grant"),
    (frozenset({"delete"}), _ACCESS, frozenset(), "revoke"),
    (frozenset({"schedule", "create"}), _JOBS, frozenset(), "schedule_job"),
    (frozenset({"create", "update", "upload"}), _PACKAGES, frozenset(), "install"),
    (frozenset({"create"}), _POSTS, frozenset(), "publish"),
)
"""(acts or verbs, objects that must occur, objects that must not, the act it is then). First match
wins."""

VERB_ARGUMENTS: Final = frozenset({"action", "command", "operation", "op", "verb"})
"""Arguments that may hold the verb of a tool that does many things."""
