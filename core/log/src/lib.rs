//! The pure part of KithDB: ids, the hybrid logical clock, operations, the merge rule, and the sealed, signed entry.
//!
//! Nothing here reads a clock, a file, a socket or a random number: time and randomness are arguments.
//!
//! One row, written, sealed, carried and read again:
//!
//! ```
//! use kithdb_log::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Fixed bytes stand for what the system's random source gives.
//! let keys = DeviceKeys::from_seeds([1; 32], [2; 32], [3; 32]);
//! let (secret, blinding) = (EpochSecret::from_bytes([4; 32]), BlindingSecret::from_bytes([5; 32]));
//! let workspace = WorkspaceId::from_bytes([6; 32]);
//!
//! // What was written: one row of the table `notes`.
//! let table = TableId::derive("notes", 0);
//! let clock = Hlc::from_ms(1_800_000_000_000);
//! let incarnation = IncarnationId::from_bytes([7; 16]);
//! let stamp = Stamp { clock, author: keys.author(), incarnation };
//! let (key, body) = (ValueRef::Integer(1).to_encoded(), ValueRef::Text(b"water the plants").to_encoded());
//! let mut writer = RowsWriter::new(table, vec![ColumnId::derive(table, "body", 0)]);
//! writer.begin(&TransactionHead { clock, continues_previous: false, siblings: vec![] });
//! let cells = vec![CellRef { column: 0, stamp, value: &body }];
//! writer.write(&Operation { stamp, key: &key, generation: Generation::FIRST, cells, ..Operation::default() });
//! writer.end(false);
//! let payload = writer.finish();
//!
//! // Sealed: the first entry of the stream also says who can open it.
//! let scope_key = secret.scope_key(table, None);
//! let content_key = ContentKey::from_bytes([8; 32]);
//! let opening = StreamOpening::seal(&content_key, blinding.blind_table(table), &scope_key, &[]);
//! let stream = StreamId { author: keys.author(), incarnation, lane: opening.lane_id() };
//! let entry = seal(SealInput {
//!     workspace,
//!     stream,
//!     sequence: SequenceNumber::new(1),
//!     previous: EntryHash::default(),
//!     frontier: vec![AdminHash::from_bytes(*workspace.as_bytes())],
//!     epoch: secret.id(),
//!     clock,
//!     opening: Some(opening),
//!     payload: &payload,
//!     content_key: &content_key,
//!     keys: &keys,
//!     nonce: [9; 24],
//! })?;
//! let sent = entry.encode();
//!
//! // At the other end: anyone can check it, holders of the scope key can read it.
//! let entry = SealedEntry::decode(&sent)?;
//! entry.verify(workspace)?;
//! let opening = entry.header.opening.as_ref().ok_or("a first entry has an opening")?;
//! let content_key = opening.open(&scope_key, &entry.header.key_commitment)?;
//! let payload = open(&entry, &content_key)?;
//! let context = PayloadContext { author: stream.author, incarnation, after: Hlc::ZERO, up_to: entry.header.clock };
//! let mut reader = RowsReader::open(&payload, context)?;
//! let mut operation = Operation::default();
//! assert!(matches!(reader.next(&mut operation)?, Step::Begin(_)));
//! assert_eq!(reader.next(&mut operation)?, Step::Operation);
//! assert_eq!(ValueRef::decode_all(operation.cells[0].value)?, ValueRef::Text(b"water the plants"));
//! # Ok(())
//! # }
//! ```

pub mod admin;
pub mod clock;
pub mod codec;
pub mod device;
pub mod entry;
pub mod hello;
pub mod ids;
pub mod key;
pub mod keys;
pub mod limits;
pub mod membership;
pub mod merge;
pub mod operation;
pub mod payload;
pub mod schema;
pub mod seal;
pub mod stamp;
pub mod ticket;
pub mod value;
pub mod wrap;

pub use admin::{AdminBody, AdminError, AdminOperation, Role};
pub use clock::{Clock, ClockAheadError, Hlc};
pub use codec::{DecodeError, Reader};
pub use device::{DeviceKeys, KeyFileError, SignatureError, verify_signature};
pub use entry::{EntryError, EntryHeader, SealedEntry, StreamOpening};
pub use hello::{HelloContext, HelloError, HelloProof, SessionRole, workspace_tag};
pub use ids::{
    AdminHash, ArrivalNumber, AuthorId, BlindedTable, BlindedTag, ColumnId, EntryHash, EpochId, ExchangeKey,
    Generation, IncarnationId, InviteKey, KeyCommitment, KeySlot, LaneId, Origin, ReplicaId, SequenceNumber, Signature,
    StreamId, TableId, WorkspaceId,
};
pub use keys::{BlindingSecret, ContentKey, EpochSecret, OpenSlotError, ScopeKey, sibling_token};
pub use membership::{Added, Member, Membership, NotAllowed};
pub use merge::{Cell, Node};
pub use operation::{CellRef, Change, Operation};
pub use payload::{PayloadContext, RowsReader, RowsWriter, Sibling, Step, TransactionHead};
pub use schema::{Affinity, Collation, ColumnSchema, KeyKind, TableSchema};
pub use seal::{OpenError, Opener, SealError, SealInput, Sealer, open, seal};
pub use stamp::Stamp;
pub use ticket::{InviteSecret, JoinRequest, Ticket, TicketError, verify_invite_proof};
pub use value::ValueRef;
pub use wrap::{UnwrapError, WrapError, unwrap_secrets, wrap_secrets};
