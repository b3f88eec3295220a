//! Every maximum of the formats and the protocol; a decoder refuses above it before it allocates.

/// Format version of entries, admin operations, tickets and key files.
pub const FORMAT_VERSION: u8 = 1;
/// Greatest size of one cell value in bytes (64 MiB).
pub const VALUE_BYTES_MAX: usize = 64 << 20;
/// Greatest size of one encoded row key in bytes.
pub const KEY_BYTES_MAX: usize = 1 << 20;
/// Greatest size of one operation in bytes: a row of several large cells.
pub const OPERATION_BYTES_MAX: usize = 96 << 20;
/// Size at which an entry's payload is closed and the next one begun, in bytes.
pub const PAYLOAD_BYTES_TARGET: usize = 1 << 20;
/// Greatest size of an entry's payload before compression: a full target plus one greatest operation, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = PAYLOAD_BYTES_TARGET + OPERATION_BYTES_MAX + (64 << 10);
/// Greatest size of an entry's ciphertext in bytes: the payload, incompressible, padded and tagged.
pub const CIPHERTEXT_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + PAYLOAD_BYTES_MAX / 8 + (64 << 10);
/// Greatest size of an encoded entry header in bytes.
pub const HEADER_BYTES_MAX: usize = 4096;
/// Greatest number of columns of a synced table (SQLite's default limit).
pub const COLUMNS_MAX: usize = 2000;
/// Greatest number of hashes in an admin frontier.
pub const FRONTIER_MAX: usize = 16;
/// Greatest number of tags of a lane.
pub const TAGS_MAX: usize = 16;
/// Greatest number of siblings of a transaction part: the lanes one transaction may touch besides its own.
pub const SIBLINGS_MAX: usize = 1024;
/// Greatest number of carried authors in a payload.
pub const CARRIED_AUTHORS_MAX: usize = 4096;
/// Greatest number of transactions in one payload.
pub const TRANSACTIONS_MAX: usize = 1 << 20;
/// Greatest size of a SQL text inside a schema operation, in bytes.
pub const SQL_BYTES_MAX: usize = 256 << 10;
/// Greatest size of a table or column name, in bytes.
pub const NAME_BYTES_MAX: usize = 1024;
/// Greatest number of index statements in a schema operation.
pub const INDEXES_MAX: usize = 256;
/// Greatest size of an admin operation in bytes.
pub const ADMIN_BYTES_MAX: usize = 16 << 10;
/// Greatest number of admin operations of a workspace; the ancestry of so many takes 16 MiB.
pub const ADMIN_OPERATIONS_MAX: usize = 16_384;
/// Greatest size of a device's name in bytes.
pub const DEVICE_NAME_BYTES_MAX: usize = 64;
/// Greatest number of incarnations of one device that a replica accepts.
pub const INCARNATIONS_MAX: usize = 1024;
/// Greatest number of addresses in a ticket.
pub const TICKET_ADDRESSES_MAX: usize = 16;
/// Greatest length of one address in a ticket, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// How far ahead of the wall clock a stamp may be, in milliseconds (5 minutes).
pub const DRIFT_MS_MAX: u64 = 5 * 60 * 1000;
