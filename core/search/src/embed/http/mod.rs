//! Models of an HTTP endpoint that speaks as OpenAI's `POST /embeddings` does: the company's own, or that of a program on this machine
//! or in this network (llama.cpp, Ollama, vLLM and others).
//!
//! Invariants:
//! 1. Where a request goes, and with which key, is said by the environment alone: never by a statement, a file or a peer.
//! 2. The key is in the header of a request and nowhere else: no message, no log, no database. It leaves the machine only over TLS.
//! 3. An answer takes memory in proportion to what was asked, and what is handed on has the right count, length and finite numbers.

mod answer;
mod call;
mod endpoint;
mod model;
#[cfg(test)]
mod tests;

use std::env;
use std::sync::Arc;

use super::{EmbedError, Embedder};
use call::{Client, Pace};
use endpoint::Endpoint;
use model::Remote;

/// Asks the endpoint for a first embedding, which tells whether it has the model and how long its embeddings are.
///
/// # Errors
/// What is to be set in the environment, or what the endpoint said.
pub(super) fn connect(name: &str, remote: &str) -> Result<Arc<dyn Embedder>, EmbedError> {
    let endpoint = Endpoint::of_environment(|variable| env::var(variable).ok()).map_err(|wrong| wrong.of(name))?;
    Ok(Arc::new(Remote::connect(name, remote, Client::new(endpoint, Pace::default()))?))
}
