-- name: open_studies
-- Studies that are receiving: how long they have been quiet, what is known of their sender's
-- rhythm, and whether a modality has said that all is sent. It has when every procedure step of
-- the study has ended, all that they name is here, and some of it came in this revision.
select s.study_id, r.revision, s.study_uid, s.calling_ae, s.last_instance_at,
       extract(epoch from now() - s.last_instance_at)::float8,
       extract(epoch from now() - case when r.waiting_since > s.last_instance_at
                                       then r.waiting_since end)::float8,
       extract(epoch from now() - case when r.checked_at > s.last_instance_at
                                       then r.checked_at end)::float8,
       r.closing_asked_at is not null, r.completeness_reason,
       r.quiet_reason,
       coalesce(p.ended and p.named > 0 and p.missing = 0 and p.came_now > 0, false),
       y.studies, y.pauses
from study_revision r
join study s using (study_id)
left join sender_rhythm y on y.calling_ae = s.calling_ae
left join lateral (
    select bool_and(st.state <> 'in progress') and bool_or(st.state = 'completed') as ended,
           count(n.sop_instance_uid) as named,
           count(n.sop_instance_uid) filter (where i.instance_id is null) as missing,
           count(*) filter (where i.revision = r.revision) as came_now
    from procedure_step st
    left join procedure_step_instance n using (procedure_step_uid)
    left join instance i using (sop_instance_uid)
    where st.study_uid = s.study_uid
) p on true
where r.state = 'receiving' and (%(study_id)s::bigint is null or r.study_id = %(study_id)s)
order by s.last_instance_at;

-- name: image_places
-- What the headers say of each instance's place in its series.
select i.series_uid, c.series_number, c.expected_instances, i.instance_number, i.slice_position,
       i.image_rows is not null, i.deleted_at is not null
from instance i left join received_series c using (study_id, series_uid)
where i.study_id = %(study_id)s
order by c.series_number, i.series_uid, i.instance_number;

-- name: announced_instances
-- How many instances a header said that the study has.
select expected_instances from study where study_id = %(study_id)s;

-- name: procedure_steps_in_progress
-- How many procedure steps of a study go on, how many have ended, how many instances they name.
select count(distinct p.procedure_step_uid) filter (where p.state = 'in progress'),
       count(distinct p.procedure_step_uid) filter (where p.state <> 'in progress'),
       count(n.sop_instance_uid)
from procedure_step p left join procedure_step_instance n using (procedure_step_uid)
where p.study_uid = %(study_uid)s;

-- name: procedure_step_gaps
-- Series of which procedure steps name instances that are not here: how many are, how many not.
select c.series_number, count(i.instance_id), count(*) - count(i.instance_id)
from procedure_step p
join procedure_step_instance n using (procedure_step_uid)
left join instance i using (sop_instance_uid)
left join lateral (select r.series_number from received_series r
                   where r.series_uid = n.series_uid limit 1) c on true
where p.study_uid = %(study_uid)s
group by n.series_uid, c.series_number
having count(*) > count(i.instance_id)
order by c.series_number;

-- name: close_study
-- Close a revision and put it in the outbox, unless an image has come since the last look. A study
-- whose row is locked is receiving one at this moment and is left for the next round.
with unchanged as (
    select s.study_id from study s
    where s.study_id = %(study_id)s
      and s.last_instance_at = coalesce(%(last_instance_at)s::timestamptz, s.last_instance_at)
    for update of s skip locked
), closed as (
    update study_revision r
    set state = 'queued', closed_at = now(), checked_at = now(), closing_rule = %(closing_rule)s,
        closing_reason = %(closing_reason)s, completeness_code = %(completeness_code)s,
        completeness_reason = %(completeness_reason)s
    from unchanged u
    where r.study_id = u.study_id and r.revision = %(revision)s and r.state = 'receiving'
    returning r.study_id, r.revision
), superseded as (
    update study_revision r set state = 'superseded', ended_at = now()
    from closed where r.study_id = closed.study_id and r.revision < closed.revision
        and r.state <> 'superseded'
), overtaken as (
    delete from outbox o using closed
    where o.study_id = closed.study_id and o.revision < closed.revision and o.dispatched_at is null
), queued as (
    insert into outbox (study_id, revision) select study_id, revision from closed
)
select study_id, revision from closed;

-- name: record_quiet_time
-- Which quiet time applies to a study that is receiving, and why.
update study_revision set quiet_seconds = %(quiet_seconds)s, quiet_reason = %(quiet_reason)s
where study_id = %(study_id)s and revision = %(revision)s and state = 'receiving';

-- name: record_waiting
-- A study is quiet but looks incomplete; the time it waits counts from its last image.
update study_revision r
set checked_at = now(), completeness_code = %(completeness_code)s,
    completeness_reason = %(completeness_reason)s,
    waiting_since = case when r.waiting_since > s.last_instance_at then r.waiting_since
                         else now() end,
    waiting_until = make_interval(secs => %(wait_seconds)s)
                    + case when r.waiting_since > s.last_instance_at then r.waiting_since
                           else now() end
from study s
where s.study_id = r.study_id and r.study_id = %(study_id)s and r.revision = %(revision)s
  and r.state = 'receiving';

-- name: ask_to_close
-- A person wants a study processed with what is here.
update study_revision set closing_asked_at = now()
where study_id = %(study_id)s and state = 'receiving'
returning revision;

-- name: longest_pause
-- The longest pause before an instance of one revision, in seconds, as far as anybody would wait.
select max(pause) from (
    select revision,
           extract(epoch from received_at - lag(received_at) over (order by received_at,
               instance_id))::float8 as pause
    from instance where study_id = %(study_id)s) gaps
where revision = %(revision)s and pause <= %(longest_seconds)s;

-- name: learn_pause
-- One more study of a sender; those before it weigh a little less.
insert into sender_rhythm (calling_ae, studies, pauses) values (%(calling_ae)s, 1, %(pauses)s)
on conflict (calling_ae) do update
set studies = sender_rhythm.studies + 1, updated_at = now(),
    pauses = array(
        select old * %(fading)s::float8 + new
        from unnest(sender_rhythm.pauses, excluded.pauses) with ordinality as t (old, new, bin)
        order by bin);

-- name: completeness_report
-- The newest revision of a study: does it wait, what is missing, why did it close.
select r.revision, r.state,
       case when r.state = 'receiving' and r.waiting_since > s.last_instance_at
            then r.waiting_since end,
       r.waiting_until, r.quiet_seconds, r.quiet_reason,
       case when r.state <> 'receiving' or r.waiting_since > s.last_instance_at
            then r.completeness_code else '' end,
       case when r.state <> 'receiving' or r.waiting_since > s.last_instance_at
            then r.completeness_reason else '' end,
       r.closing_rule, r.closing_reason
from study s join current_revision r using (study_id)
where s.study_id = %(study_id)s;

-- name: completeness_counts
-- Studies that wait because they look incomplete, those that were processed so, and duplicates.
select (select count(*) from study_revision r join study s using (study_id)
        where r.state = 'receiving' and r.waiting_since > s.last_instance_at),
       (select count(*) from current_revision
        where state <> 'receiving' and completeness_code <> ''),
       (select count(*) from duplicate_series);
