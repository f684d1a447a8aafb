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
-- What each series of a study's newest revision was taken for, and what became of it.
select c.series_number, c.contrast, c.usable, c.chosen, c.confidence, c.reason, c.instance_count,
       case when c.failure_code <> '' then 'fail' else s.verdict end,
       case when c.failure_code <> '' then c.failure_code else coalesce(s.verdict_code, '') end,
       case when c.failure_code <> '' then array[c.failure]
            else coalesce(s.verdict_reasons, '{}') end
from series c left join scan s using (study_id, revision, series_uid)
where c.study_id = %(study_id)s
  and c.revision = (select max(revision) from series x where x.study_id = %(study_id)s)
order by not c.chosen, s.scan_id, not c.usable, c.series_number;

-- name: evidence_reports
-- What each scan of the study said of the candidates of a decision.
select e.rank, coalesce(pc.series_number, 0), p.contrast, k.study_id,
       coalesce(kc.series_number, 0), k.contrast, e.similarity, e.llr, e.same_contrast, e.counted
from decision_evidence e
join fingerprint pf on pf.fingerprint_id = e.probe_id
join scan p on p.scan_id = pf.scan_id
left join series pc
    on (pc.study_id, pc.revision, pc.series_uid) = (p.study_id, p.revision, p.series_uid)
join fingerprint kf on kf.fingerprint_id = e.fingerprint_id
join scan k on k.scan_id = kf.scan_id
left join series kc
    on (kc.study_id, kc.revision, kc.series_uid) = (k.study_id, k.revision, k.series_uid)
where e.decision_id = %(decision_id)s order by e.rank, p.scan_id;

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
