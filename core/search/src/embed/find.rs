//! Which model a name means.
//!
//! Invariants:
//! 1. A model is made once and then kept until the process ends; what failed is tried again when it is asked for again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::thread;
use std::time::Duration;

use super::{EmbedError, Embedder, HTTP_PREFIX, Lexical};

/// Names the folder that holds the folders of models.
const MODELS_VARIABLE: &str = "KITHDB_MODELS";

static FOUND: RwLock<BTreeMap<String, Arc<dyn Embedder>>> = RwLock::new(BTreeMap::new());
/// The models that are being made, each with what is held meanwhile, so that two that want the same one do not both load it. Whoever
/// wants another one does not wait: an endpoint that is down is asked for two minutes.
static MAKING: Mutex<BTreeMap<String, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());

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
    let turn = turn(name);
    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(model) = kept(name) {
        return Ok(model);
    }
    let made = make(name);
    if let Ok(model) = &made {
        FOUND.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Arc::clone(model));
    }
    MAKING.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    made
}

/// Finds a model like [`embedder`], but waits for an endpoint only so long; it goes on being asked, so that it may be there the next time.
///
/// # Errors
/// As [`embedder`], and that the endpoint has not answered yet.
pub(crate) fn embedder_within(name: &str, limit: Duration) -> Result<Arc<dyn Embedder>, EmbedError> {
    if !name.starts_with(HTTP_PREFIX) || kept(name).is_some() {
        return embedder(name);
    }
    let (say, said) = mpsc::channel();
    let asked = name.to_owned();
    // Nobody listens any more where it came too late.
    let begun = thread::Builder::new().name("kith-embed-find".to_owned()).spawn(move || say.send(embedder(&asked)));
    let waited = begun.ok().and_then(|_| said.recv_timeout(limit).ok());
    waited.unwrap_or_else(|| {
        let reason = format!("the endpoint has said nothing for {limit:?}");
        Err(EmbedError::Unavailable { model: name.to_owned(), reason })
    })
}

/// Returns what is held while a model is made.
fn turn(name: &str) -> Arc<Mutex<()>> {
    Arc::clone(MAKING.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default())
}

fn kept(name: &str) -> Option<Arc<dyn Embedder>> {
    FOUND.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
}

fn make(name: &str) -> Result<Arc<dyn Embedder>, EmbedError> {
    match name.strip_prefix(HTTP_PREFIX) {
        Some(remote) => at_endpoint(name, remote),
        None => in_folder(name, &folder(name, std::env::var_os(MODELS_VARIABLE))?),
    }
}

#[cfg(feature = "http-models")]
fn at_endpoint(name: &str, remote: &str) -> Result<Arc<dyn Embedder>, EmbedError> {
    super::http::connect(name, remote)
}

#[cfg(not(feature = "http-models"))]
fn at_endpoint(name: &str, _: &str) -> Result<Arc<dyn Embedder>, EmbedError> {
    Err(EmbedError::NotBuilt { model: name.to_owned(), feature: "http-models" })
}

#[cfg(feature = "local-models")]
fn in_folder(name: &str, path: &Path) -> Result<Arc<dyn Embedder>, EmbedError> {
    super::local::load_model(name, path)
}

#[cfg(not(feature = "local-models"))]
fn in_folder(name: &str, _: &Path) -> Result<Arc<dyn Embedder>, EmbedError> {
    Err(EmbedError::NotBuilt { model: name.to_owned(), feature: "local-models" })
}

/// Returns the folder of a model, which must be there.
fn folder(name: &str, models: Option<OsString>) -> Result<PathBuf, EmbedError> {
    // A name in SQL must not reach other folders than those that the user set aside.
    let is_plain =
        matches!(Path::new(name).components().collect::<Vec<_>>()[..], [Component::Normal(only)] if only == name);
    let Some(models) = models.filter(|models| is_plain && !models.is_empty()) else {
        return Err(EmbedError::UnknownModel { name: name.to_owned() });
    };
    let path = PathBuf::from(models).join(name);
    if path.is_dir() {
        return Ok(path);
    }
    Err(EmbedError::Unusable {
        model: name.to_owned(),
        reason: format!("there is no folder {}", path.display()),
        remedy: format!("put the model's files there, or set {MODELS_VARIABLE} to the folder that holds it"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_looked_for_in_the_folder_set_aside_and_nowhere_else() {
        let models = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(models.path().join("small/inner")).unwrap();
        let look = |name: &str| folder(name, Some(models.path().join("small").into_os_string()));
        assert_eq!(look("inner").unwrap(), models.path().join("small").join("inner"));
        for name in ["", ".", "..", "../small", "inner/", "inner/.", "/tmp", "inner/../inner"] {
            assert_eq!(look(name), Err(EmbedError::UnknownModel { name: name.to_owned() }), "{name}");
        }
        let error = look("other").unwrap_err().to_string();
        assert!(error.contains("there is no folder") && error.contains("or set KITHDB_MODELS to"), "{error}");
        let error = folder("inner", None).unwrap_err().to_string();
        assert!(error.contains("for those set KITHDB_MODELS to the folder that holds"), "{error}");
    }

    #[test]
    fn a_model_that_is_being_made_keeps_nobody_from_another_one() {
        let turn = turn("slow");
        let _turn = turn.lock().unwrap();
        let (say, said) = mpsc::channel();
        thread::spawn(move || say.send(embedder("no/other").is_err()));
        assert_eq!(said.recv_timeout(Duration::from_secs(10)), Ok(true));
        assert!(!MAKING.lock().unwrap().contains_key("no/other"));
    }

    #[test]
    fn what_failed_is_looked_for_again() {
        for _ in 0..2 {
            assert!(matches!(embedder("no/such"), Err(EmbedError::UnknownModel { .. })));
        }
        assert!(FOUND.read().unwrap().get("no/such").is_none());
    }
}
