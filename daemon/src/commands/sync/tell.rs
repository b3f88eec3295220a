//! Tells what a peer does: a line for what people care about, a bar while entries come in, or one JSON object an event.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use kithdb_peer::{PeerEvent, PeerStatus};
use serde_json::{Value, json};

use crate::commands::advice::{self, Places};
use crate::human;
use crate::render::visible;
use crate::report::Output;

/// Prints events.
pub struct Teller {
    output: Output,
    bar: Option<ProgressBar>,
    started: Instant,
    merged: u64,
    /// Entries that were refused since the start, and that wait as of the last merge.
    refused: u64,
    waiting: u64,
    places: Places,
}

impl Teller {
    /// Prints to standard output.
    pub fn new(output: Output) -> Self {
        Self {
            output,
            bar: None,
            started: Instant::now(),
            merged: 0,
            refused: 0,
            waiting: 0,
            places: Places::default(),
        }
    }

    /// Prints one event.
    pub fn tell(&mut self, event: &PeerEvent) -> io::Result<()> {
        match event {
            PeerEvent::Applied { operations, waiting, .. } => {
                self.merged += operations;
                self.waiting = *waiting;
            }
            PeerEvent::Forged { .. } => self.refused += 1,
            _ => {}
        }
        if self.output.json {
            let mut value = json_of(event);
            value["elapsed_ms"] = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).into();
            return self.output.line(value);
        }
        self.advance_bar(event);
        if matches!(event, PeerEvent::Listening { address } if !self.places.is_new(&address.to_string())) {
            return Ok(());
        }
        let Some(mut line) = text_of(event) else { return Ok(()) };
        if matches!(event, PeerEvent::InStep { .. }) {
            line.push_str(&kept_out(self.refused, self.waiting));
        }
        self.line(&visible_lines(&line))
    }

    /// Tells a person that the end takes time.
    pub fn ending(&self) -> io::Result<()> {
        if self.output.json { Ok(()) } else { self.line("ending; press Ctrl-C again to end at once") }
    }

    /// Prints what it came to.
    pub fn end(&mut self, status: Option<&PeerStatus>, elapsed: Duration) -> io::Result<()> {
        self.hide_bar();
        let sessions = status.map(|status| status.sessions.as_slice()).unwrap_or_default();
        let sum =
            |of: fn(&kithdb_peer::Traffic) -> u64| sessions.iter().map(|session| of(&session.traffic)).sum::<u64>();
        let (sent, received) = (sum(|traffic| traffic.sent_bytes), sum(|traffic| traffic.received_bytes));
        if self.output.json {
            return self.output.line(json!({
                "event": "stopped", "sent_bytes": sent, "received_bytes": received, "open_sessions": sessions.len(),
                "operations_merged": self.merged, "elapsed_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            }));
        }
        let traffic = if sessions.is_empty() {
            String::new()
        } else {
            format!("; over the open sessions {} sent, {} received", human::bytes(sent), human::bytes(received))
        };
        self.line(&format!("stopped after {}{traffic}", human::elapsed(elapsed)))
    }

    fn line(&self, line: &str) -> io::Result<()> {
        let write = || {
            let mut out = io::stdout().lock();
            writeln!(out, "{line}")?;
            out.flush()
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn advance_bar(&mut self, event: &PeerEvent) {
        match event {
            PeerEvent::Progress { have_entries, want_entries, received_bytes, .. } if self.output.is_watched() => {
                let bar = self.bar.get_or_insert_with(|| {
                    let bar = ProgressBar::new(0);
                    if let Ok(style) =
                        ProgressStyle::with_template("receiving {bar:30} {human_pos}/{human_len} entries, {msg}")
                    {
                        bar.set_style(style);
                    }
                    bar
                });
                bar.set_length(*want_entries);
                bar.set_position(*have_entries);
                bar.set_message(human::bytes(*received_bytes));
            }
            PeerEvent::CaughtUp { .. } | PeerEvent::Disconnected { .. } => self.hide_bar(),
            _ => {}
        }
    }

    fn hide_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Says which of the entries that both sides hold are not in the tables.
fn kept_out(refused: u64, waiting: u64) -> String {
    let mut text = String::new();
    if refused > 0 {
        text.push_str(&format!("; {} refused, see `kith log`", human::counted(refused, "entry")));
    }
    if waiting > 0 {
        text.push_str(&format!("; {}", waits(waiting)));
    }
    text
}

fn waits(entries: u64) -> String {
    format!("{} {}", human::counted(entries, "entry"), if entries == 1 { "waits" } else { "wait" })
}

/// Makes each line safe for a terminal.
fn visible_lines(text: &str) -> String {
    text.lines().map(visible).collect::<Vec<_>>().join("\n")
}

/// The line for people; none for what only programs care about.
fn text_of(event: &PeerEvent) -> Option<String> {
    Some(match event {
        PeerEvent::Listening { address } => format!("listening at {address}"),
        PeerEvent::PortBusy { wanted, taken } => {
            format!(
                "port {wanted} is taken by another program; listening at {taken}: tickets made before name the old port"
            )
        }
        PeerEvent::ListenFailed { address, reason } => format!("cannot listen at {address}: {reason}"),
        PeerEvent::MdnsFailed { reason } => {
            format!("the local network cannot be searched ({reason}); use --peer ADDR to reach others")
        }
        PeerEvent::NoPeerYet { tried, addresses, mdns } => advice::nobody(tried, addresses, *mdns),
        PeerEvent::Connected { device, address, path, .. } => format!("connected to {device} at {address} over {path}"),
        PeerEvent::Disconnected { device, reason, .. } => format!("disconnected from {device}: {reason}"),
        PeerEvent::Refused { address, reason } => format!("refused {address}: {reason}"),
        PeerEvent::CaughtUp { device, .. } => format!("have everything {device} has"),
        PeerEvent::InStep { device, .. } => format!("holds the same entries as {device}"),
        PeerEvent::Sealed { transactions: 0, rows_taken_up: 0 } => return None,
        PeerEvent::Sealed { transactions: 0, rows_taken_up } => {
            format!("took up {} from before sync", human::counted(*rows_taken_up, "row"))
        }
        PeerEvent::Sealed { transactions, .. } => format!("sealed {}", human::counted(*transactions, "transaction")),
        PeerEvent::Applied { entries: 0, tables_created, .. } if tables_created.is_empty() => return None,
        PeerEvent::Applied { operations, rows, tables_created, waiting, .. } => {
            let mut line = format!("merged {}", human::counted(*operations, "change"));
            if !rows.is_empty() {
                // A row that several changes touch is written several times.
                let writes =
                    rows.iter().map(|(table, count)| format!("{} to {table}", human::counted(*count, "write")));
                line.push_str(&format!("; {}", writes.collect::<Vec<_>>().join(", ")));
            }
            if !tables_created.is_empty() {
                line.push_str(&format!("; made {}", tables_created.join(", ")));
            }
            if *waiting > 0 {
                line.push_str(&format!("; {}", waits(*waiting)));
            }
            line
        }
        PeerEvent::TriggersLeftOut { reason } => {
            format!(
                "a trigger stopped a merge, which was done without triggers, so that what they write is missing: {reason}"
            )
        }
        PeerEvent::Torn { transactions } => {
            format!(
                "merged {} without a part that did not arrive in time",
                human::counted(*transactions, "transaction")
            )
        }
        PeerEvent::Forged { device, sequence, reason } => {
            let who = device.as_ref().map_or_else(|| "a device".to_owned(), ToString::to_string);
            let which = sequence.map_or_else(String::new, |sequence| format!(" {}", sequence.get()));
            format!("refused entry{which} in the name of {who}: {reason}")
        }
        PeerEvent::Damaged { device, sequence } => format!(
            "an entry of this file's log is damaged; restore a backup or join again with a new file (entry {} of {device})",
            sequence.get()
        ),
        PeerEvent::Fork { device, sequence } => {
            format!("{device} signed two entries with number {}; the first to arrive is kept", sequence.get())
        }
        PeerEvent::ClockAhead { device, ahead_ms } => format!(
            "the clock of {device} is {} ahead; its entry is merged when its time has come",
            human::elapsed(Duration::from_millis(*ahead_ms))
        ),
        PeerEvent::OwnStreamAhead { reason } => format!("this file goes on as a new incarnation: {reason}"),
        PeerEvent::WrittenAnew { reason, operations } => format!(
            "{reason}: {} written since the restore go on under a new incarnation beside what had been published, nothing is lost",
            human::counted(*operations, "change")
        ),
        PeerEvent::JoinAsked { author } => format!("a device asks to join ({})", author.short()),
        PeerEvent::Admitted { device } => format!("let {device} in"),
        PeerEvent::JoinRefused { author, reason } => format!("turned a device away ({}): {reason}", author.short()),
        PeerEvent::MembersChanged { .. } => "others' invitations and admissions arrived".to_owned(),
        PeerEvent::ReceivingPaused { disk_full: true, for_ms } => {
            format!(
                "the disk is full: receiving waits {}, free some space",
                human::elapsed(Duration::from_millis(*for_ms))
            )
        }
        PeerEvent::ReceivingPaused { disk_full: false, for_ms } => {
            format!("the database takes no entries: receiving waits {}", human::elapsed(Duration::from_millis(*for_ms)))
        }
        PeerEvent::ReceivingResumed => "receiving goes on".to_owned(),
        PeerEvent::Delayed { reason } => format!("tried again soon: {reason}"),
        PeerEvent::Stopped { reason } => format!("stopped: {reason}"),
        _ => return None,
    })
}

/// The object for programs: what happened, with what to do where nobody was found.
fn json_of(event: &PeerEvent) -> Value {
    let mut value = event.to_json();
    if let PeerEvent::NoPeerYet { addresses, mdns, .. } = event {
        let advice = advice::nobody(&[], addresses, *mdns);
        value["advice"] = advice.split_once("What to do:").map(|(_, advice)| advice.trim()).into();
    }
    value
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn merges_are_told_as_writes_and_what_waits_in_good_grammar() {
        let applied = |waiting| PeerEvent::Applied {
            entries: 2,
            operations: 3,
            rows: BTreeMap::from([("notes".to_owned(), 1), ("tags".to_owned(), 2)]),
            tables_created: vec!["notes".to_owned()],
            waiting,
        };
        let told = |waiting| text_of(&applied(waiting)).unwrap();
        assert_eq!(told(0), "merged 3 changes; 1 write to notes, 2 writes to tags; made notes");
        assert!(told(1).ends_with("; 1 entry waits") && told(2).ends_with("; 2 entries wait"));
        assert_eq!(kept_out(0, 0), "");
        assert_eq!(kept_out(1, 2), "; 1 entry refused, see `kith log`; 2 entries wait");
    }
}
