-- name: study_reports
-- Every study with its newest revision and the decision that counts, newest first.
select s.study_id, r.revision, r.state, r.reason_code, r.reason,
       (select count(*) from instance i where i.study_id = s.study_id) as instances,
       s.calling_ae, s.first_instance_at, s.last_instance_at, r.closed_at, r.ended_at,
       d.verdict, d.patient_id, d.reasons
from study s
join current_revision r using (study_id)
left join current_decision d using (study_id)
where %(study_id)s::bigint is null or s.study_id = %(study_id)s
order by s.study_id desc
limit %(limit)s;

-- name: step_reports
-- Timeline of one study.
select revision, step, started_at, ended_at, outcome, reason_code, reason
from step_run where study_id = %(study_id)s order by step_run_id;

-- name: series_reports
-- What each series of a study's newest revision was taken for.
select series_number, contrast, usable, chosen, confidence, reason, instance_count
from series where study_id = %(study_id)s
  and revision = (select max(revision) from series x where x.study_id = %(study_id)s)
order by series_number;

-- name: link_reports
-- Decisions that count, newest first; verdict null means all.
select d.decision_id, d.study_id, d.revision, d.verdict, d.patient_id, d.reasons, d.gallery_size,
       d.decided_by, d.decided_at, b.bundle_id, e.version
from current_decision d join bundle b using (bundle_id) join encoder e using (encoder_id)
where (%(verdict)s::text is null or d.verdict = %(verdict)s)
  and (%(study_id)s::bigint is null or d.study_id = %(study_id)s)
order by d.decision_id desc
limit %(limit)s;

-- name: candidate_reports
-- Whom a decision compared with, best first.
select rank, patient_id, similarity, llr, same_contrast
from decision_candidate where decision_id = %(decision_id)s order by rank;

-- name: backlog_report
-- How much waits where.
select (select count(*) from study_revision where state = 'receiving'),
       (select count(*) from study_revision where state = 'queued'),
       (select count(*) from study_revision
        where state in ('dispatched', 'converted', 'stripped', 'sliced', 'encoded')),
       (select count(*) from study_revision where state in ('rejected', 'failed')),
       (select count(*) from quarantine where state = 'held'),
       (select count(*) from current_decision where verdict = 'review'),
       (select extract(epoch from now() - min(enqueued_at))::float8 from outbox
        where dispatched_at is null),
       (select max(last_error) from outbox where dispatched_at is null);
