//! A proxy that holds back a client's bytes after the server has said a certain thing.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Serves until the test's runtime ends.
pub(crate) struct Proxy {
    port: u16,
    gate: Arc<watch::Sender<Gate>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// Bytes pass until the server says it.
    Armed,
    /// It was said: the client's bytes wait.
    Held,
    /// Bytes pass for good.
    Released,
}

impl Proxy {
    /// Listens, and connects each client to the port.
    pub(crate) async fn start(server: u16, cue: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let gate = Arc::new(watch::Sender::new(Gate::Armed));
        let shared = Arc::clone(&gate);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.expect("connect");
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (up, down) = (Arc::clone(&shared), Arc::clone(&shared));
                tokio::spawn(async move {
                    let (mut from, mut to) = (from_client, to_server);
                    let mut bytes = [0; 4096];
                    while let Ok(count @ 1..) = from.read(&mut bytes).await {
                        let mut gate = up.subscribe();
                        let _ = gate.wait_for(|gate| *gate != Gate::Held).await;
                        to.write_all(&bytes[..count]).await.expect("written");
                    }
                });
                tokio::spawn(async move {
                    let (mut from, mut to) = (from_server, to_client);
                    let mut bytes = [0; 4096];
                    while let Ok(count @ 1..) = from.read(&mut bytes).await {
                        let is_cue = bytes[..count].windows(cue.len()).any(|window| window == cue);
                        if is_cue && *down.borrow() == Gate::Armed {
                            down.send_replace(Gate::Held);
                        }
                        to.write_all(&bytes[..count]).await.expect("written");
                    }
                });
            }
        });
        Self { port, gate }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits until the server has said it.
    pub(crate) async fn held(&self) {
        let mut gate = self.gate.subscribe();
        let _ = gate.wait_for(|gate| *gate == Gate::Held).await;
    }

    pub(crate) fn release(&self) {
        self.gate.send_replace(Gate::Released);
    }
}
