//! A server to stand behind the balancer: HTTP with downloads and uploads, and an echo
//! for UDP on the same port.
//!
//! Every answer carries the server's name: `x-backend` in HTTP, the first word in UDP.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{
    Router,
    body::Body,
    extract::{Query, State},
    http::{HeaderValue, Response, header::CONTENT_LENGTH},
    middleware,
    routing::{get, post},
};
use clap::Parser;
use futures_util::StreamExt as _;
use lb_tests::content;
use tokio::{
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

/// An HTTP server and UDP echo that tells its name.
#[derive(Parser)]
struct Arguments {
    /// The name in every answer.
    #[arg(long)]
    name: String,
    /// An address and port to serve, `10.0.0.1:80` or `[fd00::1]:80`; may be repeated.
    ///
    /// Not a wildcard: a UDP echo has to come from the address that it was sent to.
    #[arg(long, required = true)]
    listen: Vec<SocketAddr>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let name: Arc<str> = arguments.name.into();
    let app = app(&name)?;
    let mut services = JoinSet::new();
    for address in arguments.listen {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("TCP {address}"))?;
        let socket = UdpSocket::bind(address).await.with_context(|| format!("UDP {address}"))?;
        let (app, name) = (app.clone(), Arc::clone(&name));
        services.spawn(async move { axum::serve(listener, app).await });
        services.spawn(async move { echo(&socket, &name).await });
    }
    println!("listening");
    while let Some(ended) = services.join_next().await {
        ended??;
    }
    Ok(())
}

fn app(name: &Arc<str>) -> anyhow::Result<Router> {
    let tag = HeaderValue::from_str(name).context("the name has to fit into a header")?;
    let tag = middleware::map_response(move |mut response: Response<Body>| {
        response.headers_mut().insert("x-backend", tag.clone());
        std::future::ready(response)
    });
    Ok(Router::new()
        .route("/", get(async |State(name): State<Arc<str>>| format!("{name}\n")))
        .route("/download", get(async |Query(wish): Query<Wish>| download(wish)))
        .route("/upload", post(upload))
        .with_state(Arc::clone(name))
        .layer(tag))
}

/// How a download shall be.
#[derive(serde::Deserialize)]
struct Wish {
    bytes: u64,
    #[serde(default)]
    seconds: u32,
}

/// Sends the bytes in equal pieces, spread evenly over the time.
fn download(wish: Wish) -> Response<Body> {
    let pieces = (u64::from(wish.seconds) * PIECES_PER_SECOND).max(1);
    let size = wish.bytes.div_ceil(pieces).clamp(1, LARGEST_PIECE);
    let pause = Duration::from_secs(wish.seconds.into()) / wish.bytes.div_ceil(size).max(1) as u32;
    let body = futures_util::stream::unfold(0, move |offset| async move {
        let length = size.min(wish.bytes - offset);
        if length == 0 {
            return None;
        }
        tokio::time::sleep(pause).await;
        let piece = content::bytes(offset, length as usize);
        Some((Ok::<_, Infallible>(piece), offset + length))
    });
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(CONTENT_LENGTH, wish.bytes.into());
    response
}

/// Takes the same bytes from a client. Says how many came, or which is not what belongs there.
async fn upload(body: Body) -> String {
    let mut pieces = body.into_data_stream();
    let mut offset = 0;
    while let Some(piece) = pieces.next().await {
        let Ok(piece) = piece else { return format!("cut off at byte {offset}") };
        if let Some(at) = content::first_difference(offset, &piece) {
            return format!("byte {at} is not what was sent");
        }
        offset += piece.len() as u64;
    }
    format!("{offset} bytes")
}

const PIECES_PER_SECOND: u64 = 50;
const LARGEST_PIECE: u64 = 64 * 1024;

async fn echo(socket: &UdpSocket, name: &str) -> std::io::Result<()> {
    let mut datagram = vec![0; 64 * 1024];
    loop {
        // A client that is gone answers with an ICMP error, which is reported here: not ours.
        let Ok((length, client)) = socket.recv_from(&mut datagram).await else {
            continue;
        };
        let answer = [name.as_bytes(), b" ", &datagram[..length]].concat();
        let _ = socket.send_to(&answer, client).await;
    }
}
