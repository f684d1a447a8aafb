-- name: record_associations
-- Add associations that have ended.
insert into association (opened_at, closed_at, calling_ae, called_ae, address, is_encrypted, ended,
                         reason_code, instances, repeats, refusals, size_bytes)
select to_timestamp(x.opened_at), to_timestamp(x.closed_at), x.calling_ae, x.called_ae, x.address,
       x.is_encrypted, x.ended, x.reason_code, x.instances, x.repeats, x.refusals, x.size_bytes
from jsonb_to_recordset(%(rows)s::jsonb) as x (
    opened_at float8, closed_at float8, calling_ae text, called_ae text, address text,
    is_encrypted boolean, ended text, reason_code text, instances integer, repeats integer,
    refusals jsonb, size_bytes bigint);

-- name: association_reports
-- Associations, newest first.
select opened_at, closed_at, calling_ae, called_ae, address, is_encrypted, ended, reason_code,
       instances, repeats, refusals, size_bytes
from association order by association_id desc limit %(limit)s;
