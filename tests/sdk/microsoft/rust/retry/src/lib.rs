//! A stand-in for the unpublished crate of this name: pauses between tries.

use std::time::Duration;

/// A few pauses of a tenth of a second.
pub struct Retry {
    left: u32,
}

impl Retry {
    /// For recordings.
    pub fn immediate() -> Self {
        Self { left: 20 }
    }

    /// For a live vault.
    pub fn progressive(_: Option<Duration>) -> Self {
        Self::immediate()
    }

    /// How long the next pause is; `None` after the last.
    pub fn duration(&self) -> Option<Duration> {
        (self.left > 0).then_some(Duration::from_millis(100))
    }

    /// Waits; `None` after the last pause.
    pub async fn next(&mut self) -> Option<()> {
        tokio::time::sleep(self.duration()?).await;
        self.left -= 1;
        Some(())
    }
}
