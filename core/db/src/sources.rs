//! Where a replica's time and randomness come from: the system, or a test that wants the same run twice.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time in milliseconds since the Unix epoch.
pub type ClockSource = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Reads the system's clock.
pub fn system_clock() -> ClockSource {
    Arc::new(|| {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Hands out random bytes.
#[derive(Clone, Default)]
pub struct Entropy(Source);

#[derive(Clone, Default)]
enum Source {
    #[default]
    System,
    Seeded(Arc<Mutex<blake3::OutputReader>>),
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "Entropy(system)",
            Source::Seeded(_) => "Entropy(seeded)",
        })
    }
}

impl Entropy {
    /// Takes the system's random source.
    pub fn system() -> Self {
        Self::default()
    }

    /// Makes the same bytes from the same seed; for simulations only, since whoever knows the seed knows every key.
    pub fn seeded(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("kithdb 2026 simulation entropy v1");
        hasher.update(&seed.to_le_bytes());
        Self(Source::Seeded(Arc::new(Mutex::new(hasher.finalize_xof()))))
    }

    /// Fills a buffer.
    pub fn fill(&self, out: &mut [u8]) -> Result<(), getrandom::Error> {
        match &self.0 {
            Source::System => getrandom::fill(out),
            Source::Seeded(reader) => {
                reader.lock().unwrap_or_else(PoisonError::into_inner).fill(out);
                Ok(())
            }
        }
    }

    /// Makes a random array.
    pub fn array<const N: usize>(&self) -> Result<[u8; N], getrandom::Error> {
        let mut out = [0; N];
        self.fill(&mut out)?;
        Ok(out)
    }
}
