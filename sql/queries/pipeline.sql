-- name: revision_state
-- State of one revision; the row is locked.
select state from study_revision
where study_id = %(study_id)s and revision = %(revision)s for update;

-- name: set_state
-- Move one revision on; a final state also gets its end and its reason.
update study_revision
set state = %(state)s, reason_code = %(reason_code)s, reason = %(reason)s,
    ended_at = case when %(final)s then now() end
where study_id = %(study_id)s and revision = %(revision)s;

-- name: insert_step_run
-- Remember how one step of one run went.
insert into step_run (study_id, revision, step, started_at, outcome, reason_code, reason)
values (%(study_id)s, %(revision)s, %(step)s, %(started_at)s, %(outcome)s, %(reason_code)s,
        %(reason)s);

-- name: replace_series
-- What one series was taken for; a repeated step overwrites its own answer.
insert into series (study_id, revision, series_uid, series_number, contrast, usable, chosen,
                    confidence, reason, instance_count, failure_code, failure)
values (%(study_id)s, %(revision)s, %(series_uid)s, %(series_number)s, %(contrast)s, %(usable)s,
        %(chosen)s, %(confidence)s, %(reason)s, %(instance_count)s, %(failure_code)s, %(failure)s)
on conflict (study_id, revision, series_uid) do update
    set contrast = excluded.contrast, usable = excluded.usable, chosen = excluded.chosen,
        confidence = excluded.confidence, reason = excluded.reason,
        failure_code = excluded.failure_code, failure = excluded.failure;

-- name: ensure_scan
-- One row per chosen series; the same row again when the step is repeated.
insert into scan (study_id, revision, series_uid, contrast, folder)
values (%(study_id)s, %(revision)s, %(series_uid)s, %(contrast)s, %(folder)s)
on conflict (study_id, revision, series_uid) do update set contrast = excluded.contrast
returning scan_id;

-- name: scans_of
-- Scans of one revision, in the order in which they were chosen.
select s.scan_id, study_id, revision, series_uid, s.contrast, s.folder, s.quality,
       coalesce(c.series_number, 0), coalesce(s.verdict = 'fail', false)
from scan s left join series c using (study_id, revision, series_uid)
where study_id = %(study_id)s and revision = %(revision)s order by scan_id;

-- name: set_verdict
-- What was found out about a scan; a repeated step overwrites its own answer.
update scan
set verdict = %(verdict)s, verdict_code = %(code)s, verdict_reasons = %(reasons)s,
    quality = %(quality)s
where scan_id = %(scan_id)s;

-- name: set_quality
-- Store a scan's quality figures.
update scan set quality = quality || %(quality)s where scan_id = %(scan_id)s;

-- name: ensure_encoder
-- Register an encoder by its version; comes back with the digest that was registered first.
insert into encoder (version, digest) values (%(version)s, %(digest)s)
on conflict (version) do update set version = excluded.version
returning encoder_id, digest;

-- name: ensure_bundle
-- Register a bundle; the same bundle comes back when it is known.
insert into bundle (encoder_id, preprocessing_version, calibration, calibration_digest)
values (%(encoder_id)s, %(preprocessing_version)s, %(calibration)s, %(calibration_digest)s)
on conflict (encoder_id, preprocessing_version, calibration_digest) do update
    set preprocessing_version = excluded.preprocessing_version
returning bundle_id;

-- name: activate_first_bundle
-- Point at a bundle when none is active yet.
insert into active_bundle (bundle_id) values (%(bundle_id)s) on conflict (only_one) do nothing;

-- name: active_bundle
-- The bundle that decides.
select b.bundle_id, b.encoder_id, e.version, e.digest, b.preprocessing_version, b.calibration
from active_bundle a join bundle b using (bundle_id) join encoder e using (encoder_id);

-- name: insert_fingerprint
-- Inserted once; a repeated step finds it there.
insert into fingerprint (scan_id, encoder_id, vector, input_digest)
values (%(scan_id)s, %(encoder_id)s, %(vector)s, %(input_digest)s)
on conflict (scan_id, encoder_id) do nothing;

-- name: fail_revision
-- A run ended in Airflow without telling us; only an open revision is changed.
update study_revision
set state = 'failed', reason_code = %(reason_code)s, reason = %(reason)s, ended_at = now()
where study_id = %(study_id)s and revision = %(revision)s
  and state in ('dispatched', 'converted', 'stripped', 'sliced', 'encoded');
