//! What to say and do when no peer is found.

use std::collections::HashSet;
use std::fmt::Display;
use std::fmt::Write as _;

use kithdb_peer::Tried;

use crate::render::visible;

/// Says what was tried, where this device can be reached, and what to do.
pub fn nobody<A: Display>(tried: &[Tried], addresses: &[A], mdns: bool) -> String {
    let mut text = String::from("no peer found yet. Tried:");
    // Writing to a string cannot fail.
    let searched = if mdns {
        "the local network by mDNS: nobody of this workspace answered"
    } else {
        "not the local network (--no-mdns)"
    };
    let _ = write!(text, "\n  {searched}");
    if tried.is_empty() {
        text.push_str("\n  no address: none was given and none is known from before");
    }
    for Tried { address, reason } in tried {
        let address = address.to_string();
        let reason = reason.as_deref().map_or("no answer yet", |reason| reason_for(&address, reason));
        let _ = write!(text, "\n  {}: {}", without_peer(&address), visible(reason));
    }
    // A device that is about to join does not listen.
    if !addresses.is_empty() {
        text.push_str("\nThis device can be reached at:");
        let mut places = Places::default();
        for address in addresses.iter().map(ToString::to_string).filter(|address| places.is_new(address)) {
            let _ = write!(text, "\n  {address}");
        }
    }
    let exchange = if addresses.is_empty() {
        "take an address that `kith sync` prints on the other device, and give it here with --peer ADDR"
    } else {
        "give an address from above to the other side, `kith sync FILE --peer ADDR`"
    };
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "\nWhat to do:\n  \
         is `kith sync` running on the other device, for the same workspace?\n  \
         mDNS is often blocked (guest Wi-Fi, VPN, company network): {exchange}\n  \
         firewall: let UDP and TCP through to this program's port; a fixed one is set with --listen /ip4/0.0.0.0/udp/4700/quic-v1\n  \
         container: publish that port, or use the host's network\n  \
         `kith doctor` checks this machine",
    );
    text
}

/// The part of a dial's outcome that is about one address; several addresses of a peer are dialled at once.
fn reason_for<'r>(address: &str, reason: &'r str) -> &'r str {
    let place = format!("{}: ", without_peer(address));
    reason.split("; ").find_map(|part| part.strip_prefix(&place)).unwrap_or(reason)
}

fn without_peer(address: &str) -> &str {
    address.split("/p2p/").next().unwrap_or(address)
}

/// The places of this device that were told: one line for each is enough, over QUIC where there is QUIC.
#[derive(Debug, Default)]
pub struct Places(HashSet<String>);

impl Places {
    /// Tells whether an address is worth a line: a new place, and none that needs an interface's name to be used.
    pub fn is_new(&mut self, address: &str) -> bool {
        let mut parts = address.split('/').skip(1);
        let (Some(family), Some(ip), _, Some(port)) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return true;
        };
        let is_narrow = family == "ip6" && (ip.starts_with("fe80:") || ip == "::1");
        !is_narrow && self.0.insert(format!("{ip} {port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_reason() {
        let reason = "/ip4/10.0.0.1/tcp/1: refused; /ip4/10.0.0.2/udp/1/quic-v1: timed out";
        assert_eq!(reason_for("/ip4/10.0.0.2/udp/1/quic-v1/p2p/X", reason), "timed out");
        assert_eq!(reason_for("/ip4/10.0.0.3/tcp/1", reason), reason);
    }

    #[test]
    fn addresses_from_above_are_named_only_if_there_are_any() {
        assert!(nobody(&[], &["/ip4/10.0.0.1/tcp/4700"], true).contains("an address from above"));
        let joining = nobody::<&str>(&[], &[], true);
        assert!(!joining.contains("above") && joining.contains("that `kith sync` prints on the other device"));
    }

    #[test]
    fn one_line_for_each_place() {
        let mut places = Places::default();
        let told = [
            "/ip4/10.0.0.1/udp/4700/quic-v1",
            "/ip4/10.0.0.1/tcp/4700",
            "/ip6/fe80::1/tcp/4700",
            "/ip6/::1/tcp/4700",
            "/ip6/fd00::2/tcp/4700",
        ]
        .map(|address| places.is_new(address));
        assert_eq!(told, [true, false, false, false, true]);
    }
}
