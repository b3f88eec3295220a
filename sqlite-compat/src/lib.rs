//! SQLite's API semantics, statement by statement, over a plain database or a KithDB replica.
//!
//! A file that is a KithDB database is opened as a replica, so that writes to synced tables are recorded; any other file, and a
//! database in memory, is plain SQLite of the same build.
//!
//! ```
//! use kithdb_sqlite::{Database, OpenOptions, Step};
//!
//! # fn main() -> Result<(), kithdb_sqlite::SqliteError> {
//! let database = Database::open(":memory:", &OpenOptions::default())?;
//! database.execute_batch("CREATE TABLE notes(id INTEGER PRIMARY KEY, body); INSERT INTO notes(body) VALUES('hello')")?;
//! let (statement, _rest) = database.prepare("SELECT body FROM notes WHERE id = ?")?;
//! let statement = statement.expect("there is a statement");
//! statement.bind_i64(1, 1)?;
//! assert_eq!(statement.step()?, Step::Row);
//! assert_eq!(statement.column(0), kithdb_sqlite::ValueRef::Text(b"hello"));
//! # Ok(())
//! # }
//! ```

mod authorizer;
mod backup;
mod codes;
mod connection;
mod error;
mod events;
mod function;
mod open;
mod session;
mod settings;
mod statement;
mod statistics;
mod table;
mod value;

pub use kithdb_core::capture::{Access, Authorizer};

pub use backup::{Backup, Progress};
pub use connection::{Database, Interrupter, configure_process, version};
pub use error::SqliteError;
pub use events::{Change, ChangeKind, Changes, Trace, TraceEvent};
pub use function::{AggregateState, FunctionOptions, Scalar, StartAggregate};
pub use open::OpenOptions;
pub use session::{Applied, Conflicts, Session};
pub use settings::Limit;
pub use statement::{Statement, Step};
pub use statistics::Counter;
pub use table::{Table, TableRequest, TableRows};
pub use value::{Value, ValueRef};
