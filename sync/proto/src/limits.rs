//! Every maximum and every delay of the protocol.

use kithdb_log::limits::{CIPHERTEXT_BYTES_MAX, HEADER_BYTES_MAX};

/// Version of the protocol: the first byte of every frame.
pub const PROTOCOL_VERSION: u8 = 1;
/// Greatest size of a frame in bytes.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Greatest number of bytes of entries in one `Data` frame; the rest of the frame is its head.
pub const CHUNK_BYTES_MAX: usize = FRAME_BYTES_MAX - 64;
/// Bytes of entries we put in one `Data` frame: few enough that a slow line shows progress in time.
pub const CHUNK_BYTES: usize = 128 << 10;
/// Greatest size of an encoded entry in bytes: header, signature, ciphertext and their lengths.
pub const ENTRY_BYTES_MAX: usize = HEADER_BYTES_MAX + CIPHERTEXT_BYTES_MAX + 128;
/// Greatest size of the entries that are pushed without being asked for, in bytes.
pub const PUSH_BYTES_MAX: usize = 64 << 10;
/// Greatest number of heads in one `Have` frame; so many fill it to the brim.
pub const HEADS_MAX: usize = 8192;
/// Greatest number of admin operations in one frame.
pub const OPERATIONS_MAX: usize = 4096;
/// Greatest size of a request to join, in bytes.
pub const JOIN_BYTES_MAX: usize = 512;

/// Bytes of entries a peer may send after the hello before it was granted any, on both sides.
pub const CREDIT_BYTES_INITIAL: u64 = 256 << 10;
/// Bytes of entries that may be on their way to us or on their way to our disk, for each session.
pub const WINDOW_BYTES: u64 = 4 << 20;
/// Greatest credit that is taken at its word, in bytes.
pub const CREDIT_BYTES_MAX: u64 = 16 << 20;
/// Bytes of received entries that are stored in one go.
pub const STORE_BYTES: usize = 1 << 20;
/// Milliseconds for which received entries wait for more, to be stored in one go.
pub const STORE_DELAY_MS: u64 = 250;
/// Bytes loaded for all peers together above which no more is loaded.
pub const SERVE_BYTES_MAX: usize = 256 << 20;
/// Bytes of entries to load from the store in one go.
pub const LOAD_BYTES: usize = 1 << 20;
/// Bytes of half-received entries over all sessions above which only the fullest session may go on.
pub const ASSEMBLY_BYTES_MAX: usize = 256 << 20;

/// Greatest number of sessions of one engine.
pub const SESSIONS_MAX: usize = 256;
/// Greatest number of sessions opened by others that have not proven themselves.
pub const UNPROVEN_SESSIONS_MAX: usize = 64;
/// Greatest number of ranges a peer may have asked for and not yet got.
pub const WANTS_SERVED_MAX: usize = 1024;
/// Greatest number of ranges we ask one peer for at a time.
pub const WANTS_OUTSTANDING_MAX: usize = 64;
/// Greatest number of streams in which a peer is ahead that are kept in mind; what is above waits for the next meeting.
pub const BEHIND_MAX: usize = 1 << 17;
/// Greatest size of admin operations taken from a peer that has not proven itself, in bytes.
pub const UNPROVEN_ADMIN_BYTES_MAX: usize = 8 << 20;
/// Number of invalid entries or operations that end a session.
pub const INVALID_MAX: u32 = 8;
/// Number of false claims (heights, gaps) that end a session.
pub const FALSE_CLAIMS_MAX: u32 = 64;
/// Questions that cost us work (for admin operations, taking a want back) a peer may ask in one go.
pub const QUESTIONS_BURST: u64 = 128;
/// Milliseconds after which a peer may ask one more question.
pub const QUESTION_INTERVAL_MS: u64 = 250;

/// Times a peer may say that it has caught up.
pub const CAUGHT_MAX: u32 = 4;

/// Milliseconds for both sides to prove themselves.
pub const HANDSHAKE_MS_MAX: u64 = 20_000;
/// Milliseconds in which a peer that owes us bytes must deliver [`STALL_BYTES`] or all it owes.
pub const STALL_MS_MAX: u64 = 60_000;
/// Milliseconds for an owner to admit a device that asked.
pub const JOIN_MS_MAX: u64 = 60_000;
/// Bytes that count as progress of a peer that owes us entries.
pub const STALL_BYTES: u64 = 64 << 10;
/// Milliseconds for which the bytes loaded for a peer that grants no credit are kept.
pub const SERVE_IDLE_MS_MAX: u64 = 30_000;
/// Milliseconds of the first pause after the store failed; it doubles up to [`PAUSE_MS_MAX`].
pub const PAUSE_MS_FIRST: u64 = 5_000;
/// Milliseconds of the longest pause after the store failed.
pub const PAUSE_MS_MAX: u64 = 300_000;
/// Milliseconds between two notes of how much of a connected peer we have.
pub const REMEMBER_INTERVAL_MS: u64 = 10_000;
