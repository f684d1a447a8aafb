-- Who connected to the listener, how it ended and what came. AE titles and addresses are of
-- machines; nothing here says who a patient is.
create table association (
    association_id bigint generated always as identity primary key,
    opened_at      timestamptz not null,
    closed_at      timestamptz not null,
    calling_ae     text not null,
    called_ae      text not null,
    address        text not null,
    is_encrypted   boolean not null,
    ended          text not null,
    reason_code    text not null,
    instances      integer not null,
    repeats        integer not null,
    refusals       jsonb not null,
    size_bytes     bigint not null
);
create index association_by_sender on association (calling_ae, association_id desc);
