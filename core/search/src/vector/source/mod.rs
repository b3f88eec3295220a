//! Embeddings that are made by themselves: `source=` names the text column that a `kith_vector` table's column is embedded from, and
//! `model=` what embeds it.
//!
//! **What tells that an embedding is right.** Every embedding made here bears a *label* (`label.rs`): 24 bits of the model's name and 40
//! of the text, in the last bit of its first 64 numbers. So a row itself says whether its embedding is by this model and of this text,
//! wherever the row has been: on a peer, in a backup, in a dump. There is no list beside the table that could say otherwise. A row that
//! comes from a peer with its embedding is read and left as it is; two peers that embed one text write the same bytes, if the model
//! gives them the same.
//!
//! **Which rows are to be looked at.** Triggers note every row whose text, embedding or key changes in the table `NAME_stale`
//! (`queue.rs`), in the transaction that changes it, whoever writes. Rows that are written with triggers off, and all rows when the
//! table is created, are noted by one *scan*, which remembers how far it has come. Noting a row too often costs a look at it.
//!
//! **Who embeds.** A step (`step.rs`) reads some of the noted rows, asks the model while it holds no lock, and writes what the model
//! answered where the text is still the same, together with how far it has come. `kith_embed_pending` is one step on the caller's own
//! connection; a thread for each file makes steps in the background (`background.rs`).
//!
//! **Models never mix.** An index takes in only embeddings labelled with its model. One of another model, of just this text, was made
//! by a device that declares that model: it is left as it is, so that two devices do not write over each other for ever, and the row
//! is listed as refused. Whoever creates the table anew, with the model that is to hold from then on, has every row embedded by it.
//!
//! Invariants:
//! 1. A row whose embedding is not the model's of its text is noted, or was made by another model of that very text.
//! 2. What a model cannot answer stays noted; no write of the user's waits for a model or fails because of one.
//! 3. A step that ends in the middle, by a crash too, has done nothing.
//! 4. While `source=` is declared the column holds what the model says: anything else that is written there is embedded over, and a row
//!    without text has no embedding.

mod background;
mod label;
mod queue;
mod step;
#[cfg(test)]
mod tests;
mod write;

use std::time::Duration;

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

use super::declaration::{Declaration, DeclarationError};
use super::table::Held;
use crate::embed::{Embedder, embedder, embedder_within};
use crate::function::whole_number;
use crate::sql::quote;

pub use background::{BackgroundConnection, BackgroundFailure, OpenBackground, open_background_by, stay_in_foreground};

pub(super) use background::Background;
pub(super) use label::LABEL_NUMBERS;
pub(crate) use label::Label;
pub(super) use queue::{
    create, create_triggers, drop_all, drop_triggers, figures, note_all, rename, stored_dimensions, table_names,
};
use step::Batch;

/// How long an endpoint is waited for while a table is created, as nobody else can write to the file meanwhile.
const SETTLE: Duration = Duration::from_secs(5);
/// Most rows that one call embeds.
const ROWS_MAX: i64 = 10_000;

/// Fills in the dimension of a declaration that names a model, and checks what is given; the second is why the model cannot be used
/// now, where that may wait.
pub(super) fn settle(declaration: &mut Declaration) -> Result<Option<String>, DeclarationError> {
    let Some(model) = &declaration.model else { return Ok(None) };
    let given = declaration.options.dimensions;
    let found = match embedder_within(model, SETTLE) {
        Ok(found) => found.dimensions(),
        Err(error) if given > 0 => return Ok(Some(error.to_string())),
        Err(error) => return Err(DeclarationError::Model { reason: error.to_string() }),
    };
    if given > 0 && given != found {
        let expected = format!("the embeddings of {model:?} have {found} dimensions");
        return Err(DeclarationError::Value { name: "dims", value: given.to_string(), expected });
    }
    if declaration.source.is_some() && found < LABEL_NUMBERS {
        let expected = format!("a model of at least {LABEL_NUMBERS} dimensions is expected, this one has {found}");
        return Err(DeclarationError::Value { name: "model", value: model.clone(), expected });
    }
    declaration.options.dimensions = found;
    Ok(None)
}

fn error(message: impl Into<String>) -> rusqlite::Error {
    rusqlite::Error::UserFunctionError(message.into().into())
}

/// Registers `kith_embed_pending`.
pub(super) fn register(conn: &Connection, held: std::sync::Arc<Held>) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    conn.create_scalar_function("kith_embed_pending", 2, flags, move |context| {
        let ValueRef::Text(name) = context.get_raw(0) else {
            return Err(error("kith_embed_pending: the first argument is the name of a kith_vector table"));
        };
        let name = String::from_utf8_lossy(name).into_owned();
        let count = match whole_number(context.get_raw(1)) {
            Some(count) if (1..=ROWS_MAX).contains(&count) => count as usize,
            _ => return Err(error(format!("kith_embed_pending: the number of rows is from 1 to {ROWS_MAX}"))),
        };
        // SAFETY: the reference lives no longer than this call, and stays on the thread that runs the statement.
        let conn = unsafe { context.get_connection() }?;
        // Has SQLite connect the table, if it has not yet.
        let is_there = conn.prepare(&format!("SELECT 1 FROM main.{}", quote(&name))).is_ok();
        let declaration = held.get(&name).filter(|_| is_there).map(|(declaration, _)| declaration);
        let Some(declaration) = declaration.filter(|declaration| declaration.source.is_some()) else {
            return Err(error(format!(
                "kith_embed_pending: {name:?} is no kith_vector table with source= and model=; create one, as in CREATE VIRTUAL TABLE doc_vectors USING kith_vector(content=docs, column=embedding, source=body, model=lexical-1)"
            )));
        };
        step(&conn, &name, &declaration, count, |model| embedder(model).map_err(|error| error.to_string()))
    })
}

/// Embeds some of the rows that are noted, on the caller's connection; returns how many are left.
pub(super) fn step(
    conn: &Connection,
    name: &str,
    declaration: &Declaration,
    count: usize,
    find: impl FnOnce(&str) -> Result<std::sync::Arc<dyn Embedder>, String>,
) -> rusqlite::Result<i64> {
    let batch = Batch::read(conn, name, declaration, count)?;
    match find(batch.model()).and_then(|model| batch.ask(&*model)) {
        Ok(answers) => batch.write(conn, &answers).inspect_err(|error| batch.note_refusal(conn, error)),
        Err(reason) => {
            batch.note_failure(conn, &reason)?;
            Err(error(reason))
        }
    }
}
