//! Attempts at a change while other writers commit first: load the table, plan on it, commit, and again if it has moved.

use std::time::Duration;

use crate::error::{Error, Kind, Result};

/// The longest pause before another attempt.
const LONGEST_PAUSE: Duration = Duration::from_millis(3200);

/// The attempts at one change.
#[derive(Debug)]
pub(crate) struct Attempts {
    most: u32,
    lost: u32,
    pause: Duration,
    during: &'static str,
    advice: &'static str,
}

impl Attempts {
    /// At most `most` attempts. The pauses between them double, from the first. `during`: what the table must not change
    /// during, as the error says it.
    pub fn new(most: u32, first_pause: Duration, during: &'static str, advice: &'static str) -> Self {
        Self { most, lost: 0, pause: first_pause, during, advice }
    }

    /// Another writer has committed first: pauses before the next attempt.
    ///
    /// Errors: [`Kind::Contended`] if it was the last one.
    pub async fn lost(&mut self) -> Result<()> {
        self.lost += 1;
        if self.lost >= self.most {
            let text = format!("other writers changed the table {} times{}", self.most, self.during);
            return Err(Error::new(Kind::Contended, text).advice(self.advice));
        }
        tracing::info!("another writer changed the table; planning again");
        tokio::time::sleep(self.pause).await;
        self.pause = longer(self.pause);
        Ok(())
    }
}

fn longer(pause: Duration) -> Duration {
    pause.saturating_mul(2).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_loss_is_an_error_that_counts_them() {
        let mut attempts = Attempts::new(4, Duration::from_micros(1), " while it was tried", "Try again");
        for _ in 0..3 {
            attempts.lost().await.unwrap();
        }
        let error = attempts.lost().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Contended);
        assert_eq!(error.message(), "other writers changed the table 4 times while it was tried");
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses = std::iter::successors(Some(Duration::from_millis(50)), |pause| Some(longer(*pause)));
        let pauses: Vec<u128> = pauses.take(9).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 3200, 3200, 3200]);
    }
}
