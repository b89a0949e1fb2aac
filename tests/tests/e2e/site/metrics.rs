//! What the metrics' port says.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use lb_tests::Host;

/// Samples in the classic text format.
pub(crate) struct Metrics(String);

/// An answer of the metrics' port.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Metrics {
    pub(crate) fn scrape(balancer: &Host) -> Self {
        let answer = get(balancer, "/metrics", "");
        assert_eq!(answer.status, 200, "{}", answer.body);
        Self(answer.body)
    }

    /// The sum of all samples of this name that have all of these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let samples = self.samples(name, labels);
        samples.iter().map(|(_, value)| value).sum::<f64>() as u64
    }

    /// The labels and values of all samples of this name that have all of these labels.
    pub(crate) fn samples(&self, name: &str, labels: &[(&str, &str)]) -> Vec<(&str, f64)> {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, found_labels) = series.split_once('{').unwrap_or((series, ""));
            let has =
                |(key, value): &(&str, &str)| found_labels.contains(&format!("{key}=\"{value}\""));
            (found == name && labels.iter().all(has))
                .then(|| (found_labels, value.parse().expect("a number")))
        });
        samples.collect()
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// Asks the metrics' port of the balancer.
pub(crate) fn get(balancer: &Host, path: &str, headers: &str) -> Answer {
    let read = || {
        let mut stream = TcpStream::connect("127.0.0.1:9901")?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: lb\r\n{headers}Connection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        std::io::Result::Ok(text)
    };
    let text = balancer.enter(read).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Answer { status: status.expect("a status line"), head: head.to_owned(), body: body.to_owned() }
}
