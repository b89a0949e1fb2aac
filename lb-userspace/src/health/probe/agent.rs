//! Asks what a backend's agent wants.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    Budget,
    dial::{self, Connection},
};
use crate::{
    health::{AgentWord, CheckFailure, Endpoint, Step, failure::cut},
    model::AgentCheck,
};

/// Most of a line that an agent may say.
const MOST: usize = 1024;

/// Connects, sends what the agent wants to hear, and understands its first line.
///
/// # Errors
/// If no agent can be reached in time, or if it says nonsense, which is quoted.
pub(crate) async fn ask(
    endpoint: &Endpoint,
    agent: &AgentCheck,
) -> Result<AgentWord, CheckFailure> {
    let budget = Budget::new(agent.timeout);
    let mut connection = dial::connect(endpoint, &budget).await?;
    let asking = async {
        connection.write_all(&agent.send).await?;
        read_line(&mut connection).await
    };
    let line = budget
        .step(Step::Answer, asking)
        .await?
        .map_err(|error| CheckFailure::broken(Step::Answer, &error))?;
    let Some(line) = line else {
        let what = format!("the agent's line has more than {MOST} bytes");
        return Err(CheckFailure::BadAnswer(what));
    };
    let word = std::str::from_utf8(&line).map_err(|_| format!("\"{}\" is no text", cut(&line)));
    word.and_then(|line| AgentWord::parse(line).map_err(|error| error.to_string()))
        .map_err(|what| CheckFailure::BadAnswer(format!("agent not understood: {what}")))
}

/// Reads until the line or the connection ends; `None` if it is too long.
async fn read_line(connection: &mut Connection) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::with_capacity(MOST);
    loop {
        let room = (MOST + 1 - line.len()) as u64;
        let read = connection.take(room).read_buf(&mut line).await?;
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            line.truncate(end);
            return Ok(Some(line));
        }
        if line.len() > MOST {
            return Ok(None);
        }
        if read == 0 {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use tokio::{net::TcpListener, sync::oneshot, time::Instant};

    use super::*;
    use crate::health::{AgentState, WeightAdvice};

    const LIMIT: Duration = Duration::from_millis(400);

    /// Says something once it has heard something, in pieces, and then waits for the end.
    async fn server(
        wants: &'static [u8],
        says: &'static [&'static [u8]],
        closes: oneshot::Receiver<()>,
    ) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut heard = vec![0; wants.len()];
            stream.read_exact(&mut heard).await.expect("read");
            assert_eq!(heard, wants);
            for piece in says {
                stream.write_all(piece).await.expect("written");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let _ = closes.await;
        });
        address
    }

    async fn ask_one(remote: SocketAddr, send: &[u8]) -> Result<AgentWord, CheckFailure> {
        let agent = AgentCheck {
            port: remote.port(),
            address: None,
            send: send.to_vec(),
            interval: LIMIT,
            timeout: LIMIT,
        };
        ask(&Endpoint { remote, source: None, steer: None }, &agent).await
    }

    #[tokio::test]
    async fn a_line_is_enough() {
        let (_open, end) = oneshot::channel();
        let remote = server(b"web\n", &[b"up 7", b"5% # fine\nmaint\n"], end).await;
        let started = Instant::now();
        let word = ask_one(remote, b"web\n").await.expect("a word");
        assert!(started.elapsed() < LIMIT, "waited for the end of the connection");
        assert_eq!(word.state, Some(AgentState::Up));
        assert_eq!(word.weight, Some(WeightAdvice::Percent(75)));
        assert_eq!(word.comment, "fine");
    }

    #[tokio::test]
    async fn so_is_the_end() {
        let (close, end) = oneshot::channel();
        drop(close);
        let remote = server(b"", &[b"drain"], end).await;
        assert_eq!(ask_one(remote, b"").await.expect("a word").state, Some(AgentState::Drain));
    }

    #[tokio::test]
    async fn nonsense_is_quoted() {
        const CASES: [(&[&[u8]], &str); 4] = [
            (&[b"weight 1\x1b0\n"], "agent not understood: `1\\u{1b}0` is no weight"),
            (&[b"\xff\xfe\n"], "agent not understood: \""),
            (&[b"\n"], "agent not understood: it said nothing"),
            (&[&[b' '; 1025]], "the agent's line has more than 1024 bytes"),
        ];
        for (says, expected) in CASES {
            let (_open, end) = oneshot::channel();
            let failure = ask_one(server(b"", says, end).await, b"").await.expect_err(expected);
            assert!(matches!(failure, CheckFailure::BadAnswer(_)), "{failure:?}");
            assert!(failure.to_string().starts_with(expected), "{failure}");
        }
    }

    #[tokio::test]
    async fn waits_no_longer_than_it_may() {
        let (_open, end) = oneshot::channel();
        let remote = server(b"", &[b"up 50%"], end).await;
        let started = Instant::now();
        let failure = ask_one(remote, b"").await.expect_err("a line without an end");
        assert_eq!(failure, CheckFailure::Stalled(Step::Answer, LIMIT));
        assert!((LIMIT..LIMIT * 2).contains(&started.elapsed()));
    }
}
