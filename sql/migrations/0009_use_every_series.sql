-- Every usable series is fingerprinted: what became of each, and what each says in a decision.

alter table series add column failure_code text not null default '';
alter table series add column failure text not null default '';

alter table scan add column verdict text check (verdict in ('pass', 'flag', 'fail'));
alter table scan add column verdict_code text not null default '';
alter table scan add column verdict_reasons text[] not null default '{}';

create table decision_evidence (
    decision_id    bigint not null,
    rank           integer not null,
    probe_id       bigint not null references fingerprint,
    fingerprint_id bigint not null references fingerprint,
    similarity     double precision not null,
    llr            double precision not null,
    same_contrast  boolean not null,
    counted        boolean not null,
    primary key (decision_id, rank, probe_id),
    foreign key (decision_id, rank) references decision_candidate
);
create trigger decision_evidence_is_append_only before update or delete on decision_evidence
    for each row execute function refuse_change();
