//! The files of a model's folder, each read up to a limit.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::super::EmbedError;

/// A large model's weights are this many; what is larger is no model for a device.
pub const WEIGHTS_BYTES_MAX: u64 = 4 << 30;
/// Five times the tokenizer of a model of a hundred languages.
pub const TOKENIZER_BYTES_MAX: u64 = 96 << 20;
/// Settings are a few hundred bytes.
const SETTINGS_BYTES_MAX: u64 = 1 << 20;

/// The folder of one model.
pub struct Folder {
    name: String,
    path: PathBuf,
}

impl Folder {
    pub fn new(name: &str, path: &Path) -> Self {
        Self { name: name.to_owned(), path: path.to_owned() }
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An error that names the folder.
    pub fn unusable(&self, reason: impl Into<String>) -> EmbedError {
        EmbedError::Unusable {
            model: self.name.clone(),
            reason: reason.into(),
            remedy: format!(
                "{} must hold config.json, tokenizer.json and model.safetensors of a BERT model",
                self.path.display()
            ),
        }
    }

    /// Settings that must be there.
    pub fn settings<T: DeserializeOwned>(&self, file: &str) -> Result<T, EmbedError> {
        self.settings_if_any(file)?.ok_or_else(|| self.unusable(format!("{file} is missing")))
    }

    /// Settings that may be missing.
    pub fn settings_if_any<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>, EmbedError> {
        let Some(bytes) = self.read_if_any(file, SETTINGS_BYTES_MAX).map_err(|reason| self.unusable(reason))? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| self.unusable(format!("{file} is not understood: {error}")))
    }

    /// A file that must be there.
    pub fn read(&self, file: &str, bytes_max: u64) -> Result<Vec<u8>, String> {
        self.read_if_any(file, bytes_max)?.ok_or_else(|| format!("{file} is missing"))
    }

    fn read_if_any(&self, file: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, String> {
        let cannot = |error: std::io::Error| format!("{file} cannot be read: {error}");
        let opened = match File::open(self.path.join(file)) {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot(error)),
        };
        let size = opened.metadata().map_err(cannot)?.len();
        if size > bytes_max {
            return Err(format!("{file} has {size} bytes, more than {bytes_max}"));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        // A pipe or a growing file may give more than its size said.
        opened.take(bytes_max).read_to_end(&mut bytes).map_err(cannot)?;
        Ok(Some(bytes))
    }
}
