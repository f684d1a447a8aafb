-- name: insert_quarantine
-- Record an object that was kept aside. The same bytes are recorded once; if they come again after
-- a person let them go and their file went, they are held anew.
insert into quarantine (reason_code, reason, path, size_bytes, sha256, calling_ae)
values (%(reason_code)s, %(reason)s, %(path)s, %(size_bytes)s, %(sha256)s, %(calling_ae)s)
on conflict (path) do update
    set state = 'held', decided_by = null, decided_at = null, note = '', removed_at = null,
        received_at = now(), reason_code = excluded.reason_code, reason = excluded.reason,
        calling_ae = excluded.calling_ae
    where quarantine.removed_at is not null;

-- name: held_objects
-- Kept objects by state, reason and sender, newest first; null means any.
select quarantine_id, state, reason_code, reason, path, size_bytes, sha256, calling_ae, received_at,
       decided_by, decided_at, note
from quarantine
where (%(state)s::text is null or state = %(state)s)
  and (%(reason_code)s::text is null or reason_code = %(reason_code)s)
  and (%(calling_ae)s::text is null or calling_ae = %(calling_ae)s)
order by quarantine_id desc limit %(limit)s;

-- name: held_object
-- One kept object.
select quarantine_id, state, reason_code, reason, path, size_bytes, sha256, calling_ae, received_at,
       decided_by, decided_at, note
from quarantine where quarantine_id = %(quarantine_id)s;

-- name: lock_held_object
-- The state of one kept object; the row is locked.
select state from quarantine where quarantine_id = %(quarantine_id)s for update;

-- name: decide_held_object
-- A person let it go.
update quarantine
set state = %(state)s, decided_by = %(decided_by)s, decided_at = now(), note = %(note)s
where quarantine_id = %(quarantine_id)s and state = 'held';

-- name: set_held_reason
-- Another reason was found why the object cannot be filed.
update quarantine set reason_code = %(reason_code)s, reason = %(reason)s
where quarantine_id = %(quarantine_id)s and state = 'held';

-- name: lock_decided_object
-- The path of an object that was let go and whose file is still there; the row is locked.
select path from quarantine
where quarantine_id = %(quarantine_id)s and state <> 'held' and removed_at is null for update;

-- name: mark_removed
-- The file of an object that was let go is gone.
update quarantine set removed_at = now() where quarantine_id = %(quarantine_id)s;

-- name: unremoved_objects
-- Objects that were let go and whose files a stop left behind.
select quarantine_id from quarantine where state <> 'held' and removed_at is null
order by quarantine_id;

-- name: held_counts
-- How many objects are held for each reason.
select reason_code, count(*) from quarantine where state = 'held' group by reason_code
order by reason_code;

-- name: filed_instance
-- What is filed under a SOP Instance UID.
select instance_id, study_id, path, size_bytes, sha256, received_at
from instance where sop_instance_uid = %(sop_instance_uid)s;
