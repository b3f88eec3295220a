//! What to do when no peer is found.

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
        let _ = write!(text, "\n  {address}: {}", visible(reason.as_deref().unwrap_or("no answer yet")));
    }
    text.push_str("\nThis device can be reached at:");
    if addresses.is_empty() {
        text.push_str("\n  no address: it does not listen");
    }
    for address in addresses {
        let _ = write!(text, "\n  {address}");
    }
    text.push_str(
        "\nWhat to do:\n  \
         is `kith sync` running on the other device, for the same workspace?\n  \
         mDNS is often blocked (guest Wi-Fi, VPN, company network): give an address from above to the other side, `kith sync FILE --peer ADDR`\n  \
         firewall: let UDP and TCP through to this program's port; a fixed one is set with --listen /ip4/0.0.0.0/udp/4700/quic-v1\n  \
         container: publish that port, or use the host's network\n  \
         `kith doctor` checks this machine",
    );
    text
}
