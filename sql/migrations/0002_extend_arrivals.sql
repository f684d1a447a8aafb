-- What completeness, queries and duplicates need to know of an instance, and one statement that
-- files a whole batch of arrivals.

alter table study add column expected_instances integer;
alter table instance
    add column instance_number integer,
    add column slice_position  double precision,
    add column frames          integer,
    add column image_rows      integer,
    add column image_columns   integer;

create table received_series (
    study_id           bigint not null references study,
    series_uid         text not null,
    modality           text not null,
    series_number      integer,
    body_part          text not null,
    manufacturer       text not null,
    model              text not null,
    expected_instances integer,
    first_instance_at  timestamptz not null default now(),
    primary key (study_id, series_uid)
);
create index received_series_by_uid on received_series (series_uid);

alter table identity.study_identity
    add column study_time          text not null default '',
    add column study_label         text not null default '',
    add column study_description   text not null default '',
    add column referring_physician text not null default '';
create index study_identity_by_accession on identity.study_identity (accession_number);
create table identity.series_identity (
    study_id    bigint not null references study,
    series_uid  text not null,
    description text not null,
    series_date text not null,
    series_time text not null,
    primary key (study_id, series_uid)
);

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
