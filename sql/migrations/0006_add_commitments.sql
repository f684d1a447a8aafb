-- Storage commitment, performed procedure steps, the quarantine desk, and who did what.

create table commitment (
    commitment_id   bigint generated always as identity primary key,
    transaction_uid text not null,
    requesting_ae   text not null,
    address         text not null,
    duplicate       boolean not null default false,
    state           text not null default 'waiting'
                    check (state in ('waiting', 'reported', 'given_up')),
    requested_at    timestamptz not null default now(),
    attempts        integer not null default 0,
    not_before      timestamptz not null default now(),
    checked_at      timestamptz,
    ended_at        timestamptz,
    last_error      text not null default ''
);
create unique index commitment_by_transaction on commitment (requesting_ae, transaction_uid)
    where not duplicate;
create index commitment_waiting on commitment (not_before) where state = 'waiting';

create table commitment_item (
    commitment_id    bigint not null references commitment,
    position         integer not null,
    sop_class_uid    text not null,
    sop_instance_uid text not null,
    outcome          text check (outcome in (
                         'committed', 'unknown', 'class_conflict', 'file_missing', 'file_changed',
                         'unreadable', 'duplicate')),
    primary key (commitment_id, position)
);
create index commitment_item_failed on commitment_item (outcome) where outcome <> 'committed';

create table commitment_address (
    ae_title text primary key,
    host     text not null,
    port     integer not null check (port between 1 and 65535),
    set_by   text not null,
    set_at   timestamptz not null default now()
);

create table procedure_step (
    procedure_step_uid text primary key,
    study_uid          text not null,
    calling_ae         text not null,
    state              text not null check (state in ('in progress', 'completed', 'discontinued')),
    started_at         timestamptz not null default now(),
    ended_at           timestamptz
);
create index procedure_step_by_study on procedure_step (study_uid);

create table procedure_step_instance (
    procedure_step_uid text not null references procedure_step,
    series_uid         text not null,
    sop_instance_uid   text not null,
    primary key (procedure_step_uid, sop_instance_uid)
);

alter table quarantine
    add column state text not null default 'held'
        check (state in ('held', 'released', 'discarded')),
    add column decided_by text,
    add column decided_at timestamptz,
    add column note       text not null default '',
    add column removed_at timestamptz,
    add check ((state = 'held') = (decided_at is null)),
    add check ((decided_at is null) = (decided_by is null)),
    add check (removed_at is null or decided_at is not null);
create index quarantine_held on quarantine (reason_code) where state = 'held';

create or replace function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are appended, never changed', tg_table_name;
end $$;

create table act (
    act_id       bigint generated always as identity primary key,
    at           timestamptz not null default now(),
    actor        text not null,
    act          text not null,
    subject_kind text not null,
    subject_id   text not null,
    reason       text not null default '',
    details      jsonb not null default '{}'
);
create index act_by_subject on act (subject_kind, subject_id);
create trigger act_is_append_only before update or delete on act
    for each row execute function refuse_change();
create trigger act_is_never_emptied before truncate on act
    for each statement execute function refuse_change();
