-- What verdicts say beside the alarm's own test.
ALTER TABLE data.verdicts ADD COLUMN calibrated_at BIGINT;
ALTER TABLE data.verdicts ADD COLUMN first_opportunities BIGINT DEFAULT 0;
ALTER TABLE data.verdicts ADD COLUMN first_taken BIGINT DEFAULT 0;
ALTER TABLE data.verdicts ADD COLUMN first_lower DOUBLE DEFAULT 0;
ALTER TABLE data.verdicts ADD COLUMN first_upper DOUBLE DEFAULT 1;
ALTER TABLE data.verdicts ADD COLUMN first_log10 DOUBLE DEFAULT 0;
ALTER TABLE data.verdicts ADD COLUMN e_value_log10 DOUBLE DEFAULT 0;
ALTER TABLE data.verdicts ADD COLUMN drift_log10 DOUBLE;
ALTER TABLE data.verdicts ADD COLUMN drift_at BIGINT;
ALTER TABLE data.verdicts ADD COLUMN drift_pairs BIGINT DEFAULT 0;
ALTER TABLE data.verdicts ADD COLUMN drift_left BIGINT DEFAULT 0;

CREATE OR REPLACE VIEW verdicts AS
SELECT data.label(environment, agent, agent_version, model) AS subject,
       environment, agent, agent_version, model, category, reference, kind, state,
       opportunities, taken, expected, evidence_log10, rate_lower, rate_upper,
       alarm_at, onset, needed, reason, attribution, updated_at::TIMESTAMPTZ AS updated_at,
       calibrated_at, first_opportunities, first_taken, first_lower, first_upper, first_log10,
       e_value_log10, drift_log10, drift_at, drift_pairs, drift_left
FROM data.verdicts;
