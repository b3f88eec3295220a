//! The pure part of KithDB: ids, the hybrid logical clock, operations, the merge rule, and the sealed, signed entry.
//!
//! Nothing here reads a clock, a file, a socket or a random number: time and randomness are arguments.

pub mod clock;
pub mod codec;
pub mod ids;
pub mod limits;
pub mod merge;
pub mod operation;
pub mod payload;
pub mod schema;
pub mod stamp;
pub mod value;

pub use clock::{Clock, ClockAheadError, Hlc};
pub use codec::{DecodeError, Reader};
pub use ids::{
    AdminHash, ArrivalNumber, AuthorId, ColumnId, EntryHash, EpochId, Generation, IncarnationId, LaneId, Origin,
    ReplicaId, SequenceNumber, StreamId, TableId, WorkspaceId,
};
pub use merge::{Cell, Node};
pub use operation::{CellRef, Change, Operation};
pub use payload::{PayloadContext, RowsReader, RowsWriter, Sibling, Step, TransactionHead};
pub use schema::{Affinity, Collation, ColumnSchema, KeyKind, TableSchema};
pub use stamp::Stamp;
pub use value::ValueRef;
