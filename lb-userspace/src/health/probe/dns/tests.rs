use std::net::{Ipv4Addr, SocketAddr};

use hickory_proto::rr::{
    Name, RData, RecordType,
    rdata::{A, MX, NULL, TXT, opt::OPT},
};
use tokio::net::{TcpListener, UdpSocket};

use super::*;

const LIMIT: Duration = Duration::from_millis(400);

/// What a server makes of a question: the messages that it sends.
type Answers = fn(Message) -> Vec<Vec<u8>>;

async fn udp_server(answers: Answers) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    let address = socket.local_addr().expect("address");
    serve(socket, answers);
    address
}

fn serve(socket: UdpSocket, answers: Answers) {
    tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            let question = Message::from_vec(&question[..length]).expect("a question");
            for answer in answers(question) {
                socket.send_to(&answer, from).await.expect("sent");
            }
        }
    });
}

async fn serve_connections(listener: TcpListener, answers: Answers) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let length = stream.read_u16().await.expect("a length");
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await.expect("a question");
        for answer in answers(Message::from_vec(&question).expect("a question")) {
            stream.write_u16(answer.len() as u16).await.expect("written");
            // In two pieces, as a stream may bring it.
            let (first, second) = answer.split_at(answer.len() / 2);
            stream.write_all(first).await.expect("written");
            tokio::time::sleep(Duration::from_millis(5)).await;
            stream.write_all(second).await.expect("written");
        }
    }
}

fn reply(question: Message) -> Message {
    let mut reply = Message::response(question.metadata.id, OpCode::Query);
    reply.queries = question.queries;
    reply
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().expect("encoded")
}

fn with(question: Message, data: RData) -> Message {
    let name = question.queries[0].name.clone();
    let mut reply = reply(question);
    reply.add_answer(Record::from_rdata(name, 60, data));
    reply
}

fn with_code(question: Message, code: ResponseCode) -> Vec<Vec<u8>> {
    let mut reply = reply(question);
    reply.metadata.response_code = code;
    vec![bytes(&reply)]
}

fn probe(name: &str, record: &str, answer: Option<&str>) -> DnsProbe {
    DnsProbe {
        question: DnsQuestion::new(name, record).expect("a question"),
        answer: answer.map(|text| text.parse().expect("valid")),
        transport: DnsTransport::Udp,
    }
}

async fn asked(remote: SocketAddr, probe: &DnsProbe) -> Result<Duration, CheckFailure> {
    let endpoint = Endpoint { remote, source: None, steer: None };
    check(&endpoint, probe, &Budget::new(LIMIT)).await
}

fn a_record(question: Message) -> Vec<Vec<u8>> {
    assert_eq!(question.queries[0].name, "Web.Example.com.".parse::<Name>().expect("name"));
    assert_eq!(question.queries[0].query_type, RecordType::A);
    assert!(question.metadata.recursion_desired);
    vec![bytes(&with(question, RData::A(A(Ipv4Addr::new(192, 0, 2, 7)))))]
}

#[tokio::test]
async fn the_text_of_an_answer_counts() {
    let server = udp_server(a_record).await;
    for answer in [None, Some("^192\\.0\\.2\\.7$")] {
        let latency = asked(server, &probe("web.example.com", "A", answer)).await;
        assert!(latency.expect("passes") < LIMIT);
    }
    let failure = asked(server, &probe("web.example.com", "A", Some("2.8"))).await;
    let failure = failure.expect_err("another address");
    assert_eq!(failure.to_string(), "answered 192.0.2.7, expected 2.8");
    assert!(matches!(failure, CheckFailure::BadAnswer(_)));
}

#[tokio::test]
async fn records_read_as_in_zone_files() {
    let server = udp_server(|question| {
        let mut reply =
            with(question, RData::MX(MX::new(10, "mail.example.".parse().expect("name"))));
        let text = RData::TXT(TXT::new(vec!["v=spf1 -all".to_owned()]));
        reply.add_answer(Record::from_rdata(Name::root(), 60, text));
        vec![bytes(&reply)]
    });
    let server = server.await;
    for answer in ["^10 mail\\.example\\.$", "v=spf1"] {
        asked(server, &probe("example", "MX", Some(answer))).await.expect(answer);
    }
}

#[tokio::test]
async fn codes_fail_with_their_names() {
    let cases: [(Answers, &str); 4] = [
        (|question| with_code(question, ResponseCode::ServFail), "answered SERVFAIL"),
        (|question| with_code(question, ResponseCode::Refused), "answered REFUSED"),
        (|question| with_code(question, ResponseCode::NXDomain), "answered NXDOMAIN"),
        // As from a server that could not read the question.
        (
            |question| {
                let id = question.metadata.id;
                vec![bytes(&Message::error_msg(id, OpCode::Query, ResponseCode::FormErr))]
            },
            "answered FORMERR",
        ),
    ];
    for (answers, expected) in cases {
        let server = udp_server(answers).await;
        let failure = asked(server, &probe(".", "SOA", None)).await.expect_err(expected);
        assert_eq!(failure, CheckFailure::BadStatus(expected.to_owned()));
    }
}

#[tokio::test]
async fn an_empty_answer_passes_unless_its_text_matters() {
    let server = udp_server(|question| vec![bytes(&reply(question))]).await;
    asked(server, &probe(".", "SOA", None)).await.expect("NOERROR");
    let failure = asked(server, &probe(".", "SOA", Some("."))).await.expect_err("nothing");
    assert_eq!(failure.to_string(), "answered nothing, expected .");
}

/// Each differs from the right answer in one thing, and says what would fail the check.
fn strangers(question: &Message) -> Vec<Vec<u8>> {
    let mut right = reply(question.clone());
    right.metadata.response_code = ResponseCode::ServFail;
    let mut other_id = right.clone();
    other_id.metadata.id = !right.metadata.id;
    let mut other_name = right.clone();
    other_name.queries[0].name = "other.".parse().expect("name");
    let mut other_record = right.clone();
    other_record.queries[0].query_type = RecordType::AAAA;
    let mut empty = right.clone();
    empty.queries.clear();
    empty.metadata.response_code = ResponseCode::NoError;
    let mut a_question = right.clone();
    a_question.metadata.message_type = MessageType::Query;
    let mut messages: Vec<_> =
        [other_id, other_name, other_record, empty, a_question].iter().map(bytes).collect();
    messages.extend([vec![], vec![0xff; 40]]);
    messages
}

#[tokio::test]
async fn strange_answers_are_passed_over() {
    let server = udp_server(|question| {
        let mut messages = strangers(&question);
        messages.push(bytes(&reply(question)));
        messages
    });
    asked(server.await, &probe("web.example.com", "A", None)).await.expect("the right one passes");
}

#[tokio::test]
async fn strange_answers_alone_fail() {
    let server = udp_server(|question| strangers(&question)[..1].to_vec()).await;
    let failure = asked(server, &probe(".", "SOA", None)).await.expect_err("no answer");
    assert_eq!(failure.to_string(), "what came answers another question");
    let server = udp_server(|_| vec![b"HTTP/1.1 400 Bad Request".to_vec()]).await;
    let failure = asked(server, &probe(".", "SOA", None)).await.expect_err("no answer");
    assert!(failure.to_string().starts_with("what came is no DNS message: "), "{failure}");
}

#[tokio::test]
async fn silence_and_closed_ports_fail() {
    let server = udp_server(|_| vec![]).await;
    let failure = asked(server, &probe(".", "SOA", None)).await.expect_err("silence");
    assert_eq!(failure, CheckFailure::NoAnswer(LIMIT));
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    let closed = socket.local_addr().expect("address");
    drop(socket);
    let failure = asked(closed, &probe(".", "SOA", None)).await.expect_err("closed");
    assert_eq!(failure.to_string(), "no answer: Connection refused");
}

fn truncated(question: Message) -> Vec<Vec<u8>> {
    let mut reply = reply(question);
    reply.metadata.truncation = true;
    vec![bytes(&reply)]
}

/// A server that cuts each answer short in datagrams, and has this to say over connections.
async fn both(over_tcp: Answers) -> SocketAddr {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        // The port may be taken for datagrams.
        if let Ok(socket) = UdpSocket::bind(address).await {
            serve(socket, truncated);
            tokio::spawn(serve_connections(listener, over_tcp));
            return address;
        }
    }
}

#[tokio::test]
async fn what_is_cut_short_is_asked_again_where_its_text_matters() {
    let server = both(a_record).await;
    asked(server, &probe("web.example.com", "A", Some("192"))).await.expect("whole over TCP");
    let failure = asked(server, &probe("web.example.com", "A", Some("193"))).await;
    assert_eq!(failure.expect_err("other").to_string(), "answered 192.0.2.7, expected 193");
    // Nobody listens for connections here, and nobody needs to.
    let server = udp_server(truncated).await;
    asked(server, &probe("web.example.com", "A", None)).await.expect("an answer");
    let failure = asked(server, &probe("web.example.com", "A", Some("192"))).await;
    assert_eq!(failure, Err(CheckFailure::ConnectRefused));
}

#[tokio::test]
async fn asks_over_connections() {
    let over_tcp = |answer| DnsProbe {
        transport: DnsTransport::Tcp,
        ..probe("web.example.com", "A", Some(answer))
    };
    let server = both(a_record).await;
    asked(server, &over_tcp("192.0.2.7")).await.expect("passes");
    let server = both(|question| strangers(&question)[..1].to_vec()).await;
    let failure = asked(server, &over_tcp(".")).await.expect_err("another id");
    assert_eq!(failure.to_string(), "what came answers another question");
    let server = both(|_| vec![]).await;
    let failure = asked(server, &over_tcp(".")).await.expect_err("closed without an answer");
    assert!(matches!(failure, CheckFailure::Broken(Step::Answer, _)), "{failure:?}");
}

#[test]
fn any_record_has_a_text() {
    let opt = Record::from_rdata(Name::root(), 0, RData::OPT(OPT::default()));
    assert_eq!(text(&opt), "");
    let null = Record::from_rdata(Name::root(), 0, RData::NULL(NULL::with(vec![255, 0])));
    let _ = text(&null);
}

#[test]
fn identifiers_are_random() {
    let ids: std::collections::BTreeSet<_> =
        (0..64).map(|_| ask(&DnsQuestion::default()).metadata.id).collect();
    assert!(ids.len() > 32, "{ids:?}");
}
