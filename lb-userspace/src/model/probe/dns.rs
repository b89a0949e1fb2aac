//! What a DNS check asks.

use std::{fmt, str::FromStr};

use hickory_proto::rr::{Name, RecordType};

use super::Pattern;

/// What a DNS check asks, and which answer it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsProbe {
    /// What is asked for.
    pub question: DnsQuestion,
    /// What one of the answers must look like, as text: `192.0.2.1`, `10 mail.example.com.`.
    /// Without it the code of the answer decides.
    pub answer: Option<Pattern>,
    /// How the question travels.
    pub transport: DnsTransport,
}

/// A name and the type of records that are wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsQuestion {
    pub(crate) name: Name,
    pub(crate) record: RecordType,
}

/// Why something cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum BadDnsQuestion {
    /// This is no name.
    #[error("`{0}` is not a domain name")]
    Name(String),
    /// This is no type of records that a server answers with.
    #[error("`{0}` is not a type of records such as \"SOA\", \"A\" or \"TXT\"")]
    Record(String),
}

/// How DNS travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsTransport {
    /// In datagrams; an answer that is cut short is asked for again over TCP if its text matters.
    #[default]
    Udp,
    /// Over a connection.
    Tcp,
}

impl DnsQuestion {
    /// The question for records of a name. Names are absolute, with a dot at the end or without.
    ///
    /// # Errors
    /// If it is no name, or no type; transfers of zones and notes of transactions are none.
    pub fn new(name: &str, record: &str) -> Result<Self, BadDnsQuestion> {
        let shown = |text: &str| text.escape_debug().take(80).collect();
        let mut parsed = Name::from_str(name)
            .ok()
            .filter(|_| !name.is_empty())
            .ok_or_else(|| BadDnsQuestion::Name(shown(name)))?;
        parsed.set_fqdn(true);
        let record = RecordType::from_str(&record.to_ascii_uppercase())
            .ok()
            .filter(|kind| !NOT_ASKED.contains(kind))
            .ok_or_else(|| BadDnsQuestion::Record(shown(record)))?;
        Ok(Self { name: parsed, record })
    }
}

impl Default for DnsQuestion {
    /// Who is responsible for the root, which any server can be asked.
    fn default() -> Self {
        Self { name: Name::root(), record: RecordType::SOA }
    }
}

impl fmt::Display for DnsQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.record)
    }
}

/// Types that no plain question has.
const NOT_ASKED: [RecordType; 3] = [RecordType::AXFR, RecordType::TSIG, RecordType::SIG];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_absolute() {
        for (name, record, expected) in [
            (".", "SOA", ". SOA"),
            ("example.com", "a", "example.com. A"),
            ("example.com.", "TXT", "example.com. TXT"),
            ("_sip._udp.example.com", "SRV", "_sip._udp.example.com. SRV"),
        ] {
            assert_eq!(DnsQuestion::new(name, record).expect(name).to_string(), expected);
        }
        assert_eq!(DnsQuestion::default().to_string(), ". SOA");
    }

    #[test]
    fn nonsense_is_quoted() {
        for (name, record, expected) in [
            ("", "A", "`` is not a domain name"),
            ("a..b", "A", "`a..b` is not a domain name"),
            (".", "AXFR", "`AXFR` is not a type of records such as \"SOA\", \"A\" or \"TXT\""),
            (".", "x\n", "`x\\n` is not a type of records such as \"SOA\", \"A\" or \"TXT\""),
        ] {
            assert_eq!(DnsQuestion::new(name, record).expect_err(name).to_string(), expected);
        }
    }
}
