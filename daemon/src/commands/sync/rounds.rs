//! Rounds of `kith sync --once` that bring nothing: an entry that the other side cannot give whole is not asked for without end.

use anyhow::{Result, bail};
use kithdb_peer::PeerEvent;

/// How many rounds in a row may bring nothing but what is refused.
const VAIN_MAX: u32 = 2;

/// What the present round brought, and how many brought nothing.
#[derive(Debug, Default)]
pub struct Rounds {
    refused: Option<String>,
    is_new: bool,
    vain: u32,
}

impl Rounds {
    /// Notes what matters of an event.
    pub fn note(&mut self, event: &PeerEvent) {
        match event {
            PeerEvent::Progress { .. } => self.is_new = true,
            PeerEvent::Forged { device, sequence, reason } => {
                let who = device.as_ref().map_or_else(|| "a device".to_owned(), ToString::to_string);
                let what =
                    sequence.map_or_else(|| "something".to_owned(), |sequence| format!("entry {}", sequence.get()));
                self.refused.get_or_insert_with(|| format!("{what} of {who} could not be had: {reason}"));
            }
            PeerEvent::Fork { device, sequence } => {
                let sequence = sequence.get();
                self.refused.get_or_insert_with(|| {
                    format!("entry {sequence} of {device} could not be had: {device} signed two with this number, and another one is kept here")
                });
            }
            _ => {}
        }
    }

    /// Tells whether something was refused in this round.
    pub const fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Ends a round; fails if another one is of no use.
    pub fn end(&mut self) -> Result<()> {
        let is_new = std::mem::take(&mut self.is_new);
        match self.refused.take().filter(|_| !is_new) {
            Some(refused) => {
                self.vain += 1;
                if self.vain >= VAIN_MAX {
                    bail!("{refused}; sync with another device that has it, or run `kith verify` where it came from");
                }
            }
            None => self.vain = 0,
        }
        Ok(())
    }
}
