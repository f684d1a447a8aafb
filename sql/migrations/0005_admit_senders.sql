-- Who may open an association, and who tried without being admitted.

create table sender_ruling (
    sender_ruling_id bigint generated always as identity primary key,
    calling_ae text not null check (calling_ae ~ '^[ -~]{1,16}$'),
    network    text not null,
    admitted   boolean not null,
    may_query  boolean not null default false,
    note       text not null default '',
    decided_by text not null,
    decided_at timestamptz not null default now(),
    check (admitted or not may_query)
);
create trigger sender_ruling_is_append_only before update or delete on sender_ruling
    for each row execute function refuse_change();

create table noticed_sender (
    calling_ae  text not null,
    address     text not null,
    reason_code text not null,
    outcome     text not null check (outcome in ('refused', 'quarantined', 'accepted')),
    called_ae   text not null,
    times       bigint not null,
    first_at    timestamptz not null,
    last_at     timestamptz not null,
    primary key (calling_ae, address, reason_code)
);
create index noticed_sender_by_time on noticed_sender (last_at);
