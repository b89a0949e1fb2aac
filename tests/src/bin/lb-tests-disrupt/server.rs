//! The server: answers every question with its name, over TCP and UDP.

use std::{net::SocketAddr, rc::Rc};

use anyhow::Context as _;
use clap::Args;
use lb_tests::disruption::message::{QUESTION, answer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    signal::unix::{Signal, SignalKind, signal},
    task::{JoinSet, LocalSet},
};

/// Answer every question with a name
#[derive(Args)]
pub(crate) struct Arguments {
    /// The name in every answer, at most 16 bytes.
    #[arg(long)]
    name: String,
    /// An address and port to serve over TCP and UDP; may be repeated. Not a wildcard: datagrams
    /// have to come from the address that they were sent to.
    #[arg(long, required = true)]
    listen: Vec<SocketAddr>,
    /// An address and port that accepts connections, refuses them after SIGUSR1, and accepts them
    /// again after SIGUSR2; may be repeated.
    #[arg(long)]
    check: Vec<SocketAddr>,
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let name: Rc<str> = arguments.name.into();
    let tasks = LocalSet::new();
    let refuse = signal(SignalKind::user_defined1())?;
    let accept = signal(SignalKind::user_defined2())?;
    for address in arguments.listen {
        let listener = listen(address)?;
        let socket = UdpSocket::bind(address).await.with_context(|| format!("UDP {address}"))?;
        tasks.spawn_local(serve(listener, Rc::clone(&name)));
        tasks.spawn_local(echo(socket, Rc::clone(&name)));
    }
    println!("listening");
    tasks.run_until(checks(&arguments.check, refuse, accept)).await
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("TCP {address}"))?;
    // Thousands of clients connect at once.
    Ok(socket.listen(BACKLOG)?)
}

const BACKLOG: u32 = 4096;

async fn serve(listener: TcpListener, name: Rc<str>) {
    loop {
        // Out of descriptors, or a client that is gone again.
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        tokio::task::spawn_local(talk(stream, Rc::clone(&name)));
    }
}

/// Until the client ends.
async fn talk(mut stream: TcpStream, name: Rc<str>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut question = [0; QUESTION];
    loop {
        stream.read_exact(&mut question).await?;
        stream.write_all(&answer(&name, &question)).await?;
    }
}

async fn echo(socket: UdpSocket, name: Rc<str>) {
    let mut question = [0; QUESTION];
    loop {
        // A client that is gone answers with an ICMP error, which is reported here: not ours.
        if let Ok((QUESTION, client)) = socket.recv_from(&mut question).await {
            let _ = socket.send_to(&answer(&name, &question), client).await;
        }
    }
}

/// Accepts checks or refuses them, as signals say.
async fn checks(
    addresses: &[SocketAddr],
    mut refuse: Signal,
    mut accept: Signal,
) -> anyhow::Result<()> {
    let mut open = accept_all(addresses)?;
    loop {
        tokio::select! {
            _ = refuse.recv() => open.shutdown().await,
            _ = accept.recv() => if open.is_empty() {
                open = accept_all(addresses)?;
            },
        }
    }
}

/// Accepts connections and closes them, which is all that a check asks for.
fn accept_all(addresses: &[SocketAddr]) -> anyhow::Result<JoinSet<()>> {
    let mut open = JoinSet::new();
    for address in addresses {
        let listener = listen(*address)?;
        open.spawn_local(async move {
            loop {
                let _ = listener.accept().await;
            }
        });
    }
    Ok(open)
}
