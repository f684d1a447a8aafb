-- name: insert_pull
-- Open a pull.
insert into pull (source, protocol, options)
values (%(source)s, %(protocol)s, %(options)s::jsonb) returning pull_id;

-- name: insert_asks
-- The lines of its list; what they say goes into the identity schema.
with asks as (
    select * from jsonb_to_recordset(%(asks)s::jsonb) as x (
        position integer, kind text, place text, value text)
), placed as (
    insert into pull_ask (pull_id, position, kind, place)
    select %(pull_id)s, position, kind, place from asks
    returning pull_id, position
)
insert into identity.ask_identity (pull_id, position, value)
select p.pull_id, p.position, a.value from placed p join asks a using (position);

-- name: lock_pull
-- Hold a pull for as long as this connection lives: two processes never work on one. 1347767372 is
-- our key for pulls.
select pg_try_advisory_lock(1347767372, %(pull_id)s::bigint::integer);

-- name: pull_terms
-- What a pull was told.
select pull_id, source, protocol, options from pull where pull_id = %(pull_id)s;

-- name: reopen_pull
-- Go on with a pull: what failed or was not there is tried again.
with opened as (
    update pull set state = 'open', reason_code = '', reason = '', ended_at = null
    where pull_id = %(pull_id)s
), asked as (
    update pull_ask set state = 'waiting', reason_code = '', reason = ''
    where pull_id = %(pull_id)s and state in ('failed', 'not_there')
)
update pull_study set state = 'waiting', attempts = 0, reason_code = '', reason = '',
    ended_at = null
where pull_id = %(pull_id)s and state = 'failed';

-- name: end_pull
-- A pull is done, or stopped for a reason.
update pull set state = %(state)s, reason_code = %(reason_code)s, reason = %(reason)s,
    ended_at = now()
where pull_id = %(pull_id)s;

-- name: waiting_asks
-- Lines that the PACS has not answered yet, with what they say.
select a.position, a.kind, a.place, i.value
from pull_ask a join identity.ask_identity i using (pull_id, position)
where a.pull_id = %(pull_id)s and a.state = 'waiting' order by a.position;

-- name: settle_ask
-- The answer to one line.
update pull_ask set state = %(state)s, studies = %(studies)s, reason_code = %(reason_code)s,
    reason = %(reason)s
where pull_id = %(pull_id)s and position = %(position)s;

-- name: insert_pull_studies
-- Studies that the PACS has for a line; one that an earlier line named stays with that.
insert into pull_study (pull_id, position, study_uid, expected_instances)
select %(pull_id)s, %(position)s, x.study_uid, x.expected
from jsonb_to_recordset(%(studies)s::jsonb) as x (study_uid text, expected integer)
where not exists (select from pull_study s
                  where s.pull_id = %(pull_id)s and s.study_uid = x.study_uid)
on conflict (pull_id, study_uid) do nothing;

-- name: waiting_studies
-- Studies of a pull that have not been settled, in the order of the list.
select item_id, study_uid, expected_instances from pull_study
where pull_id = %(pull_id)s and state = 'waiting' order by item_id;

-- name: count_attempt
-- One more attempt at a study.
update pull_study set attempts = attempts + 1 where item_id = %(item_id)s;

-- name: settle_pull_study
-- What became of a study.
update pull_study set state = %(state)s, reason_code = %(reason_code)s, reason = %(reason)s,
    ended_at = now()
where item_id = %(item_id)s;

-- name: instances_here
-- SOP Instance UIDs of a study that are filed.
select i.sop_instance_uid from instance i join study s using (study_id)
where s.study_uid = %(study_uid)s;

-- name: count_instances_here
-- How many instances of a study are filed.
select count(*) from instance i join study s using (study_id) where s.study_uid = %(study_uid)s;

-- name: pull_reports
-- Pulls with their counts, newest first. One is running while a process holds its lock.
select p.pull_id, p.source, p.protocol,
       case when p.state <> 'open' then p.state
            when exists (
                select from pg_locks l join pg_database d on d.oid = l.database
                where l.locktype = 'advisory' and l.classid = 1347767372
                  and l.objid = p.pull_id::integer::oid and l.objsubid = 2
                  and d.datname = current_database()) then 'running'
            else 'interrupted' end,
       a.asked, a.not_there, a.failed, s.found, s.fetched, s.already_here, s.failed, s.waiting,
       a.waiting, p.reason_code, p.reason, p.started_at, p.ended_at
from pull p
cross join lateral (
    select count(*) as asked, count(*) filter (where state = 'not_there') as not_there,
           count(*) filter (where state = 'failed') as failed,
           count(*) filter (where state = 'waiting') as waiting
    from pull_ask where pull_id = p.pull_id) a
cross join lateral (
    select count(*) as found, count(*) filter (where state = 'fetched') as fetched,
           count(*) filter (where state = 'already_here') as already_here,
           count(*) filter (where state = 'failed') as failed,
           count(*) filter (where state = 'waiting') as waiting
    from pull_study where pull_id = p.pull_id) s
where %(pull_id)s::bigint is null or p.pull_id = %(pull_id)s
order by p.pull_id desc
limit %(limit)s;

-- name: ask_reports
-- Lines of a pull; what they say comes along only when identity is asked for.
select a.position, a.kind, a.place, a.state, a.studies, a.reason_code, a.reason,
       case when %(with_identity)s then (
           select i.value from identity.ask_identity i
           where i.pull_id = a.pull_id and i.position = a.position) end
from pull_ask a where a.pull_id = %(pull_id)s order by a.position;

-- name: item_reports
-- Studies of a pull, with how much of each is here now.
select p.item_id, p.position, a.place, s.study_id, p.state, p.expected_instances,
       (select count(*) from instance i where i.study_id = s.study_id),
       p.attempts, p.reason_code, p.reason, p.ended_at
from pull_study p
join pull_ask a using (pull_id, position)
left join study s using (study_uid)
where p.pull_id = %(pull_id)s order by p.item_id;
