//! What several suites share: seeded randomness and pairs of replicas.

pub mod numbered;
pub mod pair;
pub mod random;
