-- The whole schema as it stands today. Migrations add up to this file; a test proves it.
-- Everything that says who a person is lives in the schema `identity` and nowhere else.

create schema identity;

-- One row per Study Instance UID that reached us. Our own study_id is what logs and runs name.
create table study (
    study_id         bigint generated always as identity primary key,
    study_uid        text not null unique,
    calling_ae       text not null,                     -- last AE title that sent to it
    first_instance_at timestamptz not null default now(),
    last_instance_at  timestamptz not null default now(),
    expected_instances integer                          -- what a header said (0020,1208)
);

-- One row per revision: what had arrived when the study went quiet. A late image opens the next.
--   receiving → queued → dispatched → converted → stripped → sliced → encoded → decided
--   any of them → not_applicable | rejected | failed; any of them → superseded by a later revision
create table study_revision (
    study_id     bigint not null references study,
    revision     integer not null check (revision > 0),
    state        text not null default 'receiving' check (state in (
                     'receiving', 'queued', 'dispatched', 'converted', 'stripped', 'sliced',
                     'encoded', 'decided', 'not_applicable', 'rejected', 'failed', 'superseded')),
    reason_code  text not null default '',              -- why it ended as it did, for programs
    reason       text not null default '',              -- the same for people, without identity
    opened_at    timestamptz not null default now(),
    closed_at    timestamptz,                           -- when it went quiet
    ended_at     timestamptz,                           -- when it reached a final state
    checked_at          timestamptz,                    -- last look at whether it is complete
    quiet_seconds       double precision,               -- quiet time that applies to it
    quiet_reason        text not null default '',       -- why that one
    waiting_since       timestamptz,                    -- quiet since then, but looks incomplete
    waiting_until       timestamptz,                    -- when it closes all the same
    completeness_code   text not null default '',       -- what was missing at the last look
    completeness_reason text not null default '',       -- the same for people, without identity
    closing_asked_at    timestamptz,                    -- a person said: process it now
    closing_rule        text not null default '' check (closing_rule in (
                            '', 'quiet', 'procedure_step', 'source_agrees', 'waited', 'asked')),
    closing_reason      text not null default '',       -- why it closed when it did, for people
    primary key (study_id, revision)
);
create index study_revision_by_state on study_revision (state, opened_at);

-- One row per SOP instance on disk. Written before the sender is told Success.
create table instance (
    instance_id         bigint generated always as identity primary key,
    study_id            bigint not null references study,
    revision            integer not null,               -- the revision it first belonged to
    series_uid          text not null,
    sop_instance_uid    text not null unique,
    sop_class_uid       text not null,
    transfer_syntax_uid text not null,
    path                text not null unique,           -- relative to the instances folder
    size_bytes          bigint not null check (size_bytes >= 0),
    sha256              text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    calling_ae          text not null,
    repeats             integer not null default 0,     -- how often the same bytes came again
    received_at         timestamptz not null default now(),
    instance_number     integer,                        -- (0020,0013)
    slice_position      double precision,               -- mm along the slice normal
    frames              integer,                        -- (0028,0008); null: not a multi-frame image
    image_rows          integer,
    image_columns       integer,
    deleted_at          timestamptz,                    -- retention took the file away; null: kept
    foreign key (study_id, revision) references study_revision
);
create index instance_by_study on instance (study_id, series_uid);
create index instance_kept on instance (study_id) where deleted_at is null;
create index instance_by_arrival on instance using brin (received_at);

-- Deleted is no farewell: who is sent again is on disk again, and its time starts anew.
create function keep_again() returns trigger language plpgsql as $$
begin
    new.deleted_at := null;
    new.received_at := now();
    return new;
end $$;
create trigger instance_sent_again_is_kept_again before update of repeats on instance
    for each row when (old.deleted_at is not null) execute function keep_again();

-- One row per series of a study, from the header that came first.
create table received_series (
    study_id           bigint not null references study,
    series_uid         text not null,
    modality           text not null,
    series_number      integer,
    body_part          text not null,
    manufacturer       text not null,
    model              text not null,
    expected_instances integer,                         -- what the header said (0020,1209)
    first_instance_at  timestamptz not null default now(),
    primary key (study_id, series_uid)
);
create index received_series_by_uid on received_series (series_uid);

-- How long each calling AE pauses within a study. Older studies weigh less and less.
create table sender_rhythm (
    calling_ae text primary key,
    studies    bigint not null,                         -- how many were ever seen
    pauses     double precision[] not null,             -- weight of studies by their longest pause;
                                                        -- bin n reaches to 0.1 s * 2^(n / 4)
    updated_at timestamptz not null default now()
);

-- SHA-256 of an instance's pixels as encoded; empty: nothing to recognise it by.
create table instance_pixels (
    instance_id bigint primary key references instance,
    sha256      text not null check (sha256 ~ '^([0-9a-f]{64})?$')
);

-- One row per series that can be recognised by its pixels.
create table series_pixels (
    study_id   bigint not null references study,
    series_uid text not null,
    digest     text not null,                           -- SHA-256 over its sorted pixel digests
    images     integer not null,
    noted_at   timestamptz not null default now(),      -- when it was first so
    primary key (study_id, series_uid)
);
create index series_pixels_by_digest on series_pixels (digest, noted_at);

-- Series with the same pixels as one that was noted before, in this study or another.
create view duplicate_series as
    select s.study_id, s.series_uid, s.images,
           o.study_id as original_study_id, o.series_uid as original_series_uid
    from series_pixels s
    join lateral (select e.study_id, e.series_uid from series_pixels e
                  where e.digest = s.digest
                  order by e.noted_at, e.study_id, e.series_uid limit 1) o
        on (o.study_id, o.series_uid) <> (s.study_id, s.series_uid);

-- Objects that were kept aside instead of filed: unreadable, no UIDs, or other bytes under a UID
-- that is already known.
create table quarantine (
    quarantine_id bigint generated always as identity primary key,
    reason_code   text not null,
    reason        text not null,
    path          text not null unique,                 -- relative to the quarantine folder
    size_bytes    bigint not null,
    sha256        text not null,
    calling_ae    text not null,
    received_at   timestamptz not null default now(),
    state         text not null default 'held' check (state in ('held', 'released', 'discarded')),
    decided_by    text,
    decided_at    timestamptz,
    note          text not null default '',             -- what the person said; no identity
    removed_at    timestamptz,                          -- when its file went, after the decision
    check ((state = 'held') = (decided_at is null)),
    check ((decided_at is null) = (decided_by is null)),
    check (removed_at is null or decided_at is not null)
);
create index quarantine_held on quarantine (reason_code) where state = 'held';

-- Dates and times as headers write them, older forms with separators included (PS3.5 §6.2), in
-- one form that compares as text: YYYYMMDD, and HHMMSSFFFFFF. Null where there is none.
create function comparable_date(written text) returns text
    language sql immutable parallel safe
    as $$ select nullif(translate(written, '.', ''), '') $$;
create function comparable_time(written text) returns text
    language sql immutable parallel safe
    as $$ select rpad(nullif(translate(written, '.:', ''), ''), 12, '0') $$;

-- One of the three component groups of a person name as it is compared (PS3.5 §6.2.1).
create function comparable_name(written text, component_group integer) returns text
    language sql immutable parallel safe
    as $$ select lower(rtrim(split_part(written, '=', component_group), '^ ')) $$;

-- Who the header says the patient is. Text, because that is what scanners send.
create table identity.study_identity (
    study_id         bigint primary key references study,
    patient_id       text not null,
    issuer           text not null,
    name             text not null,
    birth_date       text not null,
    sex              text not null,
    accession_number text not null,
    study_date       text not null,
    study_time          text not null default '',
    study_label         text not null default '',       -- Study ID (0020,0010)
    study_description   text not null default '',
    referring_physician text not null default ''
);
create index study_identity_by_patient on identity.study_identity (patient_id, issuer);
create index study_identity_by_accession on identity.study_identity (accession_number);
create index study_identity_by_patient_pattern
    on identity.study_identity (patient_id text_pattern_ops);
create index study_identity_by_accession_pattern
    on identity.study_identity (accession_number text_pattern_ops);
create index study_identity_by_name
    on identity.study_identity (comparable_name(name, 1) text_pattern_ops);
create index study_identity_by_ideographic_name
    on identity.study_identity (comparable_name(name, 2) text_pattern_ops);
create index study_identity_by_phonetic_name
    on identity.study_identity (comparable_name(name, 3) text_pattern_ops);
create index study_identity_by_date on identity.study_identity (comparable_date(study_date));

-- Free text of a series may say who it is of.
create table identity.series_identity (
    study_id    bigint not null references study,
    series_uid  text not null,
    description text not null,
    series_date text not null,
    series_time text not null,
    primary key (study_id, series_uid)
);

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
    ended          text not null,                       -- released, aborted, rejected, timeout …
    reason_code    text not null,
    instances      integer not null,
    repeats        integer not null,
    refusals       jsonb not null,                      -- reason: count
    size_bytes     bigint not null
);
create index association_by_sender on association (calling_ae, association_id desc);

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

-- Who may use DICOMweb. Of a token only a digest is kept; a name is free again when it is revoked.
create table access_token (
    token_id     bigint generated always as identity primary key,
    name         text not null check (name ~ '^[A-Za-z0-9_.-]{1,16}$'),  -- also the calling AE
    sha256       text not null unique check (sha256 ~ '^[0-9a-f]{64}$'),
    may_store    boolean not null,
    may_query    boolean not null,
    created_at   timestamptz not null default now(),
    expires_at   timestamptz not null,
    last_used_at timestamptz,
    revoked_at   timestamptz
);
create unique index access_token_by_name on access_token (name) where revoked_at is null;

-- Revisions that wait for an Airflow run. The dispatcher empties it; Airflow down means it grows.
create table outbox (
    study_id      bigint not null,
    revision      integer not null,
    enqueued_at   timestamptz not null default now(),
    attempts      integer not null default 0,
    not_before    timestamptz not null default now(),
    dispatched_at timestamptz,
    last_error    text not null default '',
    primary key (study_id, revision),
    foreign key (study_id, revision) references study_revision
);
create index outbox_waiting on outbox (not_before) where dispatched_at is null;

-- Every step of every run, for the timeline and for what went wrong.
create table step_run (
    step_run_id bigint generated always as identity primary key,
    study_id    bigint not null,
    revision    integer not null,
    step        text not null check (step in ('convert', 'strip', 'slice', 'encode', 'link')),
    started_at  timestamptz not null,
    ended_at    timestamptz not null default now(),
    outcome     text not null,                          -- done, or the name of the error
    reason_code text not null default '',
    reason      text not null default '',
    foreign key (study_id, revision) references study_revision
);
create index step_run_by_study on step_run (study_id, revision, step_run_id);

-- What each series of a revision was taken for, and why.
create table series (
    study_id       bigint not null,
    revision       integer not null,
    series_uid     text not null,
    series_number  integer not null,
    contrast       text not null,
    usable         boolean not null,
    chosen         boolean not null,
    confidence     real not null,
    reason         text not null,
    instance_count integer not null,
    failure_code   text not null default '',            -- why it could not be converted
    failure        text not null default '',            -- the same for people, without identity
    primary key (study_id, revision, series_uid),
    foreign key (study_id, revision) references study_revision
);

-- One chosen series on its way to a fingerprint; its files lie in `folder`.
create table scan (
    scan_id    bigint generated always as identity primary key,
    study_id   bigint not null,
    revision   integer not null,
    series_uid text not null,
    contrast   text not null,
    folder     text not null,                           -- relative to the studies folder
    quality    jsonb not null default '{}',             -- figures by name; units in the names
    created_at timestamptz not null default now(),
    verdict         text check (verdict in ('pass', 'flag', 'fail')),  -- null: not looked at yet
    verdict_code    text not null default '',           -- why it is no usable brain, for programs
    verdict_reasons text[] not null default '{}',       -- doubts, or why it was refused
    unique (study_id, revision, series_uid),
    foreign key (study_id, revision) references study_revision
);

-- Encoders that have ever made a fingerprint here.
create table encoder (
    encoder_id    bigint generated always as identity primary key,
    version       text not null unique,
    digest        text not null,                        -- SHA-256 of the ONNX file
    registered_at timestamptz not null default now()
);

-- What decides is one versioned bundle; the row in active_bundle points at it.
create table bundle (
    bundle_id             bigint generated always as identity primary key,
    encoder_id            bigint not null references encoder,
    preprocessing_version text not null,
    calibration           jsonb not null,               -- maps and thresholds, with their origin
    calibration_digest    text not null,                -- SHA-256 of its canonical text
    created_at            timestamptz not null default now(),
    unique (encoder_id, preprocessing_version, calibration_digest)
);
create table active_bundle (
    only_one  boolean primary key default true check (only_one),
    bundle_id bigint not null references bundle,
    since     timestamptz not null default now()
);

-- 512 little-endian float32 of unit length. The truth; the FAISS file is a cache of this table.
create table fingerprint (
    fingerprint_id bigint generated always as identity primary key,
    scan_id        bigint not null references scan,
    encoder_id     bigint not null references encoder,
    vector         bytea not null check (octet_length(vector) = 2048),
    input_digest   text not null,
    created_at     timestamptz not null default now(),
    unique (scan_id, encoder_id)
);

-- A person as we know one. Says nothing about who it is.
create table patient (
    patient_id bigint generated always as identity primary key,
    created_at timestamptz not null default now()
);

-- Decisions append; the newest one of a study counts. No row is ever changed.
create table decision (
    decision_id  bigint generated always as identity primary key,
    study_id     bigint not null,
    revision     integer not null,
    verdict      text not null check (verdict in ('linked', 'new_patient', 'review')),
    patient_id   bigint references patient,
    reasons      text[] not null,
    bundle_id    bigint not null references bundle,
    gallery_size integer not null,                      -- patients that were compared with
    decided_by   text not null default 'machine',
    decided_at   timestamptz not null default now(),
    check ((verdict = 'review') = (patient_id is null)),
    foreign key (study_id, revision) references study_revision
);
create index decision_by_study on decision (study_id, decision_id desc);
create index decision_by_patient on decision (patient_id);
create unique index decision_by_machine_once on decision (study_id, revision)
    where decided_by = 'machine';

create table decision_candidate (
    decision_id    bigint not null references decision,
    rank           integer not null check (rank > 0),
    patient_id     bigint not null references patient,
    fingerprint_id bigint not null references fingerprint,
    similarity     double precision not null,           -- cosine
    llr            double precision not null,           -- natural log, of all scans together
    same_contrast  boolean not null,
    primary key (decision_id, rank)
);

-- What each scan of the study says of a candidate: its nearest scan of that patient.
create table decision_evidence (
    decision_id    bigint not null,
    rank           integer not null,
    probe_id       bigint not null references fingerprint,  -- a scan of the study
    fingerprint_id bigint not null references fingerprint,  -- the scan it was compared with
    similarity     double precision not null,           -- cosine
    llr            double precision not null,           -- natural log, of this comparison alone
    same_contrast  boolean not null,
    counted        boolean not null,                    -- false: of low quality beside better ones
    primary key (decision_id, rank, probe_id),
    foreign key (decision_id, rank) references decision_candidate
);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are appended, never changed', tg_table_name;
end $$;
create trigger decision_is_append_only before update or delete on decision
    for each row execute function refuse_change();
create trigger decision_candidate_is_append_only before update or delete on decision_candidate
    for each row execute function refuse_change();
create trigger decision_evidence_is_append_only before update or delete on decision_evidence
    for each row execute function refuse_change();

-- The decision that counts for each study: the newest.
create view current_decision as
    select distinct on (study_id) * from decision order by study_id, decision_id desc;

-- The newest revision of each study.
create view current_revision as
    select distinct on (study_id) * from study_revision order by study_id, revision desc;

-- Who may open an association. Rulings append; the newest one that covers AE title and address
-- counts. The address is `any` or a network such as 10.1.2.0/24.
create table sender_ruling (
    sender_ruling_id bigint generated always as identity primary key,
    calling_ae text not null check (calling_ae ~ '^[ -~]{1,16}$'),
    network    text not null,
    admitted   boolean not null,
    may_query  boolean not null default false,          -- ask by C-FIND, beside sending
    note       text not null default '',
    decided_by text not null,                           -- account that ran the command
    decided_at timestamptz not null default now(),
    check (admitted or not may_query)
);
create trigger sender_ruling_is_append_only before update or delete on sender_ruling
    for each row execute function refuse_change();

-- Associations that no ruling admits, and what became of them; a bounded list for a person to see.
create table noticed_sender (
    calling_ae  text not null,                          -- as sent, odd characters escaped
    address     text not null,
    reason_code text not null,
    outcome     text not null check (outcome in ('refused', 'quarantined', 'accepted')),
    called_ae   text not null,                          -- the title it last called us by
    times       bigint not null,
    first_at    timestamptz not null,
    last_at     timestamptz not null,
    primary key (calling_ae, address, reason_code)
);
create index noticed_sender_by_time on noticed_sender (last_at);

-- Studies that retention may take: every revision has ended, the newest neither failed nor is
-- waiting for a person; and since when that is so.
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

-- Files a batch of arrivals, all or none; says of each whether it is new, a repeat or a conflict.
-- unique_violation when another transaction filed one of them meanwhile: roll back, call again.
create function record_arrivals(batch jsonb)
returns table (ordinal integer, arrival text, study_id bigint, revision integer)
language plpgsql
-- Plans are kept, and the first ones are made over empty tables, where a scan looks cheap.
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    fresh jsonb;        -- of each unknown SOP Instance UID the first of the batch
    places jsonb := '{}';  -- Study Instance UID: [study_id, revision]
    item record;
    newest record;
    place bigint;
    filed integer;
begin
    select coalesce(jsonb_agg(f.element), '[]') into fresh from (
        select distinct on (b.element ->> 'sop_instance_uid') b.element
        from jsonb_array_elements(batch) as b (element)
        where not exists (select from instance i
                          where i.sop_instance_uid = b.element ->> 'sop_instance_uid')
        order by b.element ->> 'sop_instance_uid', (b.element ->> 'ordinal')::integer) f;

    -- A study's row stays locked until commit: it cannot close around an instance.
    for item in
        select x.study_uid, max(x.calling_ae) as calling_ae, max(x.study_instances) as expected
        from jsonb_to_recordset(fresh) as x (
            study_uid text, calling_ae text, study_instances integer)
        group by x.study_uid order by x.study_uid
    loop
        update study s set last_instance_at = now(), calling_ae = item.calling_ae,
            expected_instances = greatest(s.expected_instances, item.expected)
        where s.study_uid = item.study_uid returning s.study_id into place;
        if place is null then  -- apart, because every attempt to insert uses up an id
            insert into study (study_uid, calling_ae, expected_instances)
            values (item.study_uid, item.calling_ae, item.expected)
            on conflict (study_uid) do update set last_instance_at = now()
            returning study.study_id into place;
        end if;
        select r.revision, r.state into newest from study_revision r
        where r.study_id = place order by r.revision desc limit 1;
        if newest.revision is null or newest.state <> 'receiving' then
            newest.revision := coalesce(newest.revision, 0) + 1;
            insert into study_revision (study_id, revision) values (place, newest.revision);
        end if;
        places := places || jsonb_build_object(
            item.study_uid, jsonb_build_array(place, newest.revision));
    end loop;

    insert into instance (
        study_id, revision, series_uid, sop_instance_uid, sop_class_uid, transfer_syntax_uid, path,
        size_bytes, sha256, calling_ae, instance_number, slice_position, frames, image_rows,
        image_columns)
    select (places -> x.study_uid ->> 0)::bigint, (places -> x.study_uid ->> 1)::integer,
           x.series_uid, x.sop_instance_uid, x.sop_class_uid, x.transfer_syntax_uid, x.path,
           x.size_bytes, x.sha256, x.calling_ae, x.instance_number, x.slice_position, x.frames,
           x.image_rows, x.image_columns
    from jsonb_to_recordset(fresh) as x (
        study_uid text, series_uid text, sop_instance_uid text, sop_class_uid text,
        transfer_syntax_uid text, path text, size_bytes bigint, sha256 text, calling_ae text,
        instance_number integer, slice_position double precision, frames integer,
        image_rows integer, image_columns integer)
    order by x.sop_instance_uid
    on conflict (sop_instance_uid) do nothing;
    get diagnostics filed = row_count;
    if filed < jsonb_array_length(fresh) then  -- a revision opened above must not stay
        raise unique_violation using message = 'another transaction filed an instance first';
    end if;

    insert into received_series (study_id, series_uid, modality, series_number, body_part,
                                 manufacturer, model, expected_instances)
    select distinct on (x.study_uid, x.series_uid)
           (places -> x.study_uid ->> 0)::bigint, x.series_uid, x.modality, x.series_number,
           x.body_part, x.manufacturer, x.model, x.series_instances
    from jsonb_to_recordset(fresh) as x (
        ordinal integer, study_uid text, series_uid text, modality text, series_number integer,
        body_part text, manufacturer text, model text, series_instances integer)
    where not exists (select from received_series s where s.series_uid = x.series_uid
                      and s.study_id = (places -> x.study_uid ->> 0)::bigint)
    order by x.study_uid, x.series_uid, x.ordinal
    on conflict do nothing;
    get diagnostics filed = row_count;

    if filed > 0 then  -- who it is comes with the first instance of a series
        insert into identity.study_identity (
            study_id, patient_id, issuer, name, birth_date, sex, accession_number, study_date,
            study_time, study_label, study_description, referring_physician)
        select distinct on (x.study_uid)
               (places -> x.study_uid ->> 0)::bigint, x.patient_id, x.issuer, x.name, x.birth_date,
               x.sex, x.accession_number, x.study_date, x.study_time, x.study_label,
               x.study_description, x.referring_physician
        from jsonb_to_recordset(fresh) as x (
            ordinal integer, study_uid text, patient_id text, issuer text, name text,
            birth_date text, sex text, accession_number text, study_date text, study_time text,
            study_label text, study_description text, referring_physician text)
        order by x.study_uid, x.ordinal
        on conflict do nothing;
        insert into identity.series_identity (
            study_id, series_uid, description, series_date, series_time)
        select distinct on (x.study_uid, x.series_uid)
               (places -> x.study_uid ->> 0)::bigint, x.series_uid, x.series_description,
               x.series_date, x.series_time
        from jsonb_to_recordset(fresh) as x (
            ordinal integer, study_uid text, series_uid text, series_description text,
            series_date text, series_time text)
        order by x.study_uid, x.series_uid, x.ordinal
        on conflict do nothing;
    end if;

    if jsonb_array_length(fresh) = jsonb_array_length(batch) then
        return query
            select x.ordinal, 'new', (places -> x.study_uid ->> 0)::bigint,
                   (places -> x.study_uid ->> 1)::integer
            from jsonb_to_recordset(fresh) as x (ordinal integer, study_uid text)
            order by x.ordinal;
        return;
    end if;
    update instance i set repeats = i.repeats + again.times
    from (select x.sop_instance_uid, x.sha256, count(*)::integer as times
          from jsonb_to_recordset(batch) as x (ordinal integer, sop_instance_uid text, sha256 text)
          where not exists (select from jsonb_to_recordset(fresh) as f (ordinal integer)
                            where f.ordinal = x.ordinal)
          group by 1, 2) again
    where i.sop_instance_uid = again.sop_instance_uid and i.sha256 = again.sha256;
    return query
        select x.ordinal,
               case when f.ordinal is not null then 'new'
                    when i.sha256 = x.sha256 then 'repeat'
                    else 'conflict' end,
               i.study_id, i.revision
        from jsonb_to_recordset(batch) as x (ordinal integer, sop_instance_uid text, sha256 text)
        join instance i on i.sop_instance_uid = x.sop_instance_uid
        left join jsonb_to_recordset(fresh) as f (ordinal integer) on f.ordinal = x.ordinal
        order by x.ordinal;
end $$;

-- Storage commitment (DICOM PS3.4 Annex J): what senders asked us to answer for. Each request is
-- reported on once, or offered until its time is over.
create table commitment (
    commitment_id   bigint generated always as identity primary key,
    transaction_uid text not null,
    requesting_ae   text not null,
    address         text not null,                      -- it came from
    duplicate       boolean not null default false,     -- its transaction UID stands for another
    state           text not null default 'waiting'
                    check (state in ('waiting', 'reported', 'given_up')),
    requested_at    timestamptz not null default now(),
    attempts        integer not null default 0,
    not_before      timestamptz not null default now(), -- also ends the lease of who reports it
    checked_at      timestamptz,                        -- when the files were last read
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
    outcome          text check (outcome in (           -- null: not looked at yet
                         'committed', 'unknown', 'class_conflict', 'file_missing', 'file_changed',
                         'unreadable', 'duplicate')),
    primary key (commitment_id, position)
);
create index commitment_item_failed on commitment_item (outcome) where outcome <> 'committed';

-- Where a requester takes its reports, when that is not where it sends from.
create table commitment_address (
    ae_title text primary key,
    host     text not null,
    port     integer not null check (port between 1 and 65535),
    set_by   text not null,
    set_at   timestamptz not null default now()
);

-- Performed procedure steps (MPPS, DICOM PS3.4 Annex F): when a scanner begins and ends a study.
-- Of what it says only UIDs are kept, nothing of the patient.
create table procedure_step (
    procedure_step_uid text primary key,
    study_uid          text not null,
    calling_ae         text not null,
    state              text not null check (state in ('in progress', 'completed', 'discontinued')),
    started_at         timestamptz not null default now(),
    ended_at           timestamptz
);
create index procedure_step_by_study on procedure_step (study_uid);

-- What the step made, as it says.
create table procedure_step_instance (
    procedure_step_uid text not null references procedure_step,
    series_uid         text not null,
    sop_instance_uid   text not null,
    primary key (procedure_step_uid, sop_instance_uid)
);

-- Who did what to what. Holds no identity of a patient.
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
