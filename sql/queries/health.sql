-- name: intake_depth
-- How much waits where, and for how long the study that waits longest.
select (select count(*) from study_revision where state = 'receiving'),
       (select count(*) from study_revision where state = 'queued'),
       (select count(*) from study_revision
        where state in ('dispatched', 'converted', 'stripped', 'sliced', 'encoded')),
       (select count(*) from outbox where dispatched_at is null),
       (select count(*) from quarantine where state = 'held'),
       coalesce((select extract(epoch from now() - min(opened_at))::float8 from study_revision
                 where state in ('receiving', 'queued')), 0);
