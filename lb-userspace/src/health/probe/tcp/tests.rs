use std::{
    io,
    io::Read as _,
    net::{SocketAddr, TcpListener},
    os::fd::BorrowedFd,
    sync::{Arc, Mutex},
    thread,
};

use tokio::net::TcpSocket;

use super::*;
use crate::{
    health::{
        CheckFlow, Steer,
        probe::fixture::{SHORT, endpoint, enough, fails_in_time, left_behind, serve},
    },
    model::Protocol,
};

#[tokio::test]
async fn passes_where_somebody_listens() {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(host).expect("bind");
        let remote = listener.local_addr().expect("address");
        connects(&endpoint(remote), &enough()).await.expect("passes");
    }
}

#[tokio::test]
async fn is_refused_where_nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let remote = listener.local_addr().expect("address");
    drop(listener);
    let outcome = connects(&endpoint(remote), &enough()).await;
    assert_eq!(outcome, Err(CheckFailure::ConnectRefused));
}

#[tokio::test]
async fn times_out_where_nobody_answers() {
    // A listener with a full queue drops further SYNs, which is as silent as a dead machine.
    let socket = TcpSocket::new_v4().expect("socket");
    socket.bind("127.0.0.1:0".parse().expect("address")).expect("bind");
    let listener = socket.listen(0).expect("listen");
    let remote = listener.local_addr().expect("address");
    let _first = tokio::net::TcpStream::connect(remote).await.expect("connect");
    let (endpoint, budget) = (endpoint(remote), Budget::new(SHORT));
    let failure = fails_in_time(connects(&endpoint, &budget)).await;
    assert_eq!(failure, CheckFailure::TimedOut(SHORT));
}

/// What the server sees and what the kernel keeps: a clean end, and nothing.
#[tokio::test]
async fn parts_cleanly_and_leaves_nothing_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let remote = listener.local_addr().expect("address");
    let server = thread::spawn(move || {
        let accepted = (0..50).map(|_| {
            let (mut stream, _) = listener.accept().expect("accept");
            assert_eq!(stream.read(&mut [0; 16]).expect("a clean end"), 0);
            // Open until the end, as its own FIN could be quicker than the checker's RST.
            stream
        });
        accepted.collect::<Vec<_>>()
    });
    for _ in 0..50 {
        connects(&endpoint(remote), &enough()).await.expect("passes");
    }
    let _open = server.join().expect("server");
    assert_eq!(left_behind(remote), Vec::<String>::new());
}

/// Notes which sockets it has seen.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<CheckFlow>>);

impl Steer for Notes {
    fn steer(&self, _: BorrowedFd<'_>, flow: &CheckFlow) -> io::Result<()> {
        self.0.lock().expect("notes").push(*flow);
        Ok(())
    }
}

/// Refuses all.
#[derive(Debug)]
struct Broken;

impl Steer for Broken {
    fn steer(&self, _: BorrowedFd<'_>, _: &CheckFlow) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::ENOENT))
    }
}

/// Whoever steers knows both ends of each socket before its first packet.
#[tokio::test]
async fn comes_from_its_source_and_is_steered_before_it_connects() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let remote = listener.local_addr().expect("address");
    let source = "127.0.0.9".parse().ok();
    let notes = Arc::new(Notes::default());
    for steer in [None, Some(Arc::clone(&notes) as Arc<dyn Steer>)] {
        connects(&Endpoint { remote, source, steer }, &enough()).await.expect("passes");
    }
    let peers = [(); 2].map(|()| listener.accept().expect("accept").1);
    assert_eq!(peers.map(|peer| Some(peer.ip())), [source, source]);
    let lasts = enough().limit();
    let expected = CheckFlow { protocol: Protocol::Tcp, local: peers[1], remote, lasts };
    assert_eq!(*notes.0.lock().expect("notes"), [expected]);
}

#[tokio::test]
async fn what_goes_wrong_on_this_side_says_nothing_about_the_backend() {
    let remote: SocketAddr = "127.0.0.1:9".parse().expect("address");
    let cases = [
        // No address of this machine.
        Endpoint { remote, source: "192.0.2.1".parse().ok(), steer: None },
        Endpoint { remote, source: "::1".parse().ok(), steer: None },
        Endpoint { remote, source: None, steer: Some(Arc::new(Broken)) },
    ];
    for endpoint in cases {
        let failure = connects(&endpoint, &enough()).await.expect_err("cannot be");
        assert!(failure.is_local(), "{failure}");
        assert_eq!(failure.code(), "SOCKERR");
    }
}

fn exchange(send: &str, expect: &str) -> Exchange {
    let expect = expect.parse().map(Expect::Matches).expect("expression");
    Exchange { send: send.as_bytes().to_vec(), expect: Some(expect) }
}

/// Answers each line with what was given, piece by piece, and waits for the other side to end.
async fn talker(pieces: &'static [&'static [u8]]) -> SocketAddr {
    serve(move |mut stream| async move {
        let mut line = [0; 16];
        let _ = stream.read(&mut line).await;
        for piece in pieces {
            let _ = stream.write_all(piece).await;
            tokio::task::yield_now().await;
        }
        let _ = stream.read(&mut line).await;
    })
    .await
}

#[tokio::test]
async fn an_answer_may_come_in_pieces() {
    let remote = talker(&[b"+PO", b"NG\r", b"\nmore"]).await;
    let asked = exchange("PING\r\n", "^\\+PONG\r\n");
    answers(&endpoint(remote), &asked, &enough()).await.expect("passes");
    let hex = "2b50??4e47".parse().map(Expect::Begins).expect("pattern");
    let asked = Exchange { send: b"PING\r\n".to_vec(), expect: Some(hex) };
    answers(&endpoint(remote), &asked, &enough()).await.expect("passes");
    let mute = Exchange { send: b"PING\r\n".to_vec(), expect: None };
    answers(&endpoint(remote), &mute, &enough()).await.expect("passes");
}

#[tokio::test]
async fn another_answer_fails_and_is_shown() {
    let remote = serve(|mut stream| async move {
        let _ = stream.write_all(b"-ERR \x1b[0m\n").await;
    })
    .await;
    let failure = answers(&endpoint(remote), &exchange("", "PONG"), &enough()).await;
    let failure = failure.expect_err("another answer");
    assert_eq!(failure.to_string(), "answered \"-ERR \\u{1b}[0m\\n\", expected PONG");
    assert_eq!((failure.code(), failure.is_silent()), ("L7RSP", false));
}

/// Bytes that cannot become what they should be need not be waited for.
#[tokio::test]
async fn a_lost_answer_fails_at_once() {
    let remote = talker(&[b"\x01\x02"]).await;
    let hex = "01 03 ?? ??".parse().map(Expect::Begins).expect("pattern");
    let asked = Exchange { send: b"x".to_vec(), expect: Some(hex) };
    let failure = answers(&endpoint(remote), &asked, &enough()).await.expect_err("lost");
    assert_eq!(failure.to_string(), "answered 0102, expected 0103????");
}

#[tokio::test]
async fn silence_after_the_connection_is_told_from_a_dead_machine() {
    let remote = talker(&[]).await;
    let (endpoint, asked) = (endpoint(remote), exchange("PING\r\n", "PONG"));
    let budget = Budget::new(SHORT);
    let failure = fails_in_time(answers(&endpoint, &asked, &budget)).await;
    assert_eq!(failure, CheckFailure::Stalled(Step::Answer, SHORT));
    assert_eq!((failure.code(), failure.is_silent()), ("L7TOUT", false));
}

#[tokio::test]
async fn an_answer_that_stops_halfway_is_shown() {
    let remote = talker(&[b"+PO"]).await;
    let (endpoint, asked) = (endpoint(remote), exchange("PING\r\n", "PONG"));
    let budget = Budget::new(SHORT);
    let failure = fails_in_time(answers(&endpoint, &asked, &budget)).await;
    assert_eq!(failure.to_string(), "answered \"+PO\", expected PONG");
}

#[tokio::test]
async fn a_connection_that_is_closed_is_no_answer() {
    let remote = serve(|stream| async move { drop(stream) }).await;
    let failure = answers(&endpoint(remote), &exchange("", "PONG"), &enough()).await;
    assert_eq!(failure.expect_err("closed").to_string(), "no answer: the connection was closed");
}

#[tokio::test]
async fn a_flood_of_an_answer_is_bounded_and_leaves_nothing_behind() {
    let remote =
        serve(|mut stream| async move { while stream.write_all(&[b'x'; 4096]).await.is_ok() {} })
            .await;
    let failure = answers(&endpoint(remote), &exchange("", "y"), &enough()).await;
    assert!(matches!(failure, Err(CheckFailure::BadAnswer(_))), "{failure:?}");
    assert_eq!(left_behind(remote), Vec::<String>::new());
}
