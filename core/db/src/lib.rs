//! A KithDB replica: one SQLite file whose writes are captured, sealed, merged and inspected.

mod catalog;
pub mod define;
mod definition;
pub mod error;
pub mod file;
mod functions;
pub mod key;
pub mod keyfile;
pub mod life;
pub mod pending;
pub mod registry;
pub mod replica;
pub mod sources;
pub mod storage;
mod vet;
pub mod workspace;
