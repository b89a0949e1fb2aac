//! What an answer must look like.

use std::{fmt, str::FromStr};

use regex::bytes::Regex;

/// What an answer must look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Somewhere in it this matches.
    Matches(Pattern),
    /// It begins like this.
    Begins(HexPattern),
}

impl Expect {
    /// Whether an answer, as far as it has come, is as it should be.
    #[must_use]
    pub fn is_met(&self, answer: &[u8]) -> bool {
        match self {
            Self::Matches(pattern) => pattern.matches(answer),
            Self::Begins(pattern) => pattern.begins(answer),
        }
    }

    /// Whether nothing that may still come can mend an answer.
    #[must_use]
    pub fn is_lost(&self, answer: &[u8]) -> bool {
        match self {
            Self::Matches(_) => false,
            Self::Begins(pattern) => !pattern.may_begin(answer),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matches(pattern) => pattern.fmt(f),
            Self::Begins(pattern) => pattern.fmt(f),
        }
    }
}

/// A regular expression over bytes, in the syntax of the crate `regex`. Equal if its text is.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// Text that is no regular expression, in one line.
#[derive(Debug, thiserror::Error)]
#[error("is not a regular expression: {0}")]
pub struct BadPattern(String);

impl Pattern {
    /// Whether it matches anywhere in `bytes`.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Regex::new(text).map(Self).map_err(|error| {
            // The error draws the text and points into it over several lines; the last one says it.
            let said = error.to_string();
            let line = said.lines().last().unwrap_or_default().trim();
            BadPattern(line.strip_prefix("error: ").unwrap_or(line).to_owned())
        })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// Bytes as hexadecimal digits; `None` is any byte. At least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HexPattern(Vec<Option<u8>>);

/// Text that is no row of bytes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHex {
    /// Nothing is there.
    #[error("needs at least one byte")]
    Empty,
    /// Digits stand alone.
    #[error("needs two digits for each byte")]
    Odd,
    /// Something else than digits.
    #[error("`{0}` is not a byte in hexadecimal")]
    NotHex(String),
}

impl HexPattern {
    /// Whether `bytes` begins like this.
    #[must_use]
    pub fn begins(&self, bytes: &[u8]) -> bool {
        bytes.len() >= self.0.len() && self.may_begin(bytes)
    }

    /// Whether `bytes` begins like this, as far as it goes.
    fn may_begin(&self, bytes: &[u8]) -> bool {
        let is_equal = |(wanted, byte): (&Option<u8>, &u8)| wanted.is_none_or(|w| w == *byte);
        self.0.iter().zip(bytes).all(is_equal)
    }
}

impl FromStr for HexPattern {
    type Err = BadHex;

    /// Two digits a byte, `??` for any, with spaces between bytes or without.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |pair: &str| if pair == "??" { Ok(None) } else { hex_byte(pair).map(Some) };
        pairs(text)?.iter().map(|pair| parse(pair)).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for HexPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| match byte {
            Some(byte) => write!(f, "{byte:02x}"),
            None => f.write_str("??"),
        })
    }
}

/// Bytes from hexadecimal digits, two a byte, with spaces between bytes or without.
///
/// # Errors
/// Without a byte, with a digit too many, or with something else than digits.
pub fn hex_bytes(text: &str) -> Result<Vec<u8>, BadHex> {
    pairs(text)?.iter().map(|pair| hex_byte(pair)).collect()
}

fn pairs(text: &str) -> Result<Vec<String>, BadHex> {
    let mut pairs = Vec::new();
    for word in text.split_whitespace() {
        let chars: Vec<char> = word.chars().collect();
        if !chars.len().is_multiple_of(2) {
            return Err(BadHex::Odd);
        }
        pairs.extend(chars.chunks(2).map(|pair| pair.iter().collect::<String>()));
    }
    if pairs.is_empty() { Err(BadHex::Empty) } else { Ok(pairs) }
}

fn hex_byte(pair: &str) -> Result<u8, BadHex> {
    // `from_str_radix` takes a sign, too.
    let is_hex = pair.chars().all(|digit| digit.is_ascii_hexdigit());
    let byte = u8::from_str_radix(pair, 16).ok().filter(|_| is_hex);
    byte.ok_or_else(|| BadHex::NotHex(pair.escape_debug().collect()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hex_patterns_compare_the_beginning() {
        let pattern: HexPattern = "00 ??ff".parse().expect("valid");
        assert!(pattern.begins(&[0, 1, 255]));
        assert!(pattern.begins(&[0, 2, 255, 9]));
        assert!(!pattern.begins(&[0, 1]));
        assert!(!pattern.begins(&[0, 1, 254]));
        assert_eq!(pattern.to_string(), "00??ff");
    }

    #[test]
    fn an_answer_is_lost_when_no_rest_can_mend_it() {
        let hex = Expect::Begins("00ff".parse().expect("valid"));
        for (answer, is_met, is_lost) in [
            (&[][..], false, false),
            (&[0], false, false),
            (&[0, 255], true, false),
            (&[1], false, true),
        ] {
            assert_eq!((hex.is_met(answer), hex.is_lost(answer)), (is_met, is_lost), "{answer:?}");
        }
        let text = Expect::Matches("ONG$".parse().expect("valid"));
        assert!(text.is_met(b"PONG") && !text.is_met(b"PO") && !text.is_lost(b"x"));
    }

    #[test]
    fn bad_hex_is_told() {
        for (text, expected) in [
            ("", BadHex::Empty),
            ("  ", BadHex::Empty),
            ("0", BadHex::Odd),
            ("00 f", BadHex::Odd),
            ("0x10", BadHex::NotHex("0x".to_owned())),
            ("+1", BadHex::NotHex("+1".to_owned())),
            ("?0", BadHex::NotHex("?0".to_owned())),
        ] {
            assert_eq!(text.parse::<HexPattern>(), Err(expected), "{text}");
        }
        assert_eq!(hex_bytes("??"), Err(BadHex::NotHex("??".to_owned())));
        assert_eq!(hex_bytes("de AD"), Ok(vec![0xde, 0xad]));
    }

    #[test]
    fn patterns_are_equal_by_their_text() {
        let pattern = |text: &str| text.parse::<Pattern>().expect("valid");
        assert_eq!(pattern("^PONG"), pattern("^PONG"));
        assert_ne!(pattern("a"), pattern("b"));
        assert!(pattern(r"(?-u)\xff$").matches(&[1, 255]));
        let error = "a(b".parse::<Pattern>().expect_err("a group that stays open");
        assert_eq!(error.to_string(), "is not a regular expression: unclosed group");
    }

    proptest! {
        #[test]
        fn hex_goes_there_and_back(bytes in prop::collection::vec(any::<u8>(), 1..40)) {
            let text: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            prop_assert_eq!(hex_bytes(&text), Ok(bytes.clone()));
            prop_assert!(text.parse::<HexPattern>().expect("valid").begins(&bytes));
        }

        #[test]
        fn nothing_panics(text in any::<String>()) {
            let _ = (text.parse::<HexPattern>(), hex_bytes(&text));
        }
    }
}
