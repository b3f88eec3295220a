//! Models in folders, as sentence-transformers and transformers save them: BERT, with its tokenizer and its weights as safetensors.
//!
//! | file | what is taken from it |
//! |---|---|
//! | `config.json` | the shape of the network |
//! | `tokenizer.json` | how a text becomes tokens |
//! | `model.safetensors` | the weights |
//! | `modules.json`, `1_Pooling/config.json` | how the tokens' embeddings become the text's; without them their mean |
//! | `sentence_bert_config.json`, `tokenizer_config.json` | how many tokens of a text are read |
//!
//! Invariants:
//! 1. Whatever is in the files, loading ends in a model or an error, and takes memory in proportion to the files' sizes.

mod bert;
mod folder;
mod model;
mod settings;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use super::{EmbedError, Embedder};
use folder::Folder;
use model::Local;
use settings::Settings;

/// Loads the model that a folder holds, under a name of its own; [`super::embedder`] finds the folder by the name and keeps the model.
///
/// # Errors
/// Which file is missing, cannot be read or says what this loader does not know.
pub fn load_model(name: &str, path: &Path) -> Result<Arc<dyn Embedder>, EmbedError> {
    let folder = Folder::new(name, path);
    let settings = Settings::read(&folder)?;
    let model = guarded(|| Local::load(&folder, &settings)).map_err(|reason| folder.unusable(reason))?;
    Ok(Arc::new(model))
}

/// Runs what reads bytes that anybody may have made with libraries that panic at some; their panics are errors here.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // Nothing outlives a panic but what the libraries cache inside, which they guard themselves.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("its files make the loader fail".to_owned()))
}
