-- name: old_studies
-- Studies whose instances retention may delete, with what is still kept of them, oldest first.
select p.study_id, p.processed_at, k.instances, k.size_bytes
from processed_study p
join lateral (select count(*) as instances, sum(i.size_bytes)::bigint as size_bytes,
                     max(i.received_at) as received_at
              from instance i where i.study_id = p.study_id and i.deleted_at is null) k
    on k.instances > 0
where p.processed_at < now() - make_interval(secs => %(age_seconds)s)
  and k.received_at < now() - make_interval(secs => %(age_seconds)s)
order by p.processed_at, p.study_id
limit %(limit)s;

-- name: lock_old_study
-- Whether a study may still be deleted; no image can reopen it until commit.
select s.study_id from study s
where s.study_id = %(study_id)s
  and s.last_instance_at < now() - make_interval(secs => %(age_seconds)s)
  and exists (select from processed_study p where p.study_id = s.study_id)
for update of s skip locked;

-- name: lock_kept_instances
-- Some instances of a study whose files are there; nobody can repeat one of them until commit.
select instance_id, path, size_bytes from instance
where study_id = %(study_id)s and deleted_at is null
order by instance_id limit %(limit)s
for no key update skip locked;

-- name: mark_deleted
-- Files that retention has taken away.
update instance set deleted_at = now() where instance_id = any (%(instance_ids)s);

-- name: old_quarantine
-- Objects that have been held aside for long enough.
select quarantine_id from quarantine
where state = 'held' and received_at < now() - make_interval(secs => %(age_seconds)s)
order by quarantine_id limit %(limit)s;

-- name: arrived_bytes
-- Bytes and studies that arrived in the last days, and over how many days that was at most.
select coalesce((select sum(size_bytes) from instance
                 where received_at > now() - make_interval(secs => %(window_seconds)s)), 0)::bigint,
       (select count(*) from study
        where first_instance_at > now() - make_interval(secs => %(window_seconds)s)),
       coalesce(least(%(window_seconds)s::float8, extract(epoch from now() - (
           select first_instance_at from study order by study_id limit 1))), 0)::float8;

-- name: newest_processed
-- Studies that the pipeline was through with last.
select study_id from study_revision where state = 'decided'
order by ended_at desc limit %(limit)s;

-- name: kept_bytes_by_day
-- Bytes on disk by their age in whole days.
select floor(extract(epoch from now() - received_at) / 86400)::integer as age, sum(size_bytes)::bigint
from instance where deleted_at is null group by age order by age;
