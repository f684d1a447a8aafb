-- name: insert_commitment
-- Take a request down; the same transaction of the same sender comes back with its first id. Its
-- row is locked until commit.
insert into commitment (transaction_uid, requesting_ae, address, not_before)
values (%(transaction_uid)s, %(requesting_ae)s, %(address)s,
        now() + make_interval(secs => %(delay_seconds)s))
on conflict (requesting_ae, transaction_uid) where not duplicate
    do update set address = excluded.address
returning commitment_id, xmax = 0;

-- name: insert_duplicate_commitment
-- A request whose transaction UID stands for other instances already.
insert into commitment (transaction_uid, requesting_ae, address, duplicate, not_before)
values (%(transaction_uid)s, %(requesting_ae)s, %(address)s, true,
        now() + make_interval(secs => %(delay_seconds)s))
returning commitment_id;

-- name: insert_commitment_items
-- What a request names.
insert into commitment_item (commitment_id, position, sop_class_uid, sop_instance_uid)
select %(commitment_id)s, ordinality, sop_class_uid, sop_instance_uid
from unnest(%(sop_class_uids)s::text[], %(sop_instance_uids)s::text[])
    with ordinality as x (sop_class_uid, sop_instance_uid, ordinality);

-- name: ask_again
-- The same request came once more: its sender wants another report.
update commitment
set state = 'waiting', requested_at = now(), attempts = 0, checked_at = null, ended_at = null,
    last_error = '', not_before = now() + make_interval(secs => %(delay_seconds)s)
where commitment_id = %(commitment_id)s;

-- name: claim_commitment
-- Lease what is due, what was tried least first; or one request by its id, due or not.
with due as (
    select commitment_id from commitment
    where state = 'waiting' and case when %(commitment_id)s::bigint is null then not_before <= now()
                                     else commitment_id = %(commitment_id)s::bigint end
    order by attempts, not_before limit 1
    for update skip locked
)
update commitment c
set attempts = c.attempts + 1,
    not_before = now() + make_interval(secs => %(lease_seconds)s)
from due where c.commitment_id = due.commitment_id
returning c.commitment_id, c.transaction_uid, c.requesting_ae, c.address, c.duplicate, c.attempts,
          extract(epoch from now() - c.requested_at)::float8,
          extract(epoch from now() - c.checked_at)::float8;

-- name: commitment_items
-- What a request names, beside what we hold under those UIDs.
select x.position, x.sop_class_uid, x.sop_instance_uid, x.outcome, i.instance_id, i.sop_class_uid,
       i.path, i.sha256
from commitment_item x left join instance i on i.sop_instance_uid = x.sop_instance_uid
where x.commitment_id = %(commitment_id)s order by x.position;

-- name: set_outcomes
-- What was found of each instance.
update commitment_item x set outcome = o.outcome
from unnest(%(positions)s::integer[], %(outcomes)s::text[]) as o (position, outcome)
where x.commitment_id = %(commitment_id)s and x.position = o.position;

-- name: set_checked
-- The files of a request have just been read.
update commitment set checked_at = now() where commitment_id = %(commitment_id)s;

-- name: end_commitment
-- Reported, or given up.
update commitment
set state = %(state)s, ended_at = now(), last_error = %(error)s
where commitment_id = %(commitment_id)s and state = 'waiting';

-- name: postpone_commitment
-- Try again after a while.
update commitment
set last_error = %(error)s, not_before = now() + make_interval(secs => %(delay_seconds)s)
where commitment_id = %(commitment_id)s and state = 'waiting';

-- name: commitment_address
-- Where somebody said that a requester takes its reports.
select host, port from commitment_address where ae_title = %(ae_title)s;

-- name: commitment_addresses
-- All of them.
select ae_title, host, port, set_by, set_at from commitment_address order by ae_title;

-- name: set_commitment_address
-- Say where a requester takes its reports.
insert into commitment_address (ae_title, host, port, set_by)
values (%(ae_title)s, %(host)s, %(port)s, %(set_by)s)
on conflict (ae_title) do update
    set host = excluded.host, port = excluded.port, set_by = excluded.set_by, set_at = now();

-- name: hasten_commitments
-- What waits for one requester is tried now.
update commitment set not_before = now()
where state = 'waiting' and requesting_ae = %(requesting_ae)s;

-- name: commitment_reports
-- Requests and what became of them, newest first.
select c.commitment_id, c.requesting_ae, c.address, c.state, c.requested_at, c.ended_at, c.attempts,
       c.last_error, count(*)::integer, count(*) filter (where x.outcome = 'committed')::integer,
       array_agg(distinct x.outcome order by x.outcome)
           filter (where x.outcome <> 'committed')
from commitment c join commitment_item x using (commitment_id)
where %(state)s::text is null or c.state = %(state)s
group by c.commitment_id order by c.commitment_id desc limit %(limit)s;

-- name: commitment_counts
-- Requests that wait, requests that were given up, and stored files found changed or missing.
select (select count(*) from commitment where state = 'waiting'),
       (select count(*) from commitment where state = 'given_up'),
       (select count(distinct sop_instance_uid) from commitment_item
        where outcome in ('file_changed', 'file_missing', 'unreadable'));
