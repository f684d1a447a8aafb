-- Keys of a query are null where nothing is asked of them. Texts are patterns of `like`; dates and
-- times have both bounds. Pages follow one another from the newest to the oldest, so that what
-- arrives meanwhile is in none of them twice. What retention has taken away is not found; the look
-- for one instance that is kept is written so that the planner makes it row by row, and last. What
-- is joined by two columns is looked up row by row too: the planner would take the two for
-- independent, expect next to nothing and choose a plan that is slow by a factor of thousands.

-- name: find_studies
-- A page of the studies that match.
select s.study_id, s.study_uid, i.patient_id, i.issuer, i.name, i.birth_date, i.sex,
       i.accession_number, i.study_date, i.study_time, i.study_label, i.study_description,
       i.referring_physician,
       case when %(with_counts)s::boolean then
           array(select distinct m.modality from received_series m
                 where m.study_id = s.study_id and m.modality <> '' order by 1) end,
       case when %(with_counts)s::boolean then
           (select count(*) from received_series m where m.study_id = s.study_id) end,
       case when %(with_counts)s::boolean then
           (select count(*) from instance m where m.study_id = s.study_id and m.deleted_at is null)
       end
from study s join identity.study_identity i using (study_id)
where (select m.instance_id from instance m
       where m.study_id = s.study_id and m.deleted_at is null limit 1) is not null
  and (%(before_study)s::bigint is null
       or (s.study_id < %(before_study)s and i.study_id < %(before_study)s))
  and (%(study_uids)s::text[] is null or s.study_uid = any(%(study_uids)s::text[]))
  and (%(patient_id)s::text is null or i.patient_id like %(patient_id)s)
  and (%(issuer)s::text is null or i.issuer like %(issuer)s)
  and (%(accession_number)s::text is null or i.accession_number like %(accession_number)s)
  and (%(name)s::text is null
       or comparable_name(i.name, 1) like lower(%(name)s)
       or comparable_name(i.name, 2) like lower(%(name)s)
       or comparable_name(i.name, 3) like lower(%(name)s))
  and (%(name_1)s::text is null or comparable_name(i.name, 1) like lower(%(name_1)s))
  and (%(name_2)s::text is null or comparable_name(i.name, 2) like lower(%(name_2)s))
  and (%(name_3)s::text is null or comparable_name(i.name, 3) like lower(%(name_3)s))
  and (%(sex)s::text is null or i.sex like %(sex)s)
  and (%(birth_date_from)s::text is null
       or comparable_date(i.birth_date) between %(birth_date_from)s and %(birth_date_to)s)
  and (%(study_date_from)s::text is null
       or comparable_date(i.study_date) between %(study_date_from)s and %(study_date_to)s)
  and (%(study_time_from)s::text is null
       or comparable_time(i.study_time) between %(study_time_from)s and %(study_time_to)s)
  and (%(study_moment_from)s::text is null
       or comparable_date(i.study_date) || comparable_time(i.study_time)
          between %(study_moment_from)s and %(study_moment_to)s)
  and (%(study_label)s::text is null or i.study_label like %(study_label)s)
  and (%(study_description)s::text is null or i.study_description like %(study_description)s)
  and (%(referring_physician)s::text is null
       or comparable_name(i.referring_physician, 1) like lower(%(referring_physician)s)
       or comparable_name(i.referring_physician, 2) like lower(%(referring_physician)s)
       or comparable_name(i.referring_physician, 3) like lower(%(referring_physician)s))
  and (%(referring_physician_1)s::text is null
       or comparable_name(i.referring_physician, 1) like lower(%(referring_physician_1)s))
  and (%(referring_physician_2)s::text is null
       or comparable_name(i.referring_physician, 2) like lower(%(referring_physician_2)s))
  and (%(referring_physician_3)s::text is null
       or comparable_name(i.referring_physician, 3) like lower(%(referring_physician_3)s))
  and (%(modalities)s::text[] is null
       or exists (select from received_series m where m.study_id = s.study_id
                  and m.modality like any(%(modalities)s::text[])))
order by s.study_id desc limit %(limit)s offset %(offset)s;

-- name: find_series
-- A page of the series that match.
select s.study_id, s.study_uid, i.patient_id, i.issuer, i.name, i.birth_date, i.sex,
       i.accession_number, i.study_date, i.study_time, i.study_label, i.study_description,
       i.referring_physician,
       case when %(with_counts)s::boolean then
           array(select distinct m.modality from received_series m
                 where m.study_id = s.study_id and m.modality <> '' order by 1) end,
       case when %(with_counts)s::boolean then
           (select count(*) from received_series m where m.study_id = s.study_id) end,
       case when %(with_counts)s::boolean then
           (select count(*) from instance m where m.study_id = s.study_id and m.deleted_at is null)
       end,
       r.series_uid, r.modality, r.series_number, r.body_part, r.manufacturer, r.model,
       e.description, e.series_date, e.series_time,
       case when %(with_counts)s::boolean then
           (select count(*) from instance m
            where m.study_id = s.study_id and m.series_uid = r.series_uid
              and m.deleted_at is null) end
from received_series r
join study s using (study_id)
join identity.study_identity i using (study_id)
cross join lateral (select * from identity.series_identity o
                    where o.study_id = r.study_id and o.series_uid = r.series_uid limit 1) e
where (select m.instance_id from instance m
       where m.study_id = r.study_id and m.series_uid = r.series_uid and m.deleted_at is null
       limit 1) is not null
  and (%(before_study)s::bigint is null
       or (s.study_id <= %(before_study)s and i.study_id <= %(before_study)s
           and (r.study_id, r.series_uid) < (%(before_study)s, %(before_series)s::text)))
  and (%(study_uids)s::text[] is null or s.study_uid = any(%(study_uids)s::text[]))
  and (%(patient_id)s::text is null or i.patient_id like %(patient_id)s)
  and (%(issuer)s::text is null or i.issuer like %(issuer)s)
  and (%(accession_number)s::text is null or i.accession_number like %(accession_number)s)
  and (%(name)s::text is null
       or comparable_name(i.name, 1) like lower(%(name)s)
       or comparable_name(i.name, 2) like lower(%(name)s)
       or comparable_name(i.name, 3) like lower(%(name)s))
  and (%(name_1)s::text is null or comparable_name(i.name, 1) like lower(%(name_1)s))
  and (%(name_2)s::text is null or comparable_name(i.name, 2) like lower(%(name_2)s))
  and (%(name_3)s::text is null or comparable_name(i.name, 3) like lower(%(name_3)s))
  and (%(sex)s::text is null or i.sex like %(sex)s)
  and (%(birth_date_from)s::text is null
       or comparable_date(i.birth_date) between %(birth_date_from)s and %(birth_date_to)s)
  and (%(study_date_from)s::text is null
       or comparable_date(i.study_date) between %(study_date_from)s and %(study_date_to)s)
  and (%(study_time_from)s::text is null
       or comparable_time(i.study_time) between %(study_time_from)s and %(study_time_to)s)
  and (%(study_moment_from)s::text is null
       or comparable_date(i.study_date) || comparable_time(i.study_time)
          between %(study_moment_from)s and %(study_moment_to)s)
  and (%(study_label)s::text is null or i.study_label like %(study_label)s)
  and (%(study_description)s::text is null or i.study_description like %(study_description)s)
  and (%(referring_physician)s::text is null
       or comparable_name(i.referring_physician, 1) like lower(%(referring_physician)s)
       or comparable_name(i.referring_physician, 2) like lower(%(referring_physician)s)
       or comparable_name(i.referring_physician, 3) like lower(%(referring_physician)s))
  and (%(referring_physician_1)s::text is null
       or comparable_name(i.referring_physician, 1) like lower(%(referring_physician_1)s))
  and (%(referring_physician_2)s::text is null
       or comparable_name(i.referring_physician, 2) like lower(%(referring_physician_2)s))
  and (%(referring_physician_3)s::text is null
       or comparable_name(i.referring_physician, 3) like lower(%(referring_physician_3)s))
  and (%(modalities)s::text[] is null
       or exists (select from received_series m where m.study_id = s.study_id
                  and m.modality like any(%(modalities)s::text[])))
  and (%(series_uids)s::text[] is null or r.series_uid = any(%(series_uids)s::text[]))
  and (%(modality)s::text[] is null or r.modality like any(%(modality)s::text[]))
  and (%(series_number)s::integer is null or r.series_number = %(series_number)s)
  and (%(body_part)s::text is null or r.body_part like %(body_part)s)
  and (%(manufacturer)s::text is null or r.manufacturer like %(manufacturer)s)
  and (%(model)s::text is null or r.model like %(model)s)
  and (%(series_description)s::text is null or e.description like %(series_description)s)
  and (%(series_date_from)s::text is null
       or comparable_date(e.series_date) between %(series_date_from)s and %(series_date_to)s)
  and (%(series_time_from)s::text is null
       or comparable_time(e.series_time) between %(series_time_from)s and %(series_time_to)s)
order by r.study_id desc, r.series_uid desc limit %(limit)s offset %(offset)s;

-- name: find_instances
-- A page of the instances that match.
select s.study_id, s.study_uid, i.patient_id, i.issuer, i.name, i.birth_date, i.sex,
       i.accession_number, i.study_date, i.study_time, i.study_label, i.study_description,
       i.referring_physician,
       case when %(with_counts)s::boolean then
           array(select distinct m.modality from received_series m
                 where m.study_id = s.study_id and m.modality <> '' order by 1) end,
       case when %(with_counts)s::boolean then
           (select count(*) from received_series m where m.study_id = s.study_id) end,
       case when %(with_counts)s::boolean then
           (select count(*) from instance m where m.study_id = s.study_id and m.deleted_at is null)
       end,
       r.series_uid, r.modality, r.series_number, r.body_part, r.manufacturer, r.model,
       e.description, e.series_date, e.series_time,
       case when %(with_counts)s::boolean then
           (select count(*) from instance m
            where m.study_id = s.study_id and m.series_uid = r.series_uid
              and m.deleted_at is null) end,
       x.instance_id, x.sop_instance_uid, x.sop_class_uid, x.instance_number, x.frames,
       x.image_rows, x.image_columns
from instance x
join study s using (study_id)
join identity.study_identity i using (study_id)
cross join lateral (select * from received_series o
                    where o.study_id = x.study_id and o.series_uid = x.series_uid limit 1) r
cross join lateral (select * from identity.series_identity o
                    where o.study_id = x.study_id and o.series_uid = x.series_uid limit 1) e
where x.deleted_at is null
  and (%(series_uids)s::text[] is null
       or (x.series_uid = any(%(series_uids)s::text[])
           and x.study_id = any(array(select o.study_id from received_series o
                                      where o.series_uid = any(%(series_uids)s::text[])))))
  and (%(before_instance)s::bigint is null or x.instance_id < %(before_instance)s)
  and (%(study_uids)s::text[] is null or s.study_uid = any(%(study_uids)s::text[]))
  and (%(patient_id)s::text is null or i.patient_id like %(patient_id)s)
  and (%(issuer)s::text is null or i.issuer like %(issuer)s)
  and (%(accession_number)s::text is null or i.accession_number like %(accession_number)s)
  and (%(name)s::text is null
       or comparable_name(i.name, 1) like lower(%(name)s)
       or comparable_name(i.name, 2) like lower(%(name)s)
       or comparable_name(i.name, 3) like lower(%(name)s))
  and (%(name_1)s::text is null or comparable_name(i.name, 1) like lower(%(name_1)s))
  and (%(name_2)s::text is null or comparable_name(i.name, 2) like lower(%(name_2)s))
  and (%(name_3)s::text is null or comparable_name(i.name, 3) like lower(%(name_3)s))
  and (%(sex)s::text is null or i.sex like %(sex)s)
  and (%(birth_date_from)s::text is null
       or comparable_date(i.birth_date) between %(birth_date_from)s and %(birth_date_to)s)
  and (%(study_date_from)s::text is null
       or comparable_date(i.study_date) between %(study_date_from)s and %(study_date_to)s)
  and (%(study_time_from)s::text is null
       or comparable_time(i.study_time) between %(study_time_from)s and %(study_time_to)s)
  and (%(study_moment_from)s::text is null
       or comparable_date(i.study_date) || comparable_time(i.study_time)
          between %(study_moment_from)s and %(study_moment_to)s)
  and (%(study_label)s::text is null or i.study_label like %(study_label)s)
  and (%(study_description)s::text is null or i.study_description like %(study_description)s)
  and (%(referring_physician)s::text is null
       or comparable_name(i.referring_physician, 1) like lower(%(referring_physician)s)
       or comparable_name(i.referring_physician, 2) like lower(%(referring_physician)s)
       or comparable_name(i.referring_physician, 3) like lower(%(referring_physician)s))
  and (%(referring_physician_1)s::text is null
       or comparable_name(i.referring_physician, 1) like lower(%(referring_physician_1)s))
  and (%(referring_physician_2)s::text is null
       or comparable_name(i.referring_physician, 2) like lower(%(referring_physician_2)s))
  and (%(referring_physician_3)s::text is null
       or comparable_name(i.referring_physician, 3) like lower(%(referring_physician_3)s))
  and (%(modalities)s::text[] is null
       or exists (select from received_series m where m.study_id = s.study_id
                  and m.modality like any(%(modalities)s::text[])))
  and (%(modality)s::text[] is null or r.modality like any(%(modality)s::text[]))
  and (%(series_number)s::integer is null or r.series_number = %(series_number)s)
  and (%(body_part)s::text is null or r.body_part like %(body_part)s)
  and (%(manufacturer)s::text is null or r.manufacturer like %(manufacturer)s)
  and (%(model)s::text is null or r.model like %(model)s)
  and (%(series_description)s::text is null or e.description like %(series_description)s)
  and (%(series_date_from)s::text is null
       or comparable_date(e.series_date) between %(series_date_from)s and %(series_date_to)s)
  and (%(series_time_from)s::text is null
       or comparable_time(e.series_time) between %(series_time_from)s and %(series_time_to)s)
  and (%(sop_instance_uids)s::text[] is null
       or x.sop_instance_uid = any(%(sop_instance_uids)s::text[]))
  and (%(sop_class_uids)s::text[] is null or x.sop_class_uid = any(%(sop_class_uids)s::text[]))
  and (%(instance_number)s::integer is null or x.instance_number = %(instance_number)s)
  and (%(frames)s::integer is null or x.frames = %(frames)s)
  and (%(image_rows)s::integer is null or x.image_rows = %(image_rows)s)
  and (%(image_columns)s::integer is null or x.image_columns = %(image_columns)s)
order by x.instance_id desc limit %(limit)s offset %(offset)s;
