-- The stable surface: names and columns that scripts, the API and Parquet segments rely on. Times
-- are TIMESTAMPTZ, cut to microseconds because DuckDB cannot subtract TIMESTAMPTZ_NS; zone maps see
-- through the cast. `*_ns` has the full count since the Unix epoch.
CREATE VIEW spans AS
SELECT trace_id, span_id, parent_span_id, name, kind, started_at::TIMESTAMPTZ AS started_at,
       ended_at::TIMESTAMPTZ AS ended_at, epoch_ns(started_at) AS started_ns,
       epoch_ns(ended_at) AS ended_ns, epoch_ns(ended_at) - epoch_ns(started_at) AS duration_ns,
       status_code, status_message, scope, resource, attributes, events, dropped, flags, digest,
       source, received_at::TIMESTAMPTZ AS received_at, false AS conflict
FROM data.spans
UNION ALL
SELECT trace_id, span_id, parent_span_id, name, kind, started_at::TIMESTAMPTZ AS started_at,
       ended_at::TIMESTAMPTZ AS ended_at, epoch_ns(started_at) AS started_ns,
       epoch_ns(ended_at) AS ended_ns, epoch_ns(ended_at) - epoch_ns(started_at) AS duration_ns,
       status_code, status_message, scope, resource, attributes, events, dropped, flags, digest,
       source, received_at::TIMESTAMPTZ AS received_at, true AS conflict
FROM data.conflicts;

-- `result`: the text where the result is text, else its JSON.
CREATE VIEW calls AS
SELECT trajectory_id, step, trace_id, span_id, call_id,
       started_at::TIMESTAMPTZ AS started_at, epoch_ns(started_at) AS started_ns, duration_ns,
       environment,
       service, agent, agent_version, parent_agent, model, conversation_id, user_id, tool,
       arguments, arguments_state, result ->> '$' AS result, outcome, error, dialect, source,
       received_at::TIMESTAMPTZ AS received_at, tool_description, tools_offered
FROM data.calls;

CREATE VIEW actions AS
SELECT trajectory_id, step, category, stage, position, rule_id, evidence, severity, variant,
       rule_version, maturity, modifiers, irreversible, target, confidence
FROM data.actions;

CREATE VIEW opportunities AS
SELECT trajectory_id, step, category, family, position, taken, visible
FROM data.opportunities;

CREATE MACRO data.label(environment, agent, agent_version, model) AS concat_ws(
    '/',
    coalesce(nullif(environment, ''), '-'), coalesce(nullif(agent, ''), '-'),
    coalesce(nullif(agent_version, ''), '-'), coalesce(nullif(model, ''), '-')
);

CREATE VIEW trajectories AS
SELECT trajectory_id, environment, service, agent, agent_version, model,
       data.label(environment, agent, agent_version, model) AS subject,
       conversation_id, user_id, grouped_by, started_at::TIMESTAMPTZ AS started_at,
       ended_at::TIMESTAMPTZ AS ended_at, epoch_ns(started_at) AS started_ns,
       epoch_ns(ended_at) AS ended_ns, last_received_at::TIMESTAMPTZ AS last_received_at, state,
       request, trace_ids, judged_calls, calls, errors, denied, categories
FROM data.trajectories;

CREATE VIEW subjects AS
SELECT data.label(environment, agent, agent_version, model) AS subject,
       environment, agent, agent_version, model,
       count(*) AS trajectories, sum(calls)::BIGINT AS calls, sum(errors)::BIGINT AS errors,
       sum(denied)::BIGINT AS denied,
       list_sort(list_distinct(flatten(list(categories)))) AS categories,
       min(started_at)::TIMESTAMPTZ AS first_seen_at,
       max(last_received_at)::TIMESTAMPTZ AS last_seen_at
FROM data.trajectories
GROUP BY environment, agent, agent_version, model;

CREATE VIEW verdicts AS
SELECT data.label(environment, agent, agent_version, model) AS subject,
       environment, agent, agent_version, model, category, reference, kind, state,
       opportunities, taken, expected, evidence_log10, rate_lower, rate_upper,
       alarm_at, onset, needed, reason, attribution, updated_at::TIMESTAMPTZ AS updated_at
FROM data.verdicts;

CREATE VIEW evidence AS
SELECT data.label(environment, agent, agent_version, model) AS subject,
       environment, agent, agent_version, model, category, reference, trajectory_id, n,
       opportunities, taken, expected, evidence_log10
FROM data.evidence;

CREATE VIEW alerts AS
SELECT alert_id, kind, data.label(environment, agent, agent_version, model) AS subject,
       environment, agent, agent_version, model, category, reference, severity,
       raised_at::TIMESTAMPTZ AS raised_at,
       summary, trajectory_ids, verdict, delivered_at::TIMESTAMPTZ AS delivered_at
FROM data.alerts;

CREATE VIEW gaps AS
SELECT topic, partition, first_offset, last_offset, reason,
       noticed_at::TIMESTAMPTZ AS noticed_at FROM data.gaps;

CREATE VIEW dead_letters AS
SELECT reason, detail, head, size_bytes, source, received_at::TIMESTAMPTZ AS received_at, topic,
       partition, record_offset
FROM data.dead_letters;

CREATE VIEW baselines AS
SELECT name, kind, digest, fitted_where, trajectories, calls, trajectories_digest,
       created_at::TIMESTAMPTZ AS created_at,
       subjects, active_for, path, signed_by
FROM data.baselines;

CREATE VIEW lineage AS
SELECT model, relation, value, digest, recorded_at::TIMESTAMPTZ AS recorded_at,
       detail FROM data.lineage;
