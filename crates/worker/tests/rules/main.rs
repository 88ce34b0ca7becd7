//! What task instances end as, decided by the real store for a real worker: against Airflow's own answers
//! (`oracle`), and against a small reference of the rules on random DAGs (`random`).

mod oracle;
mod random;
mod reference;
mod stage;
