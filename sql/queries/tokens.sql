-- name: insert_token
-- Remember a token by its digest.
insert into access_token (name, sha256, may_store, may_query, expires_at)
values (%(name)s, %(sha256)s, %(may_store)s, %(may_query)s,
        now() + make_interval(days => %(days)s::integer));

-- name: token_by_digest
-- What a token allows, and what is wrong with it.
select token_id, name, sha256, may_store, may_query, expires_at <= now(), revoked_at is not null
from access_token where sha256 = %(sha256)s;

-- name: note_token_use
-- When a token was used last, to the minute: a busy client costs one write a minute.
update access_token set last_used_at = now()
where token_id = %(token_id)s
  and (last_used_at is null or last_used_at < now() - interval '1 minute');

-- name: revoke_token
-- A token counts no more from now on.
update access_token set revoked_at = now()
where name = %(name)s and revoked_at is null returning token_id;

-- name: token_reports
-- All tokens that there ever were, newest first.
select name, may_store, may_query, created_at, expires_at, last_used_at, revoked_at
from access_token order by token_id desc;
