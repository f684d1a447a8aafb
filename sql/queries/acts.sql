-- name: insert_act
-- Append what somebody did.
insert into act (actor, act, subject_kind, subject_id, reason, details)
values (%(actor)s, %(act)s, %(subject_kind)s, %(subject_id)s, %(reason)s, %(details)s::jsonb)
returning act_id;

-- name: acts_of
-- What was done to one thing, oldest first.
select at, actor, act, reason, details from act
where subject_kind = %(subject_kind)s and subject_id = %(subject_id)s order by act_id;
