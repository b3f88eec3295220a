//! Which model a name means.
//!
//! Invariants:
//! 1. A model is made once and then kept until the process ends; what failed is tried again when it is asked for again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::{EmbedError, Embedder, HTTP_PREFIX, Lexical};

static FOUND: RwLock<BTreeMap<String, Arc<dyn Embedder>>> = RwLock::new(BTreeMap::new());
/// Held while a model is made, so that two that want the same one do not both load it.
static MAKING: Mutex<()> = Mutex::new(());

/// Finds a model by its name: `lexical-1`, `openai:NAME` of an HTTP endpoint, or a folder that `KITHDB_MODELS` holds. The first call
/// for a model loads it, which takes a local one about a second and asks an endpoint for a first embedding; later ones are cheap.
///
/// # Errors
/// That there is none of that name, that this build cannot use it, or what it lacks.
pub fn embedder(name: &str) -> Result<Arc<dyn Embedder>, EmbedError> {
    if name == Lexical::MODEL {
        return Ok(Arc::new(Lexical));
    }
    if let Some(model) = kept(name) {
        return Ok(model);
    }
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(model) = kept(name) {
        return Ok(model);
    }
    let model = make(name)?;
    FOUND.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Arc::clone(&model));
    Ok(model)
}

fn kept(name: &str) -> Option<Arc<dyn Embedder>> {
    FOUND.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
}

fn make(name: &str) -> Result<Arc<dyn Embedder>, EmbedError> {
    if name.starts_with(HTTP_PREFIX) {
        return Err(EmbedError::NotBuilt { model: name.to_owned(), feature: "http-models" });
    }
    Err(EmbedError::UnknownModel { name: name.to_owned() })
}
