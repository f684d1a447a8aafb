-- name: lock_linkage
-- One decision at a time, so that two first studies of one new patient cannot become two patients.
select pg_advisory_xact_lock(%(key)s);

-- name: fingerprint_vectors
-- Vectors of given fingerprints; they never change once they are there.
select fingerprint_id, vector from fingerprint
where fingerprint_id = any(%(fingerprint_ids)s) order by fingerprint_id;

-- name: gallery_members
-- Which fingerprints belong to a patient now, leaving out one study.
select f.fingerprint_id, d.patient_id, s.contrast
from fingerprint f
join scan s using (scan_id)
join current_decision d on d.study_id = s.study_id and d.revision = s.revision
where d.patient_id is not null and f.encoder_id = %(encoder_id)s and s.study_id <> %(study_id)s;

-- name: probe_fingerprints
-- Fingerprints of one revision under one encoder.
select f.fingerprint_id, s.contrast, f.vector, s.quality
from fingerprint f join scan s using (scan_id)
where s.study_id = %(study_id)s and s.revision = %(revision)s and f.encoder_id = %(encoder_id)s
  and s.verdict is distinct from 'fail'
order by s.scan_id;

-- name: patients_with_same_header
-- Patients who have a study under the same hospital patient id and issuer. Blank and dummy ids
-- say nothing about anybody and are left out.
select distinct d.patient_id
from identity.study_identity probe
join identity.study_identity other
  on other.patient_id = probe.patient_id and other.issuer = probe.issuer
join current_decision d on d.study_id = other.study_id
where probe.study_id = %(study_id)s and other.study_id <> probe.study_id
  and d.patient_id is not null and probe.patient_id ~ '[1-9A-Za-z]'
  and lower(probe.patient_id) not in ('anon', 'anonymous', 'anonymized', 'unknown', 'none', 'test');

-- name: standing_decision
-- What counts for the study now: to whom it belongs, if anyone, and who said so.
select patient_id, decided_by from current_decision where study_id = %(study_id)s;

-- name: insert_patient
-- A person we had not met.
insert into patient default values returning patient_id;

-- name: insert_decision
-- Append a decision.
insert into decision (study_id, revision, verdict, patient_id, reasons, bundle_id, gallery_size,
                      decided_by)
values (%(study_id)s, %(revision)s, %(verdict)s, %(patient_id)s, %(reasons)s, %(bundle_id)s,
        %(gallery_size)s, 'machine')
returning decision_id;

-- name: insert_candidate
-- Append one candidate of a decision.
insert into decision_candidate (decision_id, rank, patient_id, fingerprint_id, similarity, llr,
                                same_contrast)
values (%(decision_id)s, %(rank)s, %(patient_id)s, %(fingerprint_id)s, %(similarity)s, %(llr)s,
        %(same_contrast)s);

-- name: insert_evidence
-- Append what one scan of the study says of one candidate.
insert into decision_evidence (decision_id, rank, probe_id, fingerprint_id, similarity, llr,
                               same_contrast, counted)
values (%(decision_id)s, %(rank)s, %(probe_id)s, %(fingerprint_id)s, %(similarity)s, %(llr)s,
        %(same_contrast)s, %(counted)s);

-- name: machine_decided
-- Whether the machine has already decided this revision.
select decision_id from decision
where study_id = %(study_id)s and revision = %(revision)s and decided_by = 'machine';
