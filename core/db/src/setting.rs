//! Small values that layers above keep in the file, such as the port at which a peer listens; never synced.
//!
//! Invariant: a setting cannot overwrite a value of the replica's own, since its name in `kith__meta` begins with `setting:`.

use rusqlite::Connection;

use crate::log_error::LogError;
use crate::replica::Replica;
use crate::storage::{get_meta, put_meta};

impl Replica {
    /// Returns a value kept under a name.
    pub fn setting(&self, name: &str) -> Result<Option<String>, LogError> {
        Ok(read(&self.conn, name)?)
    }

    /// Keeps a value under a name.
    pub fn put_setting(&self, name: &str, value: &str) -> Result<(), LogError> {
        let _quiet = self.capture.internal(&self.conn);
        Ok(put_meta(&self.conn, &key(name), value)?)
    }
}

/// Returns a value kept under a name in a file that is only looked at.
pub fn read(conn: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    get_meta(conn, &key(name))
}

fn key(name: &str) -> String {
    format!("setting:{name}")
}

#[cfg(test)]
mod tests {
    use crate::replica::{InitOptions, Replica};

    #[test]
    fn setting_is_kept_apart_from_the_replicas_own_values() {
        let replica = Replica::open_memory(InitOptions::new("desk")).unwrap();
        assert_eq!(replica.setting("workspace").unwrap(), None);
        replica.put_setting("workspace", "one").unwrap();
        replica.put_setting("workspace", "two").unwrap();
        assert_eq!(replica.setting("workspace").unwrap().as_deref(), Some("two"));
        assert_eq!(replica.conn().last_insert_rowid(), 0);
    }
}
