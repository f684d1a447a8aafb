-- name: sender_rulings
-- All rulings, newest first.
select calling_ae, network, admitted, may_query, note, decided_by, decided_at
from sender_ruling order by sender_ruling_id desc;

-- name: insert_sender_ruling
-- Append a ruling.
insert into sender_ruling (calling_ae, network, admitted, may_query, note, decided_by)
values (%(calling_ae)s, %(network)s, %(admitted)s, %(may_query)s, %(note)s, %(decided_by)s);

-- name: record_noticed_senders
-- Count a batch of associations that no ruling admitted.
insert into noticed_sender as n (
    calling_ae, address, reason_code, outcome, called_ae, times, first_at, last_at)
select x.calling_ae, x.address, x.reason_code, x.outcome, x.called_ae, x.times, x.first_at,
       x.last_at
from jsonb_to_recordset(%(batch)s::jsonb) as x (
    calling_ae text, address text, reason_code text, outcome text, called_ae text, times bigint,
    first_at timestamptz, last_at timestamptz)
order by x.calling_ae, x.address, x.reason_code
on conflict (calling_ae, address, reason_code) do update set
    outcome = excluded.outcome, called_ae = excluded.called_ae,
    times = n.times + excluded.times, first_at = least(n.first_at, excluded.first_at),
    last_at = greatest(n.last_at, excluded.last_at);

-- name: trim_noticed_senders
-- A scan of the port must not fill the table: forget the oldest beyond a bound.
delete from noticed_sender where (calling_ae, address, reason_code) in (
    select calling_ae, address, reason_code from noticed_sender
    order by last_at desc offset %(keep)s);

-- name: noticed_senders
-- Who tried without being admitted, newest first.
select calling_ae, address, reason_code, outcome, called_ae, times, first_at, last_at
from noticed_sender order by last_at desc;
