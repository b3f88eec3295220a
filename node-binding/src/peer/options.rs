//! Options as JavaScript gives them: as JSON, checked there for their names and kinds.

use std::time::Duration;

use kithdb_peer::{Address, JoinOptions, Listen, PeerConfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::js::{Answer, Thrown, type_error};

/// Where to listen.
#[derive(Deserialize)]
#[serde(untagged)]
enum ListenGiven {
    Switch(bool),
    Port(u16),
    Name(String),
    Addresses(Vec<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OpenGiven {
    listen: Option<ListenGiven>,
    mdns: Option<bool>,
    gossip: Option<bool>,
    #[serde(default)]
    peers: Vec<String>,
    dial_past_peers: Option<bool>,
    report_after_ms: Option<u32>,
    busy_timeout_ms: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JoinGiven {
    name: String,
    #[serde(default)]
    peers: Vec<String>,
    mdns: Option<bool>,
    timeout_ms: Option<u32>,
    merge_by_key: Option<bool>,
}

fn read<T: DeserializeOwned>(json: &str) -> Answer<T> {
    serde_json::from_str(json).map_err(|error| Thrown::Type(format!("the options cannot be read: {error}")))
}

fn addresses(given: &[String]) -> Answer<Vec<Address>> {
    given.iter().map(|text| text.parse().or_else(|error| type_error(format!("{text:?}: {error}")))).collect()
}

fn milliseconds(given: Option<u32>, default: Duration) -> Duration {
    given.map_or(default, |ms| Duration::from_millis(ms.into()))
}

/// Reads a list of addresses.
pub(crate) fn read_addresses(json: &str) -> Answer<Vec<Address>> {
    addresses(&read::<Vec<String>>(json)?)
}

/// Reads how a peer is started.
pub(crate) fn read_config(json: &str) -> Answer<PeerConfig> {
    let given: OpenGiven = read(json)?;
    let defaults = PeerConfig::default();
    let listen = match given.listen {
        None | Some(ListenGiven::Switch(true)) => Listen::Everywhere,
        Some(ListenGiven::Switch(false)) => Listen::Nowhere,
        Some(ListenGiven::Port(port)) => Listen::Port(port),
        Some(ListenGiven::Name(name)) if name == "loopback" => Listen::Loopback,
        Some(ListenGiven::Name(address)) => Listen::At(addresses(&[address])?),
        Some(ListenGiven::Addresses(given)) => Listen::At(addresses(&given)?),
    };
    Ok(PeerConfig {
        listen,
        mdns: given.mdns.unwrap_or(defaults.mdns),
        gossip: given.gossip.unwrap_or(defaults.gossip),
        peers: addresses(&given.peers)?,
        dial_past_peers: given.dial_past_peers.unwrap_or(defaults.dial_past_peers),
        report_after: milliseconds(given.report_after_ms, defaults.report_after),
        busy_timeout: milliseconds(given.busy_timeout_ms, defaults.busy_timeout),
    })
}

/// Reads how a workspace is joined.
pub(crate) fn read_join(json: &str) -> Answer<JoinOptions> {
    let given: JoinGiven = read(json)?;
    let defaults = JoinOptions::new(given.name);
    Ok(JoinOptions {
        peers: addresses(&given.peers)?,
        mdns: given.mdns.unwrap_or(defaults.mdns),
        give_up_after: milliseconds(given.timeout_ms, defaults.give_up_after),
        merge_by_key: given.merge_by_key.unwrap_or(defaults.merge_by_key),
        ..defaults
    })
}
