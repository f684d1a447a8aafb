-- When a study is complete: the rhythm of each sender, what is missing, who said to close.
-- Series whose pixels came before. Which instances retention has deleted.

alter table study_revision
    add column checked_at          timestamptz,
    add column quiet_seconds       double precision,
    add column quiet_reason        text not null default '',
    add column waiting_since       timestamptz,
    add column waiting_until       timestamptz,
    add column completeness_code   text not null default '',
    add column completeness_reason text not null default '',
    add column closing_asked_at    timestamptz,
    add column closing_rule        text not null default '' check (closing_rule in (
                                       '', 'quiet', 'procedure_step', 'source_agrees', 'waited',
                                       'asked')),
    add column closing_reason      text not null default '';
create or replace view current_revision as
    select distinct on (study_id) * from study_revision order by study_id, revision desc;

create table sender_rhythm (
    calling_ae text primary key,
    studies    bigint not null,
    pauses     double precision[] not null,
    updated_at timestamptz not null default now()
);

create table instance_pixels (
    instance_id bigint primary key references instance,
    sha256      text not null check (sha256 ~ '^([0-9a-f]{64})?$')
);
create table series_pixels (
    study_id   bigint not null references study,
    series_uid text not null,
    digest     text not null,
    images     integer not null,
    noted_at   timestamptz not null default now(),
    primary key (study_id, series_uid)
);
create index series_pixels_by_digest on series_pixels (digest, noted_at);

create view duplicate_series as
    select s.study_id, s.series_uid, s.images,
           o.study_id as original_study_id, o.series_uid as original_series_uid
    from series_pixels s
    join lateral (select e.study_id, e.series_uid from series_pixels e
                  where e.digest = s.digest
                  order by e.noted_at, e.study_id, e.series_uid limit 1) o
        on (o.study_id, o.series_uid) <> (s.study_id, s.series_uid);

alter table instance add column deleted_at timestamptz;
create index instance_kept on instance (study_id) where deleted_at is null;
create index instance_by_arrival on instance using brin (received_at);

create function keep_again() returns trigger language plpgsql as $$
begin
    new.deleted_at := null;
    new.received_at := now();
    return new;
end $$;
create trigger instance_sent_again_is_kept_again before update of repeats on instance
    for each row when (old.deleted_at is not null) execute function keep_again();

create view processed_study as
    select s.study_id, s.last_instance_at,
           greatest(s.last_instance_at, newest.ended_at, decided.decided_at) as processed_at
    from study s
    join lateral (select r.state, r.ended_at from study_revision r
                  where r.study_id = s.study_id order by r.revision desc limit 1) newest on true
    left join lateral (select d.verdict, d.decided_at from decision d
                       where d.study_id = s.study_id
                       order by d.decision_id desc limit 1) decided on true
    where newest.state in ('decided', 'not_applicable', 'rejected')
      and decided.verdict is distinct from 'review'
      and not exists (select from study_revision r where r.study_id = s.study_id
                      and r.state not in ('decided', 'not_applicable', 'rejected', 'failed',
                                          'superseded'));
