//! Text search: FTS5 indexes that are made by one call and then kept by triggers, and the functions that ask them.
//!
//! `kith_text('notes', 'title,body')` makes the FTS5 table `notes_text`; `kith_search` asks it, `kith_fuzzy` finds
//! misspelt values, `kith_hybrid` asks text and embeddings together.
//!
//! Invariants:
//! 1. Whatever program writes the content table, by whatever statement, the index is right when the statement ends (`triggers.rs`).
//! 2. An index is local: it is in no log and is never sent.
//! 3. What a person types never makes a query fail (`query.rs`).

mod common;
mod content;
mod distance;
mod error;
mod filter;
mod functions;
mod fuzzy;
mod hybrid;
mod index;
mod mark;
mod options;
mod query;
mod repair;
mod search;
mod snippet;
mod table;
mod triggers;

pub(crate) use functions::register;
pub use functions::{Change, call, flags};
pub use index::{rebuild_all, settles_of};
pub use triggers::Settle;
