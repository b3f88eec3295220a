//! Events and states as JSON, the same for every program that shows them.

use serde_json::{Value, json};

use crate::event::{PeerEvent, Tried};
use crate::status::PeerStatus;

impl PeerEvent {
    /// Returns the event as an object: its name under `event`, the rest under the names of its fields.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Listening { address } => json!({ "event": "listening", "address": address.to_string() }),
            Self::PortBusy { wanted, taken } => json!({ "event": "port_busy", "wanted": wanted, "taken": taken }),
            Self::ListenFailed { address, reason } => {
                json!({ "event": "listen_failed", "address": address.to_string(), "reason": reason })
            }
            Self::MdnsFailed { reason } => json!({ "event": "mdns_failed", "reason": reason }),
            Self::PeerFound { address } => json!({ "event": "peer_found", "address": address.to_string() }),
            Self::NoPeerYet { tried, addresses, mdns } => {
                let tried: Vec<_> = tried.iter().map(tried_json).collect();
                json!({
                    "event": "no_peer_yet", "tried": tried, "mdns": mdns,
                    "addresses": addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
                })
            }
            Self::DialFailed { address, reason } => {
                json!({ "event": "dial_failed", "address": address.to_string(), "reason": reason })
            }
            Self::Connected { session, device, address, path } => json!({
                "event": "connected", "session": session.0, "device": device.name, "author": device.author.to_string(),
                "address": address.to_string(), "path": path.to_string(),
            }),
            Self::Disconnected { session, device, reason } => {
                json!({ "event": "disconnected", "session": session.0, "device": device.name, "reason": reason })
            }
            Self::Refused { address, reason } => {
                json!({ "event": "refused", "address": address.to_string(), "reason": reason })
            }
            Self::Progress { session, device, have_entries, want_entries, received_bytes } => json!({
                "event": "progress", "session": session.0, "device": device.name, "have_entries": have_entries,
                "want_entries": want_entries, "received_bytes": received_bytes,
            }),
            Self::CaughtUp { session, device } => {
                json!({ "event": "caught_up", "session": session.0, "device": device.name })
            }
            Self::InStep { session, device } => {
                json!({ "event": "in_step", "session": session.0, "device": device.name })
            }
            Self::Sealed { transactions, rows_taken_up } => {
                json!({ "event": "sealed", "transactions": transactions, "rows_taken_up": rows_taken_up })
            }
            Self::Applied { entries, operations, rows, tables_created, waiting } => json!({
                "event": "applied", "entries": entries, "operations": operations, "rows": rows,
                "tables_created": tables_created, "waiting": waiting,
            }),
            Self::TriggersLeftOut { reason } => json!({ "event": "triggers_left_out", "reason": reason }),
            Self::Torn { transactions } => json!({ "event": "torn", "transactions": transactions }),
            Self::Forged { device, sequence, reason } => json!({
                "event": "forged", "device": device.as_ref().map(|device| &device.name),
                "sequence": sequence.map(|sequence| sequence.get()), "reason": reason,
            }),
            Self::Damaged { device, sequence } => {
                json!({ "event": "damaged", "device": device.name, "sequence": sequence.get() })
            }
            Self::Fork { device, sequence } => {
                json!({ "event": "fork", "device": device.name, "sequence": sequence.get() })
            }
            Self::ClockAhead { device, ahead_ms } => {
                json!({ "event": "clock_ahead", "device": device.name, "ahead_ms": ahead_ms })
            }
            Self::OwnStreamAhead { reason } => json!({ "event": "new_incarnation", "reason": reason }),
            Self::WrittenAnew { reason, operations } => {
                json!({ "event": "written_anew", "reason": reason, "operations": operations })
            }
            Self::JoinAsked { author } => json!({ "event": "join_asked", "author": author.to_string() }),
            Self::Admitted { device } => {
                json!({ "event": "admitted", "device": device.name, "author": device.author.to_string() })
            }
            Self::JoinRefused { author, reason } => {
                json!({ "event": "join_refused", "author": author.to_string(), "reason": reason })
            }
            Self::MembersChanged { operations } => json!({ "event": "members_changed", "operations": operations }),
            Self::ReceivingPaused { disk_full, for_ms } => {
                json!({ "event": "receiving_paused", "disk_full": disk_full, "for_ms": for_ms })
            }
            Self::ReceivingResumed => json!({ "event": "receiving_resumed" }),
            Self::Delayed { reason } => json!({ "event": "delayed", "reason": reason }),
            Self::Stopped { reason } => json!({ "event": "failed", "reason": reason }),
        }
    }
}

impl PeerStatus {
    /// Returns the state as an object.
    pub fn to_json(&self) -> Value {
        let sessions = self.sessions.iter().map(|session| {
            json!({
                "device": session.device.name, "author": session.device.author.to_string(),
                "address": session.address.to_string(), "path": session.path.to_string(), "caught_up": session.caught_up,
                "sent_bytes": session.traffic.sent_bytes, "received_bytes": session.traffic.received_bytes,
            })
        });
        json!({
            "peer_id": self.peer_id.to_string(),
            "addresses": self.listening.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "sessions": sessions.collect::<Vec<_>>(),
            "tried": self.tried.iter().map(tried_json).collect::<Vec<_>>(),
        })
    }
}

fn tried_json(tried: &Tried) -> Value {
    json!({ "address": tried.address.to_string(), "reason": tried.reason })
}
