-- Rows as the stages make them. `batch` numbers the commit that wrote a row: batches only grow, so
-- zone maps find the rows of one trace or trajectory without an index. No PRIMARY KEY on the large
-- tables: it costs 7x the time and 9x the disk (measured); `telltale verify` audits instead.
CREATE TABLE data.spans (
    trace_id VARCHAR NOT NULL, span_id VARCHAR NOT NULL, parent_span_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL, kind BIGINT NOT NULL,
    started_at TIMESTAMPTZ_NS NOT NULL, ended_at TIMESTAMPTZ_NS NOT NULL,
    status_code BIGINT NOT NULL, status_message VARCHAR NOT NULL, scope VARCHAR NOT NULL,
    resource JSON NOT NULL, attributes JSON NOT NULL, events JSON NOT NULL,
    dropped BIGINT NOT NULL, flags VARCHAR[] NOT NULL, digest VARCHAR NOT NULL,
    source VARCHAR NOT NULL, received_at TIMESTAMPTZ_NS NOT NULL,
    batch BIGINT NOT NULL
);
-- Spans whose ids were taken by another span with other content: evidence of tampering, kept beside.
CREATE TABLE data.conflicts AS FROM data.spans LIMIT 0;

CREATE TABLE data.logs (
    name VARCHAR NOT NULL, trace_id VARCHAR NOT NULL, span_id VARCHAR NOT NULL,
    occurred_at TIMESTAMPTZ_NS NOT NULL, scope VARCHAR NOT NULL,
    resource JSON NOT NULL, attributes JSON NOT NULL, body JSON,
    digest VARCHAR NOT NULL, source VARCHAR NOT NULL, received_at TIMESTAMPTZ_NS NOT NULL,
    batch BIGINT NOT NULL
);
-- Which batches hold rows of a trace.
CREATE TABLE data.traces (trace_id VARCHAR NOT NULL, batch BIGINT NOT NULL);

CREATE TABLE data.calls (
    trajectory_id VARCHAR NOT NULL, step BIGINT NOT NULL,
    trace_id VARCHAR NOT NULL, span_id VARCHAR NOT NULL, call_id VARCHAR NOT NULL,
    started_at TIMESTAMPTZ_NS NOT NULL, duration_ns BIGINT NOT NULL,
    environment VARCHAR NOT NULL, service VARCHAR NOT NULL, agent VARCHAR NOT NULL,
    agent_version VARCHAR NOT NULL, parent_agent VARCHAR NOT NULL, model VARCHAR NOT NULL,
    conversation_id VARCHAR NOT NULL, user_id VARCHAR NOT NULL,
    tool VARCHAR NOT NULL, arguments JSON, arguments_state VARCHAR NOT NULL, result JSON,
    outcome VARCHAR NOT NULL, error VARCHAR NOT NULL,
    dialect VARCHAR NOT NULL, source VARCHAR NOT NULL, received_at TIMESTAMPTZ_NS NOT NULL,
    tool_description VARCHAR NOT NULL, tools_offered VARCHAR[] NOT NULL,
    batch BIGINT NOT NULL
);
CREATE TABLE data.trajectories (
    trajectory_id VARCHAR NOT NULL, grouped_by VARCHAR NOT NULL,
    environment VARCHAR NOT NULL, service VARCHAR NOT NULL, agent VARCHAR NOT NULL,
    agent_version VARCHAR NOT NULL, model VARCHAR NOT NULL,
    conversation_id VARCHAR NOT NULL, user_id VARCHAR NOT NULL,
    started_at TIMESTAMPTZ_NS NOT NULL, ended_at TIMESTAMPTZ_NS NOT NULL,
    last_received_at TIMESTAMPTZ_NS NOT NULL,
    state VARCHAR NOT NULL, request VARCHAR NOT NULL, trace_ids VARCHAR[] NOT NULL,
    judged_calls BIGINT NOT NULL,
    calls BIGINT NOT NULL, errors BIGINT NOT NULL, denied BIGINT NOT NULL,
    categories VARCHAR[] NOT NULL,
    batch BIGINT NOT NULL
);
-- Which traces make up a trajectory, for the way from a late span to what it revises.
CREATE TABLE data.members (
    trace_id VARCHAR NOT NULL, trajectory_id VARCHAR NOT NULL, batch BIGINT NOT NULL
);
CREATE TABLE data.actions (
    trajectory_id VARCHAR NOT NULL, step BIGINT NOT NULL, category VARCHAR NOT NULL,
    variant VARCHAR NOT NULL, stage VARCHAR NOT NULL, position VARCHAR NOT NULL,
    rule_id VARCHAR NOT NULL, rule_version BIGINT NOT NULL, maturity VARCHAR NOT NULL,
    evidence VARCHAR[] NOT NULL, severity VARCHAR NOT NULL, modifiers VARCHAR[] NOT NULL,
    irreversible BOOLEAN NOT NULL, target VARCHAR NOT NULL, confidence DOUBLE NOT NULL,
    batch BIGINT NOT NULL
);
CREATE TABLE data.opportunities (
    trajectory_id VARCHAR NOT NULL, step BIGINT NOT NULL, category VARCHAR NOT NULL,
    family VARCHAR NOT NULL, position VARCHAR NOT NULL,
    taken BOOLEAN NOT NULL, visible BOOLEAN NOT NULL,
    batch BIGINT NOT NULL
);
CREATE TABLE data.evidence (
    environment VARCHAR NOT NULL, agent VARCHAR NOT NULL, agent_version VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    category VARCHAR NOT NULL, reference VARCHAR NOT NULL, trajectory_id VARCHAR NOT NULL,
    n BIGINT NOT NULL, opportunities BIGINT NOT NULL, taken BIGINT NOT NULL,
    expected DOUBLE NOT NULL, evidence_log10 DOUBLE NOT NULL,
    batch BIGINT NOT NULL
);
CREATE TABLE data.verdicts (
    environment VARCHAR NOT NULL, agent VARCHAR NOT NULL, agent_version VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    category VARCHAR NOT NULL, reference VARCHAR NOT NULL, kind VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    opportunities BIGINT NOT NULL, taken BIGINT NOT NULL, expected DOUBLE NOT NULL,
    evidence_log10 DOUBLE NOT NULL, rate_lower DOUBLE NOT NULL, rate_upper DOUBLE NOT NULL,
    alarm_at BIGINT, onset BIGINT, needed BIGINT,
    reason VARCHAR NOT NULL, attribution VARCHAR NOT NULL, updated_at TIMESTAMPTZ_NS NOT NULL,
    PRIMARY KEY (environment, agent, agent_version, model, category, reference)
);
-- Also the outbox: `delivered_at` is NULL until a receiver has taken the alert.
CREATE SEQUENCE data.alert_order;
CREATE TABLE data.alerts (
    alert_id VARCHAR PRIMARY KEY, kind VARCHAR NOT NULL,
    environment VARCHAR NOT NULL, agent VARCHAR NOT NULL, agent_version VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    category VARCHAR NOT NULL, reference VARCHAR NOT NULL, severity VARCHAR NOT NULL,
    raised_at TIMESTAMPTZ_NS NOT NULL, summary VARCHAR NOT NULL,
    trajectory_ids VARCHAR[] NOT NULL, verdict JSON,
    delivered_at TIMESTAMPTZ_NS,
    place BIGINT NOT NULL DEFAULT nextval('data.alert_order')
);
CREATE TABLE data.detector_states (key VARCHAR PRIMARY KEY, state BLOB NOT NULL);

-- Kafka offsets, in the same transaction as everything derived from the records.
CREATE TABLE data.positions (
    topic VARCHAR NOT NULL, partition BIGINT NOT NULL,
    last_offset BIGINT NOT NULL, leader_epoch BIGINT NOT NULL, topic_id VARCHAR NOT NULL,
    PRIMARY KEY (topic, partition)
);
CREATE TABLE data.gaps (
    topic VARCHAR NOT NULL, partition BIGINT NOT NULL,
    first_offset BIGINT NOT NULL, last_offset BIGINT NOT NULL,
    reason VARCHAR NOT NULL, noticed_at TIMESTAMPTZ_NS NOT NULL
);
CREATE TABLE data.dead_letters (
    reason VARCHAR NOT NULL, detail VARCHAR NOT NULL, head BLOB NOT NULL,
    size_bytes BIGINT NOT NULL, source VARCHAR NOT NULL, received_at TIMESTAMPTZ_NS NOT NULL,
    topic VARCHAR, partition BIGINT, record_offset BIGINT
);
CREATE TABLE data.baselines (
    name VARCHAR PRIMARY KEY, kind VARCHAR NOT NULL, digest VARCHAR NOT NULL,
    fitted_where VARCHAR NOT NULL, trajectories BIGINT NOT NULL, calls BIGINT NOT NULL,
    trajectories_digest VARCHAR NOT NULL, created_at TIMESTAMPTZ_NS NOT NULL,
    subjects VARCHAR[] NOT NULL, active_for VARCHAR NOT NULL, path VARCHAR NOT NULL,
    signed_by VARCHAR NOT NULL
);
CREATE TABLE data.lineage (
    model VARCHAR NOT NULL, relation VARCHAR NOT NULL, value VARCHAR NOT NULL,
    digest VARCHAR NOT NULL, recorded_at TIMESTAMPTZ_NS NOT NULL, detail JSON NOT NULL
);
-- Running totals that no table holds: `batch` (last commit's number), `duplicates`.
CREATE TABLE data.totals (name VARCHAR PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO data.totals VALUES ('batch', 0), ('duplicates', 0);
-- What retention and `forget` deleted.
CREATE TABLE data.receipts (
    deleted_at TIMESTAMPTZ_NS NOT NULL, reason VARCHAR NOT NULL,
    trajectories BIGINT NOT NULL, calls BIGINT NOT NULL, spans BIGINT NOT NULL,
    dead_letters BIGINT NOT NULL,
    first_ended_at TIMESTAMPTZ_NS, last_ended_at TIMESTAMPTZ_NS,
    trajectories_digest VARCHAR NOT NULL
);
