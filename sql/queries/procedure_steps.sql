-- name: insert_procedure_step
-- A scanner has begun.
insert into procedure_step (procedure_step_uid, study_uid, calling_ae, state)
values (%(procedure_step_uid)s, %(study_uid)s, %(calling_ae)s, 'in progress')
on conflict (procedure_step_uid) do nothing;

-- name: procedure_step_state
-- Where a step stands; its row is locked.
select state from procedure_step
where procedure_step_uid = %(procedure_step_uid)s for update;

-- name: end_procedure_step
-- A scanner is done, or has stopped.
update procedure_step set state = %(state)s, ended_at = now()
where procedure_step_uid = %(procedure_step_uid)s;

-- name: forget_procedure_step_instances
-- What the step said before is replaced by what it says now.
delete from procedure_step_instance where procedure_step_uid = %(procedure_step_uid)s;

-- name: insert_procedure_step_instances
-- What the step made.
insert into procedure_step_instance (procedure_step_uid, series_uid, sop_instance_uid)
select %(procedure_step_uid)s, series_uid, sop_instance_uid
from unnest(%(series_uids)s::text[], %(sop_instance_uids)s::text[])
    as x (series_uid, sop_instance_uid)
on conflict do nothing;
