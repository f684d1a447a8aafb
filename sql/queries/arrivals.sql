-- name: record_arrivals
-- File a batch of instances that are durable on disk.
select ordinal, arrival, study_id, revision from record_arrivals(%(batch)s::jsonb);

-- name: is_answering
-- Whether anybody is there.
select 1;

-- name: lock_outbox
-- One claim at a time: the next one then sees what this one leased.
select pg_advisory_xact_lock(hashtext('outbox'));

-- name: claim_outbox
-- Lease waiting revisions, oldest first, as far as the cap on open runs allows. A lease that is
-- running counts as open; a failed attempt (it has an error) does not, or one revision that
-- Airflow never takes would hold up the others.
with open_now as (
    select (select count(*) from study_revision
            where state in ('dispatched', 'converted', 'stripped', 'sliced', 'encoded'))
         + (select count(*) from outbox
            where dispatched_at is null and attempts > 0 and last_error = ''
              and not_before > now()) as n
), waiting as (
    select o.study_id, o.revision from outbox o join study_revision r using (study_id, revision)
    where o.dispatched_at is null and o.not_before <= now() and r.state = 'queued'
    order by o.enqueued_at
    limit greatest(0, %(maximum_open_runs)s - (select n from open_now))
    for update of o skip locked
)
update outbox o
    set attempts = attempts + 1, last_error = '',
        not_before = now() + make_interval(secs => %(lease_seconds)s)
from waiting where o.study_id = waiting.study_id and o.revision = waiting.revision
returning o.study_id, o.revision;

-- name: mark_dispatched
-- Airflow has the run.
with sent as (
    update outbox set dispatched_at = now(), last_error = ''
    where study_id = %(study_id)s and revision = %(revision)s
)
update study_revision set state = 'dispatched'
where study_id = %(study_id)s and revision = %(revision)s and state = 'queued';

-- name: mark_dispatch_failed
-- Airflow did not take the run; try again later, and later each time.
update outbox
set last_error = %(error)s,
    not_before = now() + make_interval(secs => least(
        %(longest_seconds)s::float8, %(retry_seconds)s::float8 * power(2, least(attempts, 30) - 1)))
where study_id = %(study_id)s and revision = %(revision)s and dispatched_at is null;

-- name: requeue
-- Airflow knows nothing of an open run, because somebody deleted it there: hand it over again.
with again as (
    update study_revision set state = 'queued'
    where study_id = %(study_id)s and revision = %(revision)s
      and state in ('dispatched', 'converted', 'stripped', 'sliced', 'encoded')
    returning study_id, revision
)
update outbox o set dispatched_at = null, not_before = now()
from again where o.study_id = again.study_id and o.revision = again.revision
returning o.study_id;

-- name: open_runs
-- Runs that Airflow has and that have not ended, with the seconds since they were handed over.
select r.study_id, r.revision, extract(epoch from now() - o.dispatched_at)::float8
from study_revision r join outbox o using (study_id, revision)
where r.state in ('dispatched', 'converted', 'stripped', 'sliced', 'encoded')
  and o.dispatched_at is not null
order by o.dispatched_at;

-- name: study_by_uid
-- Our id of a Study Instance UID.
select study_id from study where study_uid = %(study_uid)s;

-- name: instance_paths
-- Files of a study up to and including a revision, in order of arrival.
select path from instance
where study_id = %(study_id)s and revision <= %(revision)s and deleted_at is null
order by instance_id;

-- name: unknown_paths
-- Which of these files have no row.
select p.path from unnest(%(paths)s::text[]) as p (path)
where not exists (select from instance i where i.path = p.path)
order by p.path;

-- name: instances_after
-- A page of instances whose files should be there, in order of arrival.
select instance_id, path from instance
where instance_id > %(instance_id)s and deleted_at is null
order by instance_id limit %(limit)s;
