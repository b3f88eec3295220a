//! From text to embeddings: `kith_embed(text)`, and the trait behind it.

mod lexical;

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

pub use lexical::Lexical;

use crate::function::scalar;

/// Reports why a text could not be embedded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// A model that is not built in.
    #[error("there is no embedding model {name:?}; there is {}", MODELS.join(", "))]
    UnknownModel {
        /// The name given.
        name: String,
    },
    /// Neither text nor NULL.
    #[error("kith_embed takes a text and, if another model than {} is meant, its name", Lexical::MODEL)]
    NotText,
}

/// Turns text into embeddings that can be compared with each other, and with no others.
pub trait Embedder {
    /// The model's name, which changes whenever its embeddings do.
    fn model(&self) -> &'static str;
    /// How many numbers an embedding has.
    fn dimensions(&self) -> usize;
    /// Embeds a text; `None` if there is nothing in it to embed.
    ///
    /// # Errors
    /// What keeps the model from answering.
    fn embed(&self, text: &str) -> Result<Option<Vec<f32>>, EmbedError>;
}

const MODELS: [&str; 1] = [Lexical::MODEL];

/// Finds a model by its name.
///
/// # Errors
/// That there is none of that name.
pub fn embedder(name: &str) -> Result<impl Embedder, EmbedError> {
    if name == Lexical::MODEL { Ok(Lexical) } else { Err(EmbedError::UnknownModel { name: name.to_owned() }) }
}

/// Registers `kith_embed` on a connection.
pub(crate) fn register(conn: &Connection) -> rusqlite::Result<()> {
    let pure = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    for count in [1, 2] {
        scalar(conn, "kith_embed", count, pure, move |context| {
            let argument = |place| match context.get_raw(place) {
                ValueRef::Null => Ok(None),
                ValueRef::Text(text) => Ok(Some(String::from_utf8_lossy(text))),
                _ => Err(user_error(EmbedError::NotText)),
            };
            let model = if count == 2 { argument(1)?.unwrap_or_default() } else { Lexical::MODEL.into() };
            let model = embedder(&model).map_err(user_error)?;
            let Some(text) = argument(0)? else { return Ok(None) };
            let embedding = model.embed(&text).map_err(user_error)?;
            Ok(embedding.map(|numbers| numbers.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>()))
        })?;
    }
    Ok(())
}

fn user_error(error: EmbedError) -> rusqlite::Error {
    rusqlite::Error::UserFunctionError(Box::new(error))
}
