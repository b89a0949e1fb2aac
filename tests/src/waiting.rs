//! Waiting for what should come true, instead of sleeping and hoping.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::error::RigError;

/// Asks `attempt` until it succeeds or `patience` ends.
///
/// An attempt that fails says what it saw instead; the last one becomes the error. `what`
/// completes the sentence "waited for ...".
pub fn until<T>(
    what: &str,
    patience: Duration,
    mut attempt: impl FnMut() -> Result<T, String>,
) -> Result<T, RigError> {
    let deadline = Instant::now() + patience;
    loop {
        let last = match attempt() {
            Ok(value) => return Ok(value),
            Err(last) => last,
        };
        if Instant::now() >= deadline {
            return Err(RigError::TimedOut { what: what.into(), waited: patience, last });
        }
        thread::sleep(PAUSE);
    }
}

/// Short beside every time that a test measures, long beside what an attempt costs.
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_first_success() {
        let mut answers = vec![Ok(7), Err("not yet".to_owned())];
        let value = until("seven", Duration::from_secs(5), || answers.pop().unwrap());
        assert_eq!(value.unwrap(), 7);
    }

    #[test]
    fn tells_what_it_saw_last() {
        let error = until("the end", Duration::ZERO, || Err::<(), _>("a beginning".into()));
        let message = error.unwrap_err().to_string();
        assert!(message.contains("the end") && message.contains("a beginning"), "{message}");
    }
}
