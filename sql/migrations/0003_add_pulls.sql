-- Studies that we fetch from a PACS: what was asked for, what was found, what became of each.

create table pull (
    pull_id     bigint generated always as identity primary key,
    source      text not null,                          -- AE title that what comes is filed under
    protocol    text not null check (protocol in ('get', 'move', 'web')),
    options     jsonb not null,                         -- address, window, rates; no secret
    state       text not null default 'open' check (state in ('open', 'stopped', 'done')),
    reason_code text not null default '',               -- why it stopped, for programs
    reason      text not null default '',               -- the same for people, without identity
    started_at  timestamptz not null default now(),
    ended_at    timestamptz
);

-- One row per line of the list; what the line says is identity and stands in identity.ask_identity.
create table pull_ask (
    pull_id     bigint not null references pull,
    position    integer not null check (position > 0),
    kind        text not null check (kind in ('accession', 'patient', 'study', 'dates')),
    place       text not null,                          -- where it was read: 'line 7'
    state       text not null default 'waiting' check (state in (
                    'waiting', 'answered', 'not_there', 'failed')),
    studies     integer not null default 0,             -- how many the PACS has for it
    reason_code text not null default '',
    reason      text not null default '',
    primary key (pull_id, position)
);
create table identity.ask_identity (
    pull_id  bigint not null,
    position integer not null,
    value    text not null,
    primary key (pull_id, position),
    foreign key (pull_id, position) references pull_ask
);

-- One row per study that the PACS has for a pull, under the first line that asks for it.
create table pull_study (
    item_id            bigint generated always as identity primary key,
    pull_id            bigint not null,
    position           integer not null,
    study_uid          text not null,
    state              text not null default 'waiting' check (state in (
                           'waiting', 'fetched', 'already_here', 'failed')),
    expected_instances integer,                         -- what the PACS says it has
    attempts           integer not null default 0,
    reason_code        text not null default '',
    reason             text not null default '',
    ended_at           timestamptz,
    unique (pull_id, study_uid),
    foreign key (pull_id, position) references pull_ask
);
