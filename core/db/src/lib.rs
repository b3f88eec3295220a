//! A KithDB replica: one SQLite file whose writes are captured, sealed, merged and inspected.

pub mod key;
pub mod pending;
pub mod registry;
pub mod storage;
