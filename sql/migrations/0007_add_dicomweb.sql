-- Queries by C-FIND and QIDO-RS find their studies by an index, and who uses DICOMweb has a token.

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
