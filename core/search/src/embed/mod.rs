//! From text to embeddings: `kith_embed(text[, model])`, and the trait behind it.

mod error;
mod find;
#[cfg(feature = "http-models")]
mod http;
mod lexical;
#[cfg(feature = "local-models")]
mod local;

use std::borrow::Cow;

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

pub use error::EmbedError;
pub use find::embedder;
pub(crate) use find::embedder_within;
pub use lexical::Lexical;
#[cfg(feature = "local-models")]
pub use local::load_model;

use crate::function::scalar;
use crate::vector::Label;

/// What the names of models of an HTTP endpoint begin with.
pub const HTTP_PREFIX: &str = "openai:";

/// Turns text into embeddings that can be compared with each other, and with no others.
pub trait Embedder: Send + Sync {
    /// The model's name, which changes whenever its embeddings do.
    fn model(&self) -> &str;
    /// How many numbers an embedding has.
    fn dimensions(&self) -> usize;
    /// Embeds texts: as many answers as texts, in their order, `None` where there is nothing in a text to embed. All numbers are
    /// finite. May take long: a model in a folder takes some 30 ms of a core for a short text, and an endpoint is asked again when it is busy.
    ///
    /// # Errors
    /// What keeps the model from answering; then no text has an answer.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Option<Vec<f32>>>, EmbedError>;
}

/// Registers `kith_embed` on a connection.
pub(crate) fn register(conn: &Connection) -> rusqlite::Result<()> {
    let pure = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    scalar(conn, "kith_embed", 1, pure | FunctionFlags::SQLITE_INNOCUOUS, |context| {
        answer(&Lexical, text(context.get_raw(0))?)
    })?;
    // A model may read files and ask an endpoint: the triggers and views of a file that came from elsewhere must not be able to.
    scalar(conn, "kith_embed", 2, pure | FunctionFlags::SQLITE_DIRECTONLY, |context| {
        let model = text(context.get_raw(1))?.unwrap_or_default();
        answer(&*embedder(&model).map_err(user_error)?, text(context.get_raw(0))?)
    })
}

fn text(value: ValueRef<'_>) -> rusqlite::Result<Option<Cow<'_, str>>> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Text(text) => Ok(Some(String::from_utf8_lossy(text))),
        _ => Err(user_error(EmbedError::NotText)),
    }
}

/// Embeds a text; the embedding bears its label, as those of a table with `source=` do, which is then told which model made it.
fn answer(model: &dyn Embedder, text: Option<Cow<'_, str>>) -> rusqlite::Result<Option<Vec<u8>>> {
    let Some(text) = text else { return Ok(None) };
    let embedding = model.embed(&[&text]).map_err(user_error)?.pop().flatten();
    Ok(embedding.map(|mut numbers| {
        Label::of(model.model(), text.as_bytes()).write(&mut numbers);
        numbers.into_iter().flat_map(f32::to_le_bytes).collect()
    }))
}

fn user_error(error: EmbedError) -> rusqlite::Error {
    rusqlite::Error::UserFunctionError(Box::new(error))
}
