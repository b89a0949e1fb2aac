//! Makes a panic an answer.

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

/// Runs a future to its end, or to its panic, whose message it returns. A target whose task died of
/// a panic would never be checked again, and nobody would know.
pub(super) async fn guarded<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // A future that has panicked is not polled again, so nobody sees what it left undone.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(message(&*panic))),
        }
    })
    .await
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_tells_its_message() {
        assert_eq!(guarded(async { 7 }).await, Ok(7));
        let number = 8;
        let late = async {
            tokio::task::yield_now().await;
            assert!(number < 8, "expected by the test: {number}");
        };
        assert_eq!(guarded(late).await, Err("expected by the test: 8".to_owned()));
    }
}
