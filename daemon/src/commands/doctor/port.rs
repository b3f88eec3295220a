//! Whether the port of a peer can be had, and who has it if not.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;

use kithdb_core::file::shell_word;

use super::{Check, Verdict, check};

/// Checks the port asked for; if none was, the one chosen for the file; if there is none, any.
pub fn check_port(asked: u16, of_file: Option<(u16, &Path)>) -> Check {
    let of_file = of_file.filter(|_| asked == 0);
    let port = of_file.map_or(asked, |(port, _)| port);
    let name = match of_file {
        Some((port, path)) => format!("port {port}, which `kith sync {}` uses,", shell_word(path)),
        None if port == 0 => "a port of the system's choice".to_owned(),
        None => format!("port {port}"),
    };
    let (protocol, error) = match bind(port) {
        Ok(()) => {
            let detail = format!(
                "{name} is free for UDP (QUIC) and TCP; whether a firewall lets others in cannot be seen from here"
            );
            return check("port", Verdict::Ok, detail);
        }
        Err(failure) => failure,
    };
    if error.kind() != io::ErrorKind::AddrInUse {
        return check("port", Verdict::Failed, format!("{name} cannot be listened on for {protocol}: {error}"));
    }
    if let Some((port, path)) = of_file
        && kithdb_peer::is_running(path)
    {
        return check("port", Verdict::Ok, format!("a peer of this file is running, at port {port}"));
    }
    let holder = holder(protocol, port).unwrap_or_else(|| "another program".to_owned());
    let taken = format!("{name} is taken for {protocol} by {holder}");
    match of_file {
        Some(_) => check(
            "port",
            Verdict::Warning,
            format!(
                "{taken}; `kith sync` will choose another one, and tickets made before name the old: end that program first"
            ),
        ),
        None => check("port", Verdict::Failed, format!("{taken}; end that program or use another port")),
    }
}

fn bind(port: u16) -> Result<(), (&'static str, io::Error)> {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(|error| ("UDP", error))?;
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(|error| ("TCP", error))?;
    Ok(())
}

/// Names the program that holds a port, as far as the system lets this user see.
#[cfg(target_os = "linux")]
fn holder(protocol: &str, port: u16) -> Option<String> {
    let sockets = sockets(&protocol.to_ascii_lowercase(), port);
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // Of others' processes only root sees the files.
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let links = files.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
        if links.into_iter().any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str())) {
            let name = std::fs::read_to_string(process.path().join("comm")).ok()?;
            return Some(format!("{} (process {id})", crate::render::visible(name.trim_end())));
        }
    }
    None
}

/// Lists the sockets at a port, as `/proc/PID/fd` names them.
#[cfg(target_os = "linux")]
fn sockets(protocol: &str, port: u16) -> Vec<String> {
    let mut found = Vec::new();
    for table in [format!("/proc/net/{protocol}"), format!("/proc/net/{protocol}6")] {
        let table = std::fs::read_to_string(table).unwrap_or_default();
        for line in table.lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (Some(local), Some(inode)) = (fields.get(1), fields.get(9)) else { continue };
            if local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok()) == Some(port) {
                found.push(format!("socket:[{inode}]"));
            }
        }
    }
    found
}

#[cfg(not(target_os = "linux"))]
fn holder(_protocol: &str, _port: u16) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_port_of_a_file_is_a_warning_that_names_who_holds_it() {
        let held = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let found = check_port(0, Some((port, Path::new("nowhere/my notes.db"))));
        assert_eq!(found.verdict, Verdict::Warning);
        assert!(
            found.detail.starts_with(&format!(
                "port {port}, which `kith sync 'nowhere/my notes.db'` uses, is taken for UDP by "
            )),
            "{}",
            found.detail
        );
        if cfg!(target_os = "linux") {
            assert!(found.detail.contains(&format!("(process {})", std::process::id())), "{}", found.detail);
        }
        assert_eq!(check_port(port, None).verdict, Verdict::Failed);
    }
}
