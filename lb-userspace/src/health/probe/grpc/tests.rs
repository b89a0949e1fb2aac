use std::net::SocketAddr;

use tokio::sync::mpsc;

use super::*;
use crate::{
    health::probe::fixture::{SHORT, endpoint, enough, fails_in_time, left_behind, serve},
    model::TlsOptions,
};

/// What a server says: a frame, if there is one, and the trailers' status.
#[derive(Clone, Copy)]
struct Says {
    frame: Option<&'static [u8]>,
    status: Option<&'static str>,
}

const SERVING: Says = Says { frame: Some(&[0, 0, 0, 0, 2, 8, 1]), status: Some("0") };

async fn answer(stream: tokio::net::TcpStream, says: Says, heard: mpsc::UnboundedSender<String>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let heard = heard.clone();
        tokio::spawn(async move {
            let (head, mut body) = request.into_parts();
            let mut question = Vec::new();
            while let Some(Ok(data)) = body.data().await {
                question.extend_from_slice(&data);
            }
            let kind = head.headers.get(CONTENT_TYPE).expect("content type");
            let _ =
                heard.send(format!("{} {} {kind:?} {question:?}", head.method, head.uri.path()));
            let mut trailers = HeaderMap::new();
            if let Some(status) = says.status {
                trailers.insert("grpc-status", status.parse().expect("number"));
            }
            let Some(frame) = says.frame else {
                let mut head = Response::new(());
                *head.headers_mut() = trailers;
                respond.send_response(head, true).expect("sent");
                return;
            };
            let mut body = respond.send_response(Response::new(()), false).expect("sent");
            body.send_data(Bytes::from_static(frame), false).expect("sent");
            body.send_trailers(trailers).expect("sent");
        });
    }
}

async fn server(says: Says) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let (sender, heard) = mpsc::unbounded_channel();
    (serve(move |stream| answer(stream, says, sender.clone())).await, heard)
}

#[tokio::test]
async fn a_server_that_serves_passes() {
    let (remote, mut heard) = server(SERVING).await;
    for (service, question) in
        [("", "[0, 0, 0, 0, 0]"), ("a.B", "[0, 0, 0, 0, 5, 10, 3, 97, 46, 66]")]
    {
        let probe = GrpcProbe { service: service.to_owned(), tls: None };
        check(&endpoint(remote), &probe, &enough()).await.expect("passes");
        let expected = format!("POST /grpc.health.v1.Health/Check \"application/grpc\" {question}");
        assert_eq!(heard.recv().await, Some(expected));
    }
    assert_eq!(left_behind(remote), Vec::<String>::new());
}

#[tokio::test]
async fn all_else_fails_and_is_named() {
    let not_serving: &[u8] = &[0, 0, 0, 0, 2, 8, 2];
    for (frame, status, expected, code) in [
        (Some(not_serving), Some("0"), "it says NOT_SERVING", "L7STS"),
        (Some(&[0, 0, 0, 0, 0]), Some("0"), "it says UNKNOWN", "L7STS"),
        (
            None,
            Some("5"),
            "gRPC status 5 NOT_FOUND: it does not know the service that is asked about",
            "L7STS",
        ),
        (None, Some("12"), "gRPC status 12 UNIMPLEMENTED: it has no health service", "L7STS"),
        (SERVING.frame, Some("14"), "gRPC status 14 UNAVAILABLE", "L7STS"),
        (SERVING.frame, None, "what came is not gRPC", "L7RSP"),
        (Some(&[0, 0, 0, 0, 9, 8, 1]), Some("0"), "its gRPC message cannot be read", "L7RSP"),
        (Some(&[1, 0, 0, 0, 2, 8, 1]), Some("0"), "its gRPC message cannot be read", "L7RSP"),
    ] {
        let (remote, _heard) = server(Says { frame, status }).await;
        let outcome = check(&endpoint(remote), &GrpcProbe::default(), &enough()).await;
        let failure = outcome.expect_err(expected);
        assert_eq!((failure.to_string().as_str(), failure.code()), (expected, code));
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let remote = serve(|stream| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        let mut open = Vec::new();
        while let Some(Ok((_, respond))) = connection.accept().await {
            open.push(respond);
        }
    })
    .await;
    let (endpoint, probe, budget) = (endpoint(remote), GrpcProbe::default(), Budget::new(SHORT));
    let failure = fails_in_time(check(&endpoint, &probe, &budget)).await;
    assert_eq!(failure.to_string(), "connected, but no answer within 200 ms");
    assert_eq!(left_behind(remote), Vec::<String>::new());
}

#[test]
fn is_asked_by_the_name_of_its_certificate() {
    let endpoint = endpoint("10.0.0.1:443".parse().expect("address"));
    for (name, expected) in [
        (None, "10.0.0.1:443"),
        (Some("a.example"), "a.example"),
        (Some("2001:db8::1"), "[2001:db8::1]"),
    ] {
        let server_name = name.map(str::to_owned);
        let tls = Some(TlsOptions { server_name, ..TlsOptions::default() });
        let probe = GrpcProbe { tls, ..GrpcProbe::default() };
        let request = request(&probe, &endpoint).expect("a request");
        let authority = request.uri().authority().expect("an authority");
        assert_eq!(authority.as_str(), expected);
    }
}

#[test]
fn long_names_have_long_lengths() {
    let frame = question(&"x".repeat(300));
    assert_eq!(frame[..8], [0, 0, 0, 1, 47, 10, 0xac, 2]);
    assert_eq!(frame.len(), PREFIX + 3 + 300);
}
