-- name: unread_pixels
-- Instances of a study whose pixels have not been looked at.
select i.instance_id, i.path,
       coalesce(i.image_rows::bigint * i.image_columns * coalesce(i.frames, 1), 0)
from instance i
where i.study_id = %(study_id)s and i.deleted_at is null
  and not exists (select from instance_pixels p where p.instance_id = i.instance_id)
order by i.instance_id;

-- name: insert_pixels
-- Digests of pixels; what another process has noted stays.
insert into instance_pixels (instance_id, sha256)
select instance_id, sha256 from unnest(%(instance_ids)s::bigint[], %(digests)s::text[])
    as x (instance_id, sha256)
order by instance_id
on conflict (instance_id) do nothing;

-- name: note_series_pixels
-- Digest of each series of a study that was read whole; the time of a changed one starts anew.
insert into series_pixels (study_id, series_uid, digest, images)
select i.study_id, i.series_uid,
       encode(sha256(convert_to(string_agg(p.sha256, ' ' order by p.sha256 collate "C"), 'UTF8')),
              'hex'),
       count(*)
from instance i left join instance_pixels p using (instance_id)
where i.study_id = %(study_id)s and p.sha256 is distinct from ''
group by i.study_id, i.series_uid
having count(*) = count(p.sha256)
on conflict (study_id, series_uid) do update
    set digest = excluded.digest, images = excluded.images, noted_at = now()
    where series_pixels.digest <> excluded.digest;

-- name: duplicates_of
-- Series of a study whose pixels came before.
select d.series_uid, c.series_number, d.images, d.original_study_id, d.original_series_uid,
       o.series_number
from duplicate_series d
left join received_series c using (study_id, series_uid)
left join received_series o
    on (o.study_id, o.series_uid) = (d.original_study_id, d.original_series_uid)
where d.study_id = %(study_id)s
order by c.series_number, d.series_uid;
