//! Where requests go and with which key, as the environment says.

use std::fmt;
use std::net::IpAddr;

use ureq::http::{HeaderValue, Uri};

use super::super::EmbedError;

const URL: &str = "KITHDB_EMBEDDINGS_URL";
const KEY: &str = "KITHDB_EMBEDDINGS_KEY";
const DEFAULT_URL: &str = "https://api.openai.com/v1";
/// What the programs of the company at [`DEFAULT_URL`] read; it is not meant for others.
const DEFAULT_KEY: &str = "OPENAI_API_KEY";

/// An endpoint that may be asked.
pub struct Endpoint {
    pub url: String,
    pub is_encrypted: bool,
    pub is_loopback: bool,
    pub key: Option<Key>,
}

/// A key as it is sent. It prints as nothing.
#[derive(Clone)]
pub struct Key(String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// The value of the header `Authorization`, which does not print either; `None` if no header can hold it.
    pub fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Takes the key out of what others wrote.
    pub fn hide_in(&self, text: &str) -> String {
        text.replace(&self.0, "…")
    }
}

/// What is wrong with the environment.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    pub reason: String,
    pub remedy: String,
}

impl Wrong {
    pub fn of(self, model: &str) -> EmbedError {
        EmbedError::Unusable { model: model.to_owned(), reason: self.reason, remedy: self.remedy }
    }
}

fn wrong<T>(reason: impl Into<String>, remedy: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { reason: reason.into(), remedy: remedy.into() })
}

impl Endpoint {
    /// Reads the environment.
    pub fn of_environment(get: impl Fn(&str) -> Option<String>) -> Result<Self, Wrong> {
        let get = |variable: &str| get(variable).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let own_url = get(URL);
        let own_key = get(KEY).map(|key| (KEY, key));
        let (url, key) = match own_url {
            Some(url) => (url, own_key),
            None => (DEFAULT_URL.to_owned(), own_key.or_else(|| get(DEFAULT_KEY).map(|key| (DEFAULT_KEY, key)))),
        };
        if url == DEFAULT_URL && key.is_none() {
            return wrong(
                format!("{DEFAULT_URL} wants a key"),
                format!(
                    "set {DEFAULT_KEY} to it, or {URL} to the address of another endpoint, as http://127.0.0.1:8080/v1"
                ),
            );
        }
        let (is_encrypted, is_loopback) = places(&url)?;
        let key = match key {
            None => None,
            Some((variable, key)) => {
                let key = Key(key);
                if key.header().is_none() {
                    return wrong(
                        format!("{variable} holds what no key does"),
                        format!("set {variable} to the key alone"),
                    );
                }
                Some(key)
            }
        };
        if key.is_some() && !is_encrypted && !is_loopback {
            return wrong(
                "the key would go over the network unencrypted",
                format!("set {URL} to an address that begins with https://"),
            );
        }
        Ok(Self { url: format!("{}/embeddings", url.trim_end_matches('/')), is_encrypted, is_loopback, key })
    }
}

/// Whether an address is reached over TLS, and whether it is on this machine.
fn places(url: &str) -> Result<(bool, bool), Wrong> {
    // The address itself is not told: it may hold a password.
    let remedy = format!("set {URL} to an address such as {DEFAULT_URL} or http://127.0.0.1:8080/v1");
    let Ok(uri) = url.parse::<Uri>() else { return wrong(format!("{URL} holds no address"), remedy) };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return wrong(format!("{URL} holds no whole address"), remedy);
    };
    if !["http", "https"].contains(&scheme) {
        return wrong(format!("{URL} begins with neither http:// nor https://"), remedy);
    }
    if authority.as_str().contains('@') || uri.query().is_some() {
        return wrong(format!("{URL} holds a user or a query"), format!("{remedy}, and {KEY} to the key"));
    }
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    Ok((scheme == "https", is_loopback))
}
