//! Why a text could not be embedded.

use super::{HTTP_PREFIX, Lexical};

/// Reports why a text could not be embedded. No message holds a key or a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// A name that no maker of embeddings knows.
    #[error(
        "there is no embedding model {name:?}: there are {}, {HTTP_PREFIX}NAME of an HTTP endpoint, and those in folders; for those set \
         KITHDB_MODELS to the folder that holds the folder of that name",
        Lexical::MODEL
    )]
    UnknownModel {
        /// The name given.
        name: String,
    },
    /// A model whose maker this build lacks.
    #[error(
        "the embedding model {model:?} needs a build with the cargo feature {feature}: build with --features {feature}"
    )]
    NotBuilt {
        /// The model's name.
        model: String,
        /// The feature that brings it.
        feature: &'static str,
    },
    /// A model that is not set up, or not rightly.
    #[error("the embedding model {model:?} cannot be used: {reason}; {remedy}")]
    Unusable {
        /// The model's name.
        model: String,
        /// What is wrong.
        reason: String,
        /// The command or setting that helps.
        remedy: String,
    },
    /// A model that cannot answer now, and may later.
    #[error("the embedding model {model:?} does not answer: {reason}; try again later")]
    Unavailable {
        /// The model's name.
        model: String,
        /// What kept it from answering.
        reason: String,
    },
    /// A model that answered something else than embeddings of the texts.
    #[error("the embedding model {model:?} gave a wrong answer: {reason}")]
    WrongAnswer {
        /// The model's name.
        model: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Neither text nor NULL.
    #[error("kith_embed takes a text and, if another model than {} is meant, its name", Lexical::MODEL)]
    NotText,
}

impl EmbedError {
    /// Whether the same call may do later without anybody setting something right.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
